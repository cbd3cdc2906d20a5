"""The catalogue of events: everything that the program tells the world while it works.

One frozen dataclass an event, one module a subject. `name` and the fields are an interface
(docs/events.md is checked against this package): names are never reused, fields are only added.
Listeners (logs, progress, metrics, alerts) receive the values; the engine knows none of them.
"""

from sync_daemon.domain.events import (
    alerts,
    base,
    daemon,
    gateway,
    origins,
    runs,
    store,
    transfers,
    versions,
)
from sync_daemon.domain.events.alerts import *
from sync_daemon.domain.events.base import *
from sync_daemon.domain.events.daemon import *
from sync_daemon.domain.events.gateway import *
from sync_daemon.domain.events.origins import *
from sync_daemon.domain.events.runs import *
from sync_daemon.domain.events.store import *
from sync_daemon.domain.events.transfers import *
from sync_daemon.domain.events.versions import *

OTHER_LINES = (
    *("command.failed", "config.warning", "version.absent", "verify.progress"),
    *("log.file_failed", "metrics.trouble", "inspect.unreadable", "library.message"),
)
"""Names of log lines that are no events: they come from a command itself, or from libraries."""


def catalogue() -> tuple[type[base.Event], ...]:
    """Return every event class, in the order of docs/events.md."""
    subjects = (runs, versions, transfers, origins, store, daemon, gateway, alerts)
    found = (value for subject in subjects for value in vars(subject).values())
    kinds = (value for value in found if isinstance(value, type))
    return tuple(kind for kind in kinds if issubclass(kind, base.Event) and kind is not base.Event)
