"""The store: its locks, its room and what verify finds in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sync_daemon.domain.events.base import Event, Level


@dataclass(frozen=True, slots=True)
class LockTakenOver(Event):
    """The lock of a process that is gone was taken over."""

    name: ClassVar[str] = "lock.taken_over"
    scope: str
    owner: str
    reason: str


@dataclass(frozen=True, slots=True)
class LockLostEvent(Event):
    """A lock could not be refreshed in time; its work will not be published."""

    name: ClassVar[str] = "lock.lost"
    level: ClassVar[Level] = "error"
    scope: str
    error: str


@dataclass(frozen=True, slots=True)
class LockReleased(Event):
    """A person released a lock with `unlock`; `reason` is `forced` where its owner lives."""

    name: ClassVar[str] = "lock.released"
    level: ClassVar[Level] = "warning"
    scope: str
    owner: str
    reason: str


@dataclass(frozen=True, slots=True)
class DamageFound(Event):
    """verify found something missing or wrong in the store."""

    name: ClassVar[str] = "damage.found"
    level: ClassVar[Level] = "error"
    key: str
    problem: str


@dataclass(frozen=True, slots=True)
class StoreMeasured(Event):
    """How full the store is, in bytes; what it does not say is left out."""

    name: ClassVar[str] = "store.measured"
    level: ClassVar[Level] = "debug"
    used: int | None = None
    free: int | None = None
    capacity: int | None = None


@dataclass(frozen=True, slots=True)
class VerifyFinished(Event):
    """The stored bytes were read again, by the daemon or by hand; `damage` objects are wrong or
    missing. `complete`: of all models, and every byte."""

    name: ClassVar[str] = "verify.finished"
    job: str
    versions: int
    blobs: int
    bytes: int
    damage: int
    seconds: float
    complete: bool = True
