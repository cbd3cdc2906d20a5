"""What metrics know of the time before this process: successes and requests of former runs.

Reports of runs say when a version was last brought up to date, and how endpoints answered
within a day. A version that none of them tells of has its pointer, which says when it was
published.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sync_daemon.domain.errors import SyncError
from sync_daemon.domain.names import ModelName, VersionName
from sync_daemon.domain.past import PastRun, find_successes
from sync_daemon.engine.history import PastRuns
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.vault import Vault
from sync_daemon.observers.metrics import Metrics
from sync_daemon.ports import Clock, ObjectStore

WITHIN = timedelta(days=7)
"""How far back reports are read; PastRuns bounds their number as well."""


def recall(metrics: Metrics, store: ObjectStore, clock: Clock, before: datetime) -> None:
    """Tell metrics what was before a time. Costs a request for each report, and one for each
    version that they do not tell of. Never raises SyncError."""
    found = PastRuns(store, clock).runs(before - WITHIN)
    runs = tuple(run for run in found if run.ended <= before)
    for run in runs:
        for tally in run.tallies:
            metrics.remember_requests(tally, run.ended)
    versions = metrics.versions | _named(runs)
    successes = find_successes(versions, tuple(_without_held(run) for run in runs))
    try:
        for model, version in sorted(versions - successes.keys()):
            if (when := _published(store, clock, model, version)) is not None:
                successes[model, version] = when
    except SyncError:
        pass  # what was found so far is still true
    for (model, version), when in successes.items():
        metrics.remember_success(model, version, when)


def _named(runs: Iterable[PastRun]) -> frozenset[tuple[str, str]]:
    """Return the versions that reports name: among them those that stand for tags."""
    return frozenset(name for run in runs for name in run.results)


def _without_held(run: PastRun) -> PastRun:
    """Return a run in which nobody held a version: that is no success of this kind."""
    results = {name: "" if status == "held" else status for name, status in run.results.items()}
    return PastRun(run.ended, run.tallies, results, run.unchanged, run.selected)


def _published(store: ObjectStore, clock: Clock, model: str, version: str) -> datetime | None:
    """Return when a version was published; None for one that a rollback holds, or that is not
    there. Raises SyncError."""
    vault = Vault(store, Retry(1, lambda _: None, clock))
    try:
        found = vault.current(ModelName(model), VersionName(version))
    except ValueError:  # `tags:v*` is no name of a version
        return None
    return found[0].published_at if found and not found[0].hold else None
