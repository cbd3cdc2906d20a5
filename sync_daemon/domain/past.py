"""A former run as its stored report tells it: the history that rules and choices look at."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sync_daemon.domain.report import EVERYTHING, EndpointTally, Selected, parse_tallies

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


def parse_past(record: bytes) -> PastRun:
    """Return what a stored report says. Raises ValueError for what is no report."""
    tallies = tuple(past.tally for past in parse_tallies(record))
    document = json.loads(record)
    try:
        ended = datetime.fromisoformat(document["started"])
        ended += timedelta(seconds=document["seconds"])
        results = {
            (str(one["model"]), str(one["version"])): str(one["status"])
            for one in document.get("models", ())
        }
        named = document.get("selected", {})
        selected = Selected(tuple(named.get("models", ())), tuple(named.get("versions", ())))
        return PastRun(ended, tallies, results, int(document.get("unchanged", 0)), selected)
    except (LookupError, TypeError, AttributeError) as error:
        message = f"this is no report: {error!r}"
        raise ValueError(message) from error


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
