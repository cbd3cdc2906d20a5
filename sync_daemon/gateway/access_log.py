"""One event for each request, and the traffic as numbers.

Lines are written by a thread of their own, because a log that is slow (a full pipe, a disk
that stalls) must not hold up the answers. When it cannot keep up lines are dropped and counted.
No line has a query, a header or any part of a token; `private` leaves out whatever tells who
asked for what.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, Self
from urllib.parse import unquote

from sync_daemon.domain.events import GatewayLogDropped, GatewayRequest
from sync_daemon.ports import Emit

Kind = Literal["api", "file", "page", "health"]
Mode = bool | Literal["private"]

KINDS: tuple[Kind, ...] = ("api", "file", "page", "health")
HEALTH = frozenset({"/healthz", "/readyz"})

MOST_LINES = 10_000
"""Lines that wait to be written; beyond that they are dropped."""

PAUSE = 0.1
"""Seconds between two looks at what waits to be written."""

LONGEST_TEXT = 512
"""Characters of a path that are logged."""

_REPO = re.compile(
    r"/(?:api/)?(?:(?:models|datasets|spaces|kernels)/)?"
    r"(?P<repo>[^/]+(?:/[^/]+)?)/"
    r"(?:resolve|tree|revision|paths-info|commits|blob|raw|xet-read-token)/(?P<revision>[^/]+)"
)
_CACHED = re.compile(
    r"/api/resolve-cache/(?:models|datasets|spaces)/(?P<repo>[^/]+/[^/]+)/(?P<revision>[^/]+)/"
)
_INFO = re.compile(r"/api/(?:models|datasets|spaces)/(?P<repo>[^/]+(?:/[^/]+)?)(?:/refs)?")

_FAMILIES = (
    ("sync-daemon", "sync-daemon"),
    ("transformers/", "transformers"),
    ("vllm", "vllm"),
    ("datasets/", "datasets"),
    ("diffusers/", "diffusers"),
    ("hf_hub/", "huggingface_hub"),
    ("hf-hub/", "hf-hub"),
    ("aria2/", "aria2"),
    ("curl/", "curl"),
    ("wget/", "wget"),
    ("python", "python"),
    ("mozilla/", "browser"),
)


class Traffic(Protocol):
    """Whoever counts requests; called in the event loop, so that it must not wait."""

    def began(self) -> None:
        """A request is being answered."""

    def ended(self, kind: Kind, status: int, sent: int, seconds: float) -> None:
        """It was answered, with so many bytes of body."""


class NoTraffic:
    """Counts nothing."""

    def began(self) -> None:
        """Do nothing."""

    def ended(self, kind: Kind, status: int, sent: int, seconds: float) -> None:
        """Do nothing."""


@dataclass(slots=True)
class Visit:
    """A request on its way through; what is known of it grows."""

    request: str
    began: float
    method: str
    path: str
    client: str | None = None
    token: str | None = None
    agent: str = ""
    status: int = 0
    sent: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    @property
    def kind(self) -> Kind:
        """What was asked for, as the path has it."""
        return kind_of(self.path)

    def event(self, seconds: float) -> GatewayRequest:
        """Return what is logged."""
        match = _CACHED.match(self.path) or _REPO.match(self.path) or _INFO.fullmatch(self.path)
        found = match.groupdict() if match else {}
        return GatewayRequest(
            request=self.request,
            method=self.method,
            kind=self.kind,
            status=self.status,
            bytes=self.sent,
            seconds=round(seconds, 4),
            agent=family_of(self.agent),
            client=self.client,
            token=self.token,
            path=self.path[:LONGEST_TEXT],
            repo=_plain(found.get("repo")),
            revision=_plain(found.get("revision")),
        )


def _plain(text: str | None) -> str | None:
    return unquote(text)[:LONGEST_TEXT] if text else None


def kind_of(path: str) -> Kind:
    """Return what kind of answer a path leads to."""
    if path in HEALTH:
        return "health"
    if "/resolve/" in path or path.startswith("/api/resolve-cache/"):
        return "file"
    return "api" if path.startswith("/api/") else "page"


def family_of(agent: str) -> str:
    """Return which of a few known kinds of client a User-Agent is, or `other`."""
    text = agent[:LONGEST_TEXT].lower()
    return next((family for mark, family in _FAMILIES if mark in text), "other")


class AccessLog:
    """Writes requests down inside a `with` block. `mode` False: not at all."""

    def __init__(self, emit: Emit, mode: Mode, most: int = MOST_LINES) -> None:
        self._emit = emit
        self._mode = mode
        self._most = most
        self._waiting: deque[tuple[Visit, float]] = deque()
        self._dropped = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._write, name="access-log", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ending.set()
        self._thread.join()

    def add(self, visit: Visit, seconds: float) -> None:
        """Take note of a request that is over; never waits."""
        if not self._mode:
            return
        if len(self._waiting) >= self._most:
            self._dropped += 1
            return
        self._waiting.append((visit, seconds))

    def _write(self) -> None:
        while not self._ending.wait(PAUSE):
            self._drain()
        self._drain()

    def _drain(self) -> None:
        with suppress(IndexError):
            while True:
                visit, seconds = self._waiting.popleft()
                event = visit.event(seconds)
                self._emit(hide(event) if self._mode == "private" else event)
        dropped, self._dropped = self._dropped, 0
        if dropped:
            self._emit(GatewayLogDropped(count=dropped))


def hide(event: GatewayRequest) -> GatewayRequest:
    """Return the event without what tells who asked, and what for."""
    return replace(event, client=None, token=None, path=None, repo=None, revision=None)
