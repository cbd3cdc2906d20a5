"""A former run as its stored report tells it: the history that rules and choices look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sync_daemon.domain.record import parse_record
from sync_daemon.domain.report import EVERYTHING, EndpointTally, Selected

_SUCCESSES = frozenset({"published", "unchanged", "held"})


@dataclass(frozen=True, slots=True)
class PastRun:
    """`results` are the statuses of versions that changed or failed; the rest, `unchanged` of
    them, has no name in a report."""

    ended: datetime
    tallies: tuple[EndpointTally, ...]
    results: Mapping[tuple[str, str], str]
    unchanged: int = 0
    selected: Selected = EVERYTHING


def parse_past(data: bytes) -> PastRun:
    """Return what a stored report says. Raises ValueError for what is no report."""
    run = parse_record(data)
    results = {name: str(version.status) for name, version in run.results.items()}
    selected = run.selected or EVERYTHING
    return PastRun(run.ended, run.endpoints, results, run.unchanged, selected)


def find_successes(
    versions: Iterable[tuple[str, str]], runs: Iterable[PastRun]
) -> dict[tuple[str, str], datetime]:
    """Return when each of `versions` was last brought up to date by one of `runs`.

    A report does not name what did not change: a version that was selected, and that it does
    not name, counts as unchanged.
    """
    found: dict[tuple[str, str], datetime] = {}
    wanted = tuple(versions)
    for run in sorted(runs, key=lambda one: one.ended, reverse=True):
        for version in wanted:
            quiet = "unchanged" if run.unchanged and run.selected.covers(*version) else ""
            status = run.results.get(version, quiet)
            if status in _SUCCESSES:
                found.setdefault(version, run.ended)
    return found
