"""Endpoints of the origins: which are asked, rested, measured and waited for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sync_daemon.domain.events.base import Event, Level


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
