"""Reports of a run for people: what would be done, or what was done, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable

from sync_daemon.cli.output import Column, Output
from sync_daemon.domain.plan import content_key
from sync_daemon.domain.report import RunReport, VersionReport
from sync_daemon.domain.trees import TreePlan
from sync_daemon.domain.words import exact_size, human_size, plural


def show_plans(report: RunReport, out: Output, *, files: bool, free: int | None) -> None:
    """Print what a run would do, version by version, and the sum beside the free space."""
    for version in report.versions:
        _show_plan(version, out, files=files)
    plans = [version.plan for version in report.versions if version.plan]
    fetch = _distinct_bytes(report)
    copy = sum(plan.tree.space for plan in plans if plan.tree)
    bad = sum(version.status in {"failed", "refused"} for version in report.versions)
    out.line(
        f"{plural(len(report.versions), 'version')}: {len(plans)} to sync, {bad} with problems;"
        f" {exact_size(fetch)} to fetch"
        + (f", {exact_size(copy)} to copy into trees" if copy else "")
    )
    if free is None:
        return
    out.line(f"free in the store: {exact_size(free)}", "red" if free < fetch + copy else "")
    if free < fetch + copy:
        out.line("hint: the run would not fit: make room, or select fewer files", "red")


def _distinct_bytes(report: RunReport) -> int:
    """Return what all planned versions fetch together: a shared content is fetched once."""
    sizes = {
        (file.sha256 or (version.model, content_key(file))): file.size
        for version in report.versions
        if version.plan
        for file in version.plan.fetches
    }
    return sum(sizes.values())


def _show_plan(report: VersionReport, out: Output, *, files: bool) -> None:
    name = f"{report.model}@{report.version}"
    commit = f" at {report.commit[:12]}" if report.commit else ""
    out.line(f"{name}: {report.status}{commit}", style_of(report))
    show_reasons(report, out)
    plan = report.plan
    if plan is None:
        return
    changes = (
        ("+", "added", plan.added),
        ("~", "changed", plan.changed),
        ("-", "removed", plan.removed),
    )
    for sign, word, paths in changes:
        if paths:
            out.line(f"  {sign} {plural(len(paths), 'file')} {word}")
            _list_files(sign, paths if files else (), out)
    if plan.reused:
        out.line(f"  = {plural(len(plan.reused), 'file')} reused")
    out.line(f"  fetch {exact_size(plan.fetch_bytes)} of {exact_size(plan.total_bytes)}")
    if plan.cost.staged:
        out.line(f"  of that {exact_size(plan.cost.staged)} pass through staging/ for a while")
    if plan.tree is not None:
        _show_tree(plan.tree, out)
    out.line(f"  requests: {plan.cost.origin} to the origin, {plan.cost.store} to the store")


def _show_tree(tree: TreePlan, out: Output) -> None:
    files = plural(len(tree.copies), "file")
    work = f"link {files}, no space" if tree.shares else f"copy {files}, {exact_size(tree.space)}"
    gone = f", remove {plural(len(tree.removes), 'file')}" if tree.removes else ""
    out.line(f"  tree {tree.key}: {work}{gone}")


def _list_files(sign: str, paths: Iterable[str], out: Output) -> None:
    for path in paths:
        out.line(f"      {sign} {path}")


def show_run(report: RunReport, out: Output) -> None:
    """Print what a run did as a table, and for each problem the next step."""
    rows = [
        (
            version.model,
            version.version,
            version.status,
            str(version.files.total) if version.files.total else "",
            human_size(version.bytes.fetched),
            f"{version.seconds:.1f} s",
        )
        for version in report.versions
    ]
    columns: tuple[Column, ...] = (
        ("MODEL", "left"),
        ("VERSION", "left"),
        ("STATUS", "left"),
        ("FILES", "right"),
        ("FETCHED", "right"),
        ("TIME", "right"),
    )
    out.table(columns, rows)
    for version in report.versions:
        if version.reasons or version.warnings or version.error:
            out.line(f"{version.model}@{version.version}: {version.status}", style_of(version))
            show_reasons(version, out)
    fetched = sum(version.bytes.fetched for version in report.versions)
    out.line(
        f"run {report.run_id}: {report.status}, {'interrupted, ' * report.interrupted}"
        f"{exact_size(fetched)} fetched"
        f" in {report.seconds:.1f} s"
    )


def show_reasons(report: VersionReport, out: Output) -> None:
    """Print why a version is as it is, and what to do next."""
    for reason in report.reasons:
        out.line(f"  {reason}")
    for warning in report.warnings:
        out.line(f"  warning: {warning}")
    if report.error and report.error.message not in report.reasons:
        out.line(f"  {report.error.message}")
    if report.error and report.error.hint:
        out.line(f"  hint: {report.error.hint}")


def style_of(report: VersionReport) -> str:
    """Return how a version's heading looks."""
    return {"failed": "red", "refused": "yellow", "interrupted": "yellow"}.get(
        report.status, "bold"
    )
