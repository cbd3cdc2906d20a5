"""The catalogue of events: everything that the program tells the world while it works.

One frozen dataclass an event. `name` and the fields are an interface (docs/events.md is
checked against this module): names are never reused, fields are only added. Listeners
(logs, progress, later metrics and alerts) receive the values; the engine knows none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

Level = Literal["debug", "info", "warning", "error"]

TRIGGER_REFUSALS = ("secret", "flood", "payload", "waiting", "too_many", "ending")
"""Why a request for a run is refused."""

OTHER_LINES = (
    *("command.failed", "config.warning", "version.absent", "verify.progress"),
    *("log.file_failed", "metrics.trouble", "inspect.unreadable", "library.message"),
)
"""Names of log lines that are no events: they come from a command itself, or from libraries."""


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events; `name` is what a log line carries as `event`."""

    name: ClassVar[str]
    level: ClassVar[Level] = "info"

    def fields(self) -> dict[str, Any]:
        """Return the fields that have a value."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {key: value for key, value in values.items() if value not in (None, ())}


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


@dataclass(frozen=True, slots=True)
class VersionPlanned(Event):
    """The difference is known; transfer begins. Sizes in bytes."""

    name: ClassVar[str] = "version.planned"
    model: str
    version: str
    commit: str
    files: int
    fetch_files: int
    fetch_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class TreePublished(Event):
    """A version's plain copies are whole; so many were made and removed for it."""

    name: ClassVar[str] = "tree.published"
    model: str
    version: str
    commit: str
    key: str
    files: int
    copied: int
    removed: int
    copied_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class VersionWarning(Event):
    """Something about a version that a person should look at; the sync goes on."""

    name: ClassVar[str] = "version.warning"
    level: ClassVar[Level] = "warning"
    model: str
    version: str
    message: str


@dataclass(frozen=True, slots=True)
class VersionPublished(Event):
    """A version's `current.json` names a new manifest."""

    name: ClassVar[str] = "version.published"
    model: str
    version: str
    commit: str
    manifest: str
    files: int
    fetched_bytes: int
    uploaded_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class VersionUnchanged(Event):
    """A version is as declared already."""

    name: ClassVar[str] = "version.unchanged"
    level: ClassVar[Level] = "debug"
    model: str
    version: str
    commit: str


@dataclass(frozen=True, slots=True)
class VersionRefused(Event):
    """A version was not let through; the old manifest stays current."""

    name: ClassVar[str] = "version.refused"
    level: ClassVar[Level] = "warning"
    model: str
    version: str
    reasons: tuple[str, ...]
    commit: str | None = None


@dataclass(frozen=True, slots=True)
class VersionFailed(Event):
    """A version could not be mirrored; the others go on."""

    name: ClassVar[str] = "version.failed"
    level: ClassVar[Level] = "error"
    model: str
    version: str
    kind: str
    error: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class VersionPassed(Event):
    """Nothing was done for a version: it is held, locked by another, or was interrupted."""

    name: ClassVar[str] = "version.passed"
    model: str
    version: str
    status: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InternalError(Event):
    """A fault of the program itself; `version.failed` follows. `trace` has several lines."""

    name: ClassVar[str] = "internal.error"
    level: ClassVar[Level] = "error"
    model: str
    version: str
    trace: str


@dataclass(frozen=True, slots=True)
class BlobStored(Event):
    """A blob was moved and proven. `seconds` runs from its first byte; `throttled`: the
    bandwidth limit, and not the origin, decided how long it took."""

    name: ClassVar[str] = "blob.stored"
    level: ClassVar[Level] = "debug"
    model: str
    path: str
    sha256: str
    size: int
    seconds: float
    origin: str | None = None
    throttled: bool = False


@dataclass(frozen=True, slots=True)
class BlobFailed(Event):
    """A file could not be moved."""

    name: ClassVar[str] = "blob.failed"
    level: ClassVar[Level] = "error"
    model: str
    path: str
    kind: str
    error: str
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class BlobRestarted(Event):
    """A file begins again from its first byte: wrong bytes, or an upload that the store lost."""

    name: ClassVar[str] = "blob.restarted"
    level: ClassVar[Level] = "warning"
    model: str
    path: str
    kind: str
    error: str


@dataclass(frozen=True, slots=True)
class BlobResumed(Event):
    """A file goes on where an earlier run left it: `bytes` of it are stored and hashed."""

    name: ClassVar[str] = "blob.resumed"
    model: str
    path: str
    bytes: int
    size: int


@dataclass(frozen=True, slots=True)
class JournalLost(Event):
    """How far a file is could not be written: after a kill it would begin again."""

    name: ClassVar[str] = "journal.lost"
    level: ClassVar[Level] = "warning"
    model: str
    path: str
    error: str


@dataclass(frozen=True, slots=True)
class BytesMoved(Event):
    """Bytes arrived from `origin`, or were taken up from a journal (None). Never logged."""

    name: ClassVar[str] = "bytes.moved"
    level: ClassVar[Level] = "debug"
    model: str
    version: str
    bytes: int
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class RequestRetried(Event):
    """A request failed in a way that can heal and is tried again in `wait` seconds."""

    name: ClassVar[str] = "request.retried"
    level: ClassVar[Level] = "warning"
    what: str
    attempt: int
    wait: float
    error: str


@dataclass(frozen=True, slots=True)
class EndpointSwitched(Event):
    """Another endpoint of an origin is used from now on."""

    name: ClassVar[str] = "endpoint.switched"
    level: ClassVar[Level] = "warning"
    origin: str
    from_endpoint: str
    to_endpoint: str
    reason: str


