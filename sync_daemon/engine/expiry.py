"""Removes the reports of old runs: the writer's own records, which nothing else refers to.

A report goes when its run began long enough ago by the run's own id, and the store, by its
own clock, has held it for as long. So neither a host whose clock is wrong nor a restored
bucket loses what is new. Whatever lies under `runs/` and is no report of ours stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import islice

from sync_daemon.domain import keys
from sync_daemon.domain.errors import SyncError
from sync_daemon.domain.events import CleanUpFailed, RunReportsRemoved
from sync_daemon.engine.retry import Retry
from sync_daemon.ports import Emit, ObjectStore

MOST_REMOVED = 10_000
"""Reports that one run removes at most; what is left goes with the next ones."""

_BATCH = 100
_AT_ONCE = 8
_DAY = 86_400


def remove_old_reports(
    store: ObjectStore,
    age: timedelta,
    spared: str,
    retry: Retry,
    emit: Emit,
    *,
    most: int = MOST_REMOVED,
) -> int:
    """Remove reports older than `age`, but not the key `spared`; return how many.

    What the store refuses is told and not raised.

    The first batch with an error is the last one: the next full run tries again.
    """
    removed, failures = 0, list[str]()
    try:
        limit = store.now() - age
        old = retry(f"list {keys.RUNS}", lambda: list(islice(_old(store, limit, spared), most)))
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="expiry") as pool:
            for start in range(0, len(old), _BATCH):
                batch = old[start : start + _BATCH]
                errors = pool.map(lambda key: _remove(store, key, retry), batch)
                failures = [error for error in errors if error]
                removed += len(batch) - len(failures)
                if failures:
                    break
    except SyncError as error:
        failures = [str(error)]
    if removed:
        emit(RunReportsRemoved(count=removed, days=round(age.total_seconds() / _DAY, 3)))
    if failures:
        emit(CleanUpFailed(error=f"old run reports could not be removed: {failures[0]}"))
    return removed


def _old(store: ObjectStore, limit: datetime, spared: str) -> Iterator[str]:
    """Yield the keys of old reports. They are listed by time: the first young one ends it."""
    for info in store.list(keys.RUNS):
        if info.key == spared or (run := keys.parse_run(info.key)) is None:
            continue
        if run[1] > limit:
            return
        if info.modified <= limit:
            yield info.key


def _remove(store: ObjectStore, key: str, retry: Retry) -> str | None:
    try:
        retry(f"delete {key}", lambda: store.delete(key))
    except SyncError as error:
        return str(error)
    return None
