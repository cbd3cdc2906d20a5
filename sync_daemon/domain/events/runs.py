"""A run, as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sync_daemon.domain.events.base import Event, Level


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """A run begins."""

    name: ClassVar[str] = "run.started"
    run_id: str
    mode: str
    versions: int


@dataclass(frozen=True, slots=True)
class RunFinished(Event):
    """A run has ended; `seconds` is its duration."""

    name: ClassVar[str] = "run.finished"
    run_id: str
    status: str
    seconds: float
    published: int
    unchanged: int
    failed: int
    origin_requests: int = 0
    store_requests: int = 0
    skipped: int = 0
    interrupted: int = 0


@dataclass(frozen=True, slots=True)
class RunSkipped(Event):
    """The daemon's job was due while its former run still went; `skipped` counts since start."""

    name: ClassVar[str] = "run.skipped"
    level: ClassVar[Level] = "warning"
    job: str
    skipped: int


@dataclass(frozen=True, slots=True)
class RunFailed(Event):
    """A run of the daemon could not be made at all; the next one is tried when it is due."""

    name: ClassVar[str] = "run.failed"
    level: ClassVar[Level] = "error"
    job: str
    kind: str
    error: str
    hint: str | None = None
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class RunReportLost(Event):
    """The run's report could not be stored; the run itself is not affected."""

    name: ClassVar[str] = "run.report_lost"
    level: ClassVar[Level] = "warning"
    run_id: str
    error: str


@dataclass(frozen=True, slots=True)
class RunReportsRemoved(Event):
    """Reports of old runs were removed, as `retention.reports` says."""

    name: ClassVar[str] = "run.reports_removed"
    count: int
    days: float


@dataclass(frozen=True, slots=True)
class CleanUpFailed(Event):
    """What nobody will finish could not be removed; the next full run tries again."""

    name: ClassVar[str] = "cleanup.failed"
    level: ClassVar[Level] = "warning"
    error: str
