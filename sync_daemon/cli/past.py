"""How former runs look to people: a line each, or one of them with all that it did."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from sync_daemon.cli.output import STYLES, Column, Output
from sync_daemon.cli.reporting import show_reasons, style_of
from sync_daemon.domain.record import RunRecord, rate
from sync_daemon.domain.report import MovedFile, VersionReport
from sync_daemon.domain.words import exact_size, human_age, human_size, plural
from sync_daemon.engine.records import Filter, Findings
from sync_daemon.meter import MOST_FILES

_TOLD = 10
_RUNS: tuple[Column, ...] = (
    ("RUN", "left"),
    ("STARTED (UTC)", "left"),
    ("MODE", "left"),
    ("STATUS", "left"),
    ("TIME", "right"),
    ("PUBLISHED", "right"),
    ("UNCHANGED", "right"),
    ("FAILED", "right"),
    ("REFUSED", "right"),
    ("SKIPPED", "right"),
    ("FETCHED", "right"),
    ("RATE", "right"),
)
_COUNTED = ("published", "unchanged", "failed", "refused", "skipped")
_VERSIONS: tuple[Column, ...] = (
    ("MODEL", "left"),
    ("VERSION", "left"),
    ("STATUS", "left"),
    ("FILES", "right"),
    ("UPLOADED", "right"),
    ("REUSED", "right"),
    ("REMOVED", "right"),
    ("FETCHED", "right"),
    ("REQUESTS", "right"),
    ("TIME", "right"),
    ("RATE", "right"),
)
_ENDPOINTS: tuple[Column, ...] = (
    ("ORIGIN", "left"),
    ("ENDPOINT", "left"),
    ("REQUESTS", "right"),
    ("FAILURES", "right"),
)


def file_rate(file: MovedFile) -> int | None:
    """Return bytes per second of a file that was moved."""
    return None if file.error else rate(file.size, file.seconds)


def show_findings(findings: Findings, wanted: Filter, out: Output) -> None:
    """Print a line a run, and how far the search came."""
    if findings.runs:
        out.table(_RUNS, (_run_cells(record) for record in findings.runs))
    elif wanted == Filter():
        out.line("no run is on record; `sync-daemon run-once` makes the first")
    else:
        out.line("no run on record is like that")
    for problem in findings.unreadable[:_TOLD]:
        out.line(f"passed over: {problem}", "yellow")
    if (more := len(findings.unreadable) - _TOLD) > 0:
        out.line(f"passed over: {more:,} more", "yellow")
    reached = f", back to {findings.reached:%Y-%m-%d %H:%M} UTC" if findings.reached else ""
    if findings.ended == "limit":
        out.line(f"the newest {plural(len(findings.runs), 'run')}; --limit shows more")
    elif findings.ended != "oldest":
        out.line(f"looked no further than this{reached}; a larger --limit looks further", "yellow")


def _run_cells(record: RunRecord) -> tuple[str, ...]:
    counts = record.count()
    return (
        record.run_id,
        f"{record.started.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        record.mode,
        "interrupted" if record.interrupted else record.status,
        f"{record.seconds:.1f} s",
        *(f"{counts[name]:,}" for name in _COUNTED),
        human_size(record.fetched),
        _human_rate(record.rate),
    )


def show_record(record: RunRecord, now: datetime, out: Output) -> None:
    """Print one run with its versions, files and endpoints."""
    started = f"{record.started.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    ended = f"{record.status}, interrupted" if record.interrupted else record.status
    out.line(f"run {record.run_id}: {ended}", STYLES.get(record.status, "bold"))
    out.line(f"  mode      {record.mode}")
    out.line(f"  selected  {_selected(record)}")
    out.line(f"  started   {started} ({human_age(record.started, now)})")
    speed = f", {_human_rate(record.rate)}" if record.rate else ""
    out.line(f"  took      {record.seconds:.1f} s")
    out.line(f"  fetched   {exact_size(record.fetched)}{speed}")
    out.line(f"  versions  {_counts(record)}")
    if record.versions:
        out.line()
        out.table(_VERSIONS, (_version_cells(version) for version in record.versions))
    for version in record.versions:
        _show_version(version, out)
    if record.endpoints:
        out.line()
        rows = ((e.origin, e.endpoint, str(e.requests), str(e.failures)) for e in record.endpoints)
        out.table(_ENDPOINTS, rows)


def _selected(record: RunRecord) -> str:
    if record.selected is None:
        return "not recorded"
    parts = [f"model {name}" for name in record.selected.models]
    parts += [f"version {name}" for name in record.selected.versions]
    return ", ".join(parts) or "everything"


def _counts(record: RunRecord) -> str:
    counts = sorted(record.count().items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(f"{number:,} {name}" for name, number in counts if number) or "none"


def _version_cells(version: VersionReport) -> tuple[str, ...]:
    files = version.files
    counts = (files.total, files.uploaded, files.reused, files.removed)
    return (
        version.model,
        version.version,
        version.status,
        *(f"{count:,}" if files.total else "" for count in counts),
        human_size(version.bytes.fetched),
        f"{version.origin_requests + version.store_requests:,}",
        f"{version.seconds:.1f} s",
        _human_rate(rate(version.bytes.fetched, version.seconds)),
    )


def _show_version(version: VersionReport, out: Output) -> None:
    if not (version.moved or version.manifest or version.reasons or version.error):
        return
    commit = f" at {version.commit}" if version.commit else ""
    out.line()
    out.line(f"{version.model}@{version.version}: {version.status}{commit}", style_of(version))
    show_reasons(version, out)
    if version.manifest:
        out.line(f"  manifest  {version.manifest}")
    _show_files(version.moved, out)
    named = len(version.moved)
    if named >= MOST_FILES or named < version.files.uploaded:
        out.line("  a report does not name all files: first what failed, then the largest")


def _show_files(files: Iterable[MovedFile], out: Output) -> None:
    for file in files:
        speed = file.error or _human_rate(file_rate(file))
        style = "red" if file.error else ""
        out.line(
            f"  {human_size(file.size):>9}  {file.seconds:>8.1f} s  {speed:>12}  {file.path}", style
        )


def _human_rate(found: int | None) -> str:
    return f"{human_size(found)}/s" if found is not None else ""