@dataclass(frozen=True, slots=True)
class EndpointRested(Event):
    """An endpoint failed; for so many seconds the others are asked before it."""

    name: ClassVar[str] = "endpoint.rested"
    level: ClassVar[Level] = "warning"
    origin: str
    endpoint: str
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class EndpointAsked(Event):
    """One request to an endpoint has ended. A refusal is an answer, and no failure."""

    name: ClassVar[str] = "endpoint.asked"
    level: ClassVar[Level] = "debug"
    origin: str
    endpoint: str
    failed: bool


@dataclass(frozen=True, slots=True)
class EndpointMeasured(Event):
    """An endpoint answered a short question, or began to send a file, after `seconds`."""

    name: ClassVar[str] = "endpoint.measured"
    level: ClassVar[Level] = "debug"
    origin: str
    endpoint: str
    seconds: float


@dataclass(frozen=True, slots=True)
class OriginThrottled(Event):
    """Requests to a host wait `seconds` for a limit on them: told once for each wait."""

    name: ClassVar[str] = "origin.throttled"
    host: str
    seconds: float
    reason: str
    limit: str | None = None


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


@dataclass(frozen=True, slots=True)
class GatewayStarted(Event):
    """The gateway listens at `url` and knows so many `models`."""

    name: ClassVar[str] = "gateway.started"
    url: str
    models: int


@dataclass(frozen=True, slots=True)
class GatewayStopped(Event):
    """The gateway ends."""

    name: ClassVar[str] = "gateway.stopped"


@dataclass(frozen=True, slots=True)
class GatewayStale(Event):
    """The gateway cannot read the store; it serves what it knows. Told once until it can."""

    name: ClassVar[str] = "gateway.stale"
    level: ClassVar[Level] = "warning"
    error: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class GatewayFresh(Event):
    """The gateway can read the store again, which it could not for so many seconds."""

    name: ClassVar[str] = "gateway.fresh"
    seconds: float


@dataclass(frozen=True, slots=True)
class VersionUnreadable(Event):
    """A published version cannot be read as it is in the store: the gateway shows the state
    that it knows, or none. Told once until it can."""

    name: ClassVar[str] = "gateway.version_unreadable"
    level: ClassVar[Level] = "error"
    version: str
    problem: str


@dataclass(frozen=True, slots=True)
class GatewayRequest(Event):
    """A request to the gateway was answered: `bytes` of body in `seconds`.

    `client`, `token` (its name), `path`, `repo` and `revision` are left out in private logs.
    """

    name: ClassVar[str] = "gateway.request"
    request: str
    method: str
    kind: str
    status: int
    bytes: int
    seconds: float
    agent: str
    client: str | None = None
    token: str | None = None
    path: str | None = None
    repo: str | None = None
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class GatewayLogDropped(Event):
    """So many lines of the access log were not written, because the log could not keep up."""

    name: ClassVar[str] = "gateway.log_dropped"
    level: ClassVar[Level] = "warning"
    count: int


@dataclass(frozen=True, slots=True)
class TokenUnreadable(Event):
    """The object of a token cannot be read: it opens nothing."""

    name: ClassVar[str] = "gateway.token_unreadable"
    level: ClassVar[Level] = "warning"
    key: str


@dataclass(frozen=True, slots=True)
class CertificateLoaded(Event):
    """New connections to the gateway get another certificate from now on."""

    name: ClassVar[str] = "gateway.certificate_loaded"
    cert_file: str


@dataclass(frozen=True, slots=True)
class CertificateInvalid(Event):
    """The gateway's new certificate or key is wrong; the old one stays in force."""

    name: ClassVar[str] = "gateway.certificate_invalid"
    level: ClassVar[Level] = "error"
    cert_file: str
    error: str


@dataclass(frozen=True, slots=True)
class AlertTold(Event):
    """An alert began, went on (told again) or is over. Its level is never filtered out."""

    name: ClassVar[str] = "alert"
    level: ClassVar[Level] = "error"
    alert: str
    severity: str
    state: str
    labels: Mapping[str, str]
    value: float
    threshold: float
    since: str
    message: str


@dataclass(frozen=True, slots=True)
class AlertUndelivered(Event):
    """Alerts could not be handed to `sink`, which the configuration names, and were given up."""

    name: ClassVar[str] = "alert.undelivered"
    level: ClassVar[Level] = "error"
    sink: str
    alerts: int
    attempts: int
    error: str


@dataclass(frozen=True, slots=True)
class AlertsLost(Event):
    """What fires could not be kept in the store: after a restart it may be told again."""

    name: ClassVar[str] = "alerts.lost"
    level: ClassVar[Level] = "warning"
    error: str


@dataclass(frozen=True, slots=True)
class FileUnusable(Event):
    """The gateway cannot give out a published file: its blob is missing, cut short or wrong."""

    name: ClassVar[str] = "file.unusable"
    level: ClassVar[Level] = "error"
    model: str
    version: str
    path: str
    key: str
    problem: str


@dataclass(frozen=True, slots=True)
class FileCut(Event):
    """The store failed while the gateway sent a file; the client got the first `sent` bytes."""

    name: ClassVar[str] = "file.cut"
    level: ClassVar[Level] = "warning"
    model: str
    version: str
    path: str
    sent: int
    error: str


def catalogue() -> tuple[type[Event], ...]:
    """Return every event class, in the order of this module."""
    found = (value for value in globals().values() if isinstance(value, type))
    return tuple(kind for kind in found if issubclass(kind, Event) and kind is not Event)
