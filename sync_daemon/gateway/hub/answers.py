"""Answers that are kept as bytes: the same question costs one look-up the next time.

They belong to one `Shelf`: when another one is in force, all of them are forgotten. What they
may take together is bounded in bytes, and what was asked for least lately goes first. Only the
event loop uses this, so there is no lock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from starlette.types import Receive, Scope, Send

from sync_daemon.gateway.published.shelf import Shelf
from sync_daemon.gateway.recent import Recent

IN_MEMORY = 64 * 1024**2
"""Bytes of all answers that are kept."""

LONGEST_KEPT = 8 * 1024**2
"""Bytes of one answer that is kept."""

MOVING = 10
"""Seconds for which a cache may repeat what can change at any time."""

STILL = 300
"""Seconds for which a cache may repeat what a full commit names. Not for ever: a version whose
selection of files was changed shows others at the same commit."""

_OVERHEAD = 1500
"""Bytes that an answer takes besides what is counted, roughly: its objects."""

Key = tuple[object, ...]
"""What a question is known by."""

RawHeaders = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, as an ASGI application."""

    status: int
    headers: RawHeaders
    body: bytes
    etag: bytes

    def unless(self, known: bytes | None) -> Answer:
        """Return it without its body if the client has it: `known` is its If-None-Match."""
        if known is None or (self.etag not in known and known != b"*"):
            return self
        bare = [pair for pair in self.headers if not pair[0].startswith(b"content-")]
        return Answer(304, bare, b"", self.etag)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        del scope, receive
        headers = self.headers.copy()  # others add to them
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def make_answer(
    body: bytes,
    *,
    caching: str,
    etag: str | None = None,
    more: Iterable[tuple[str, str]] = (),
) -> Answer:
    """Return an answer in JSON; its ETag is that of its bytes unless another is given."""
    tag = f'"{etag or sha256(body).hexdigest()[:40]}"'.encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"etag", tag),
        (b"cache-control", caching.encode()),
        (b"vary", b"Authorization"),
        *((name.lower().encode(), value.encode("latin-1")) for name, value in more),
    ]
    return Answer(200, headers, body, tag)


def render(value: Any) -> bytes:
    """Return a value as JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def caching(*, known: bool, by_commit: bool) -> str:
    """Return Cache-Control: what was shown to a token is nobody else's."""
    return f"{'private' if known else 'public'}, max-age={STILL if by_commit else MOVING}"


class Answers:
    """The answers of one shelf; `limit` is in bytes."""

    def __init__(self, limit: int = IN_MEMORY) -> None:
        self._shelf: Shelf | None = None
        self._kept: Recent[Key, Answer] = Recent(limit, _cost)

    def find(self, shelf: Shelf, key: Key) -> Answer | None:
        """Return the answer to a question, if it was given before from the same shelf."""
        if shelf is not self._shelf:
            self._shelf = shelf
            self._kept.clear()
        return self._kept.get(key)

    def keep(self, shelf: Shelf, key: Key, answer: Answer) -> None:
        """Keep an answer, unless its shelf is not in force any more, or it is too long."""
        if shelf is self._shelf and len(answer.body) <= LONGEST_KEPT:
            self._kept.put(key, answer)


def _cost(key: Key, answer: Answer) -> int:
    """Return what an answer takes, with what the client itself wrote: that may be the most."""
    words = sum(len(part) for part in key if isinstance(part, (bytes, str)))
    return words + sum(len(value) for _, value in answer.headers) + len(answer.body) + _OVERHEAD
