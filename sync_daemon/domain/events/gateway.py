"""The gateway: what it serves, whom it lets in, what it cannot read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sync_daemon.domain.events.base import Event, Level


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
    """A request to the gateway was answered: `bytes` of body in `seconds`. `cut`, which is there
    only where it is true: the answer ended before it was whole.

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
    cut: bool | None = None
    client: str | None = None
    token: str | None = None
    path: str | None = None
    repo: str | None = None
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class RequestFailed(Event):
    """The gateway failed at a request for a reason that nobody foresaw; `where` in the code.
    The client got 500, or an answer that ends early."""

    name: ClassVar[str] = "gateway.request_failed"
    level: ClassVar[Level] = "error"
    request: str
    kind: str
    error: str
    where: str


@dataclass(frozen=True, slots=True)
class TokensUnread(Event):
    """The gateway cannot read the tokens; those that it knows hold for ten minutes more. Told
    once until it can."""

    name: ClassVar[str] = "gateway.tokens_unread"
    level: ClassVar[Level] = "warning"
    error: str
    hint: str | None = None


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
