"""`history`: former runs, and one of them with its versions, files, rates and reasons."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any

from sync_daemon.cli.command import Command, add_json, add_many
from sync_daemon.cli.past import file_rate, show_findings, show_record
from sync_daemon.cli.reading import browsing
from sync_daemon.cli.session import Session
from sync_daemon.config.units import UnitError, parse_duration
from sync_daemon.domain.errors import ConfigurationError, InvalidName, StoreRefused
from sync_daemon.domain.names import ModelName
from sync_daemon.domain.record import RunRecord, rate
from sync_daemon.domain.report import VersionReport
from sync_daemon.engine.browse import Browser
from sync_daemon.engine.clock import SystemClock
from sync_daemon.engine.records import Filter, Findings, find_endings, find_ids, find_runs, read_run

STATUSES = (
    "ok",
    "partial",
    "failed",
    "published",
    "refused",
    "held",
    "skipped",
    "interrupted",
)
"""What can be asked for. Versions that were `unchanged` are not in the reports by name."""

_LIMIT = 20
_MOST = 10_000
_TOLD = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `history`."""
    parser.add_argument(
        "run_id",
        metavar="RUN_ID",
        nargs="?",
        help="show this run; its beginning or its end is enough",
    )
    add_many(parser, "--model", "MODEL", "only runs that tell of this model; may be repeated")
    add_many(
        parser,
        "--status",
        "STATUS",
        "only runs that ended so, or in which a version did; may be repeated",
        choices=STATUSES,
    )
    parser.add_argument(
        "--since", metavar="WHEN", help="only runs that began since: 7d, 12h, or a date (UTC)"
    )
    parser.add_argument(
        "--limit", metavar="N", default=str(_LIMIT), help=f"runs to show at most; {_LIMIT}"
    )
    add_json(parser)


def run(session: Session) -> int:
    """Read the reports and print what was asked for."""
    arguments, settings = session.arguments, session.settings()
    now = SystemClock(session.stop).now()
    if arguments.run_id is not None:
        _refuse_filters(arguments)
        with browsing(session, settings) as browser:
            key, record = _find(browser, arguments.run_id, now)
        if arguments.json:
            store = {"store": str(settings.store.url)}
            session.out.json(store | {"key": key} | _run_json(record))
        else:
            show_record(record, now, session.out)
        return 0
    wanted, limit = _wanted(arguments, now), _limit(arguments.limit)
    with browsing(session, settings) as browser:
        findings = find_runs(browser, wanted, limit, now)
    if arguments.json:
        session.out.json({"store": str(settings.store.url)} | _findings_json(findings))
    else:
        show_findings(findings, wanted, session.out)
    return 0


# -- what is asked for -----------------------------------------------------------------------


def _refuse_filters(arguments: argparse.Namespace) -> None:
    filters = (arguments.model, arguments.status, arguments.since, arguments.limit != str(_LIMIT))
    if any(filters):
        message = "a run id goes with no --model, --status, --since or --limit"
        raise ConfigurationError(message, hint="name the run, or ask for several")


def _wanted(arguments: argparse.Namespace, now: datetime) -> Filter:
    try:
        models = frozenset(ModelName(name) for name in arguments.model)
    except InvalidName as error:
        raise ConfigurationError(str(error)) from error
    since = _since(arguments.since, now) if arguments.since is not None else None
    return Filter(models, frozenset(arguments.status), since)


def _since(text: str, now: datetime) -> datetime:
    try:
        return now - parse_duration(text)
    except UnitError:
        pass
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        message = f"--since {text}: this is no duration and no date"
        hint = "write for example 7d, 12h, 2026-11-21 or 2026-11-21T08:00"
        raise ConfigurationError(message, hint=hint) from None


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= _MOST:
        message = f"--limit {text}: this is no number of runs"
        raise ConfigurationError(message, hint=f"between 1 and {_MOST}")
    return int(text)


def _find(browser: Browser, part: str, now: datetime) -> tuple[str, RunRecord]:
    """Return the only run whose id begins so, or else the only one whose id ends so.

    Raises ConfigurationError, StoreRefused.
    """
    where, found = "beginning", find_ids(browser, part, _TOLD)
    if not found:
        where, found = "end", find_endings(browser, part, _TOLD, now)
    names = [key.rpartition("/")[2].removesuffix(".json") for key in found]
    exact = [key for key, name in zip(found, names, strict=True) if name == part]
    if len(found) > 1 and not exact:
        more = " and more" if len(found) == _TOLD else ""
        hint = f"these are: {', '.join(names)}{more}"
        raise ConfigurationError(f"{part} is the {where} of several runs", hint=hint)
    for key in exact or found:
        try:
            if (record := read_run(browser, key)) is not None:
                return key, record
        except ValueError as error:
            hint = "it is damaged, or somebody else's; `sync-daemon history` lists the others"
            raise StoreRefused(f"{key}: {error}", hint=hint) from error
    message = f"no run {part} is on record"
    hint = "`sync-daemon history` lists them; a full run removes those older than retention.reports"
    raise ConfigurationError(message, hint=hint)


# -- JSON ------------------------------------------------------------------------------------


def _findings_json(findings: Findings) -> dict[str, Any]:
    reached = findings.reached
    return {
        "runs": [record.to_json() for record in findings.runs],
        "unreadable": list(findings.unreadable),
        "ended": findings.ended,
        "reached": reached.isoformat() if reached else None,
    }


def _run_json(record: RunRecord) -> dict[str, Any]:
    return record.to_json() | {
        "models": [_version_json(version) for version in record.versions],
        "endpoints": [
            {name: getattr(one, name) for name in one.__slots__} for one in record.endpoints
        ],
    }


def _version_json(version: VersionReport) -> dict[str, Any]:
    found = version.to_json()
    found["rate"] = rate(version.bytes.fetched, version.seconds)
    for file, moved in zip(found["moved"], version.moved, strict=True):
        file["rate"] = file_rate(moved)
    return found


COMMAND = Command(
    name="history",
    description=(
        "List the runs that are on record, the newest first; or show one run with its\n"
        "versions, the files that moved, their rates, and why something was refused or failed.\n"
        "Only the store is asked, no origin."
    ),
    exits=(0, 2, 3, 130),
    run=run,
    configure=configure,
)
