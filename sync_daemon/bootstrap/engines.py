"""The engine, and the limits that all its transfers share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from sync_daemon.bootstrap.sources import files_of, origins
from sync_daemon.bootstrap.storage import store, upload_life
from sync_daemon.config import (
    HttpOrigin as HttpSettings,
    Settings,
)
from sync_daemon.engine.clock import SystemClock
from sync_daemon.engine.hours import Hours
from sync_daemon.engine.limits import Limits
from sync_daemon.engine.locks import Locks
from sync_daemon.engine.outlook import Outlook, Speed
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.run import Engine
from sync_daemon.engine.throttle import Throttle
from sync_daemon.engine.transfer import Transfer
from sync_daemon.engine.vault import Vault
from sync_daemon.ports import Emit, ObjectStore, Origin

if TYPE_CHECKING:
    from sync_daemon.engine.verify import Verifier

VERIFY_WORKERS = 8
"""Blobs that are read at once to be verified, at most."""


def limits(settings: Settings) -> Limits:
    """Return the limits that all transfers share."""
    transfer = settings.transfer
    return Limits(
        connections=transfer.connections,
        part_size=transfer.part_size,
        memory=transfer.memory,
        min_speed=transfer.min_speed,
        patience=transfer.read_timeout.total_seconds(),
    )


def rate(
    settings: Settings, now: Callable[[ZoneInfo], datetime] = datetime.now
) -> Callable[[], int | None]:
    """Return the function that tells the bandwidth allowed now, None for no limit."""
    timetable, zone = settings.transfer.bandwidth, ZoneInfo(str(settings.schedule.timezone))
    if timetable.constant is not None:
        fixed = timetable.constant or None
        return lambda: fixed
    return lambda: timetable.rate_at(now(zone)) or None


def retry(settings: Settings, emit: Emit, stop: threading.Event) -> Retry:
    """Return the one retry policy."""
    total = settings.transfer.total_timeout.total_seconds()
    return Retry(settings.transfer.attempts, emit, SystemClock(stop), total)


def off_peak(
    settings: Settings, now: Callable[[ZoneInfo], datetime] = datetime.now
) -> Hours | None:
    """Return when large files may move, None for always. Only the daemon asks."""
    window, zone = settings.schedule.window, ZoneInfo(settings.schedule.timezone)
    if window is None:
        return None
    any_time = settings.schedule.any_time
    small = settings.transfer.part_size if any_time is None else any_time
    return Hours(lambda: window.holds(now(zone).time()), small, str(window))


def engine_parts(settings: Settings) -> tuple[object, ...]:
    """Return what an engine is made from: while it is equal, an engine serves on."""
    schedule = settings.schedule
    return (
        settings.store,
        settings.origins,
        settings.transfer,
        settings.alerts.failure_rate,
        (schedule.timezone, schedule.window, schedule.any_time),
        [files_of(n, settings) for n, o in settings.origins.items() if isinstance(o, HttpSettings)],
    )


def verifier(store: ObjectStore, settings: Settings, emit: Emit, stop: threading.Event) -> Verifier:
    """Return what proves the bytes of a store."""
    from sync_daemon.engine.verify import Verifier  # noqa: PLC0415 - few commands verify

    workers = min(VERIFY_WORKERS, settings.transfer.connections)
    clock = SystemClock(stop)
    return Verifier(store, retry(settings, emit, stop), clock, stop, workers=workers)


@contextmanager
def engine(
    settings: Settings,
    emit: Emit,
    stop: threading.Event,
    *,
    dry: bool = False,
    known: bool = False,
    hours: Hours | None = None,
) -> Iterator[Engine]:
    """Make an engine, started; the end of the block waits for its threads.

    `dry` is for planning: nothing is made that is not there yet. `known`: the store was there
    before, and is not made anew. `hours` are those in which large files may move, None for
    always. Raises ConfigurationError, StoreRefused.
    """
    with (
        origins(settings, emit, SystemClock(stop)) as sources,
        store(settings, create=not dry and not known, dry=dry) as target,
        engine_over(target, sources, settings, emit, stop, hours=hours) as made,
    ):
        made.vault.known = known
        yield made


@contextmanager
def engine_over(
    target: ObjectStore,
    sources: Mapping[str, Origin],
    settings: Settings,
    emit: Emit,
    stop: threading.Event,
    *,
    hours: Hours | None = None,
) -> Iterator[Engine]:
    """Make an engine, started, over a store and origins that are open."""
    clock = SystemClock(stop)
    again = retry(settings, emit, stop)
    speed = emit = Speed(emit, clock)
    allowed = rate(settings)
    transfer = Transfer(
        target,
        limits(settings),
        throttle=Throttle(allowed, clock),
        retry=again,
        clock=clock,
        emit=emit,
        stop=stop,
        hours=hours,
    )
    with closing(Locks(target, again, clock, emit)) as locks, transfer:
        yield Engine(
            vault=Vault(target, again),
            origins=sources,
            transfer=transfer,
            locks=locks,
            retry=again,
            clock=clock,
            emit=emit,
            stop=stop,
            part_size=limits(settings).part_size,
            outlook=Outlook(
                limits(settings),
                lambda: allowed() or speed.rate(),
                lambda: upload_life(settings),
            ),
            keep_reports=settings.retention.reports,
        )
