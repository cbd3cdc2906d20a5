"""One event for each request, and the traffic as numbers.

Lines are written by a thread of their own, because a log that is slow (a full pipe, a disk
that stalls) must not hold up the answers. When it cannot keep up lines are dropped and counted.
No line has a query, a header or any part of a token; `private` leaves out whatever tells who
asked for what.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, Self

from sync_daemon.domain.events import Event, GatewayLogDropped, GatewayRequest
from sync_daemon.gateway.request.paths import Kind, kind_of, likeliest
from sync_daemon.ports import Emit

Mode = bool | Literal["private"]

MOST_LINES = 10_000
"""Lines that wait to be written; beyond that they are dropped."""

PAUSE = 0.1
"""Seconds between two looks at what waits to be written."""

LONGEST_TEXT = 512
"""Characters of a path that are logged."""

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
    whole: bool = False
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    @property
    def kind(self) -> Kind:
        """What was asked for, as the path has it."""
        return kind_of(self.path)

    def event(self, seconds: float) -> GatewayRequest:
        """Return what is logged."""
        target = None if self.kind == "health" else likeliest(self.path)
        return GatewayRequest(
            request=self.request,
            method=self.method,
            kind=self.kind,
            status=self.status,
            bytes=self.sent,
            seconds=round(seconds, 4),
            agent=family_of(self.agent),
            cut=None if self.whole else True,
            client=self.client,
            token=self.token,
            path=self.path[:LONGEST_TEXT],
            repo=target.name[:LONGEST_TEXT] if target else None,
            revision=(target.revision or "")[:LONGEST_TEXT] or None if target else None,
        )


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
        self._waiting: deque[tuple[Visit, float] | Event] = deque()
        self._dropped = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._write, name="access-log", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ending.set()
        self._thread.join()

    def follow(self, mode: Mode) -> None:
        """Write by another mode from now on, also what waits to be written."""
        self._mode = mode

    def add(self, visit: Visit, seconds: float) -> None:
        """Take note of a request that is over; never waits."""
        if self._mode:
            self._queue((visit, seconds))

    def tell(self, event: Event) -> None:
        """Write another event, whatever the mode; never waits."""
        self._queue(event)

    def _queue(self, line: tuple[Visit, float] | Event) -> None:
        if len(self._waiting) >= self._most:
            self._dropped += 1
        else:
            self._waiting.append(line)

    def _write(self) -> None:
        while not self._ending.wait(PAUSE):
            self._drain()
        self._drain()

    def _drain(self) -> None:
        with suppress(IndexError):
            while True:
                line = self._waiting.popleft()
                self._emit(line if isinstance(line, Event) else self._describe(*line))
        dropped, self._dropped = self._dropped, 0
        if dropped:
            self._emit(GatewayLogDropped(count=dropped))

    def _describe(self, visit: Visit, seconds: float) -> GatewayRequest:
        event = visit.event(seconds)
        return hide(event) if self._mode == "private" else event


def hide(event: GatewayRequest) -> GatewayRequest:
    """Return the event without what tells who asked, and what for."""
    return replace(event, client=None, token=None, path=None, repo=None, revision=None)
