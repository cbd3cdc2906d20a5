"""The daemon's life, its configuration, and requests for runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sync_daemon.domain.events.base import Event, Level

TRIGGER_REFUSALS = ("secret", "flood", "payload", "waiting", "too_many", "ending")
"""Why a request for a run is refused."""


@dataclass(frozen=True, slots=True)
class DaemonStarted(Event):
    """The daemon, of this version, has begun; `jobs` are those that its schedule knows, `store`
    is the URL of its store, `config` the file that it was told by, `listen` the address of its
    metrics, if there is one."""

    name: ClassVar[str] = "daemon.started"
    jobs: tuple[str, ...]
    version: str
    store: str
    config: str | None = None
    listen: str | None = None


@dataclass(frozen=True, slots=True)
class DaemonStopped(Event):
    """The daemon ends, told so by `signal`; `unfinished` are jobs that could not end in time."""

    name: ClassVar[str] = "daemon.stopped"
    unfinished: tuple[str, ...] = ()
    signal: str | None = None


@dataclass(frozen=True, slots=True)
class ConfigReloaded(Event):
    """A valid configuration was read again; `changed` are the keys that differ."""

    name: ClassVar[str] = "config.reloaded"
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConfigInvalid(Event):
    """The configuration that was to be read again is wrong; the old one stays in force."""

    name: ClassVar[str] = "config.invalid"
    level: ClassVar[Level] = "error"
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TriggerAccepted(Event):
    """A webhook or a client asked for a run of `models` (none: all); `run` is its id's end.

    `debounced`: a run that waits already will serve it.
    """

    name: ClassVar[str] = "trigger.accepted"
    by: str
    models: tuple[str, ...]
    run: str | None = None
    full: bool = False
    debounced: bool = False


@dataclass(frozen=True, slots=True)
class TriggerIgnored(Event):
    """A webhook with the right secret that leads to no run."""

    name: ClassVar[str] = "trigger.ignored"
    level: ClassVar[Level] = "debug"
    by: str
    repository: str
    reason: str


@dataclass(frozen=True, slots=True)
class TriggerRefused(Event):
    """Requests for runs were refused for a `reason`, `count` since the last such event; the rest
    is of the newest."""

    name: ClassVar[str] = "trigger.refused"
    level: ClassVar[Level] = "warning"
    by: str
    status: int
    reason: str
    client: str
    count: int
