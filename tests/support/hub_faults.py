"""Ways in which the Hub double can go wrong, and when.

A `Fault` joins a place, a path pattern and a count of calls with an `Effect`. An effect may
change the request before it is answered, the answer, or how the answer is put on the wire.

Places: every request at the Hub has "hub" and one or more of "api", "info", "refs", "tree",
"paths-info", "commits", "whoami", "auth-check", "resolve" (the answer that names the file),
"small" (the bytes of a small file); every request at the CDN has "cdn". "*" is any place.
"""

from __future__ import annotations

import gzip
import json
import threading
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING
from urllib.parse import unquote

from .hub_content import Bytes
from .hub_message import BEFORE_STATUS, Answer, Body, Request, whole, with_header

if TYPE_CHECKING:
    from .hub_content import Buffer
    from .hub_message import Seen

LOGIN_PAGE = b"<!doctype html><html><title>Log in</title><form>Please log in</form></html>"


class Effect:
    """What a fault does; `hit` counts from 1 how often it was done."""

    def before(self, request: Request, hit: int) -> Request:
        """Return the request that is answered instead."""
        del hit
        return request

    def after(self, answer: Answer, request: Request, hit: int) -> Answer:
        """Return the answer that is sent instead."""
        del request, hit
        return answer


@dataclass(frozen=True, slots=True)
class Fault:
    """One effect at one place: from the `nth` matching call on, `times` times (None: forever)."""

    place: str
    effect: Effect
    path: str = "*"
    method: str | None = None
    nth: int = 1
    times: int | None = 1

    def matches(self, seen: Seen) -> bool:
        """Tell whether this is a call that counts."""
        if self.place != "*" and self.place not in seen.places:
            return False
        if self.method is not None and self.method != seen.method:
            return False
        return fnmatchcase(seen.file, self.path) or fnmatchcase(unquote(seen.path), self.path)


class Faults:
    """The faults of one Hub double, with their counts; may change while requests run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[tuple[Fault, list[int]]] = []

    def add(self, *faults: Fault) -> None:
        """Arm faults; each counts its calls from now."""
        with self._lock:
            self._entries += [(fault, [0, 0]) for fault in faults]

    def clear(self) -> None:
        """Disarm all faults."""
        with self._lock:
            self._entries.clear()

    def hits(self, fault: Fault) -> int:
        """Return how often a fault was done."""
        with self._lock:
            return sum(counts[1] for known, counts in self._entries if known == fault)

    def draw(self, seen: Seen) -> list[tuple[Effect, int]]:
        """Count one call and return the effects that strike it, each with its hit number."""
        struck = []
        with self._lock:
            for fault, counts in self._entries:
                if not fault.matches(seen):
                    continue
                counts[0] += 1
                due = counts[0] >= fault.nth
                if due and (fault.times is None or counts[1] < fault.times):
                    counts[1] += 1
                    struck.append((fault.effect, counts[1]))
        return struck


@dataclass(frozen=True, slots=True)
class Status(Effect):
    """Another status with only these headers."""

    code: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b"fault"

    def after(self, answer: Answer, request: Request, hit: int) -> Answer:
        del answer, request, hit
        return Answer(self.code, self.headers, whole(self.body))


@dataclass(frozen=True, slots=True)
class Reset(Effect):
    """RST after some body bytes; None: before the status line."""

    after_bytes: int | None = None

    def after(self, answer: Answer, request: Request, hit: int) -> Answer:
        del request, hit
        end = BEFORE_STATUS if self.after_bytes is None else self.after_bytes
        return replace(answer, flow=replace(answer.flow, end_after=end, reset=True))


@dataclass(frozen=True, slots=True)
class Cut(Effect):
    """FIN after some body bytes, short of the announced length; None: before the status line."""

    after_bytes: int | None = None

    def after(self, answer: Answer, request: Request, hit: int) -> Answer:
        del request, hit
        end = BEFORE_STATUS if self.after_bytes is None else self.after_bytes
        return replace(answer, flow=replace(answer.flow, end_after=end, reset=False))


@dataclass(frozen=True, slots=True)
class Stall(Effect):
    """Silence of some seconds after some body bytes, then the rest; None: before the status."""

    seconds: float
    after_bytes: int | None = None

    def after(self, answer: Answer, request: Request, hit: int) -> Answer:
        del request, hit
        at = BEFORE_STATUS if self.after_bytes is None else self.after_bytes
        return replace(answer, flow=replace(answer.flow, pause_after=at, pause=self.seconds))


@dataclass(frozen=True, slots=True)
class Drip(Effect):
    """The body at a low rate in bytes per second."""

    rate: float

    def after(self, answer: Answer, request: Request, hit: int) -> Answer:
        del request, hit
        return replace(answer, flow=replace(answer.flow, rate=self.rate))


@dataclass(frozen=True, slots=True)
class Resize(Effect):
    """A body that is longer (by > 0) or shorter than was asked, with a length that admits it."""

    by: int

    def after(self, answer: Answer, request: Request, hit: int) -> Answer:
        del request, hit
        data = b"".join(bytes(part) for part in answer.body.read())
        grown = data[: self.by] if self.by < 0 else data + b"\0" * self.by
        return replace(answer, body=whole(grown))


@dataclass(frozen=True, slots=True)
class WrongLength(Effect):
    """A Content-Length that is off by `delta`; the connection ends after the real body."""

    delta: int

    def after(self, answer: Answer, request: Request, hit: int) -> Answer:
        del request, hit
        return replace(answer, flow=replace(answer.flow, length_delta=self.delta))


@dataclass(frozen=True, slots=True)
class IgnoreRange(Effect):
    """The whole file with 200 where a range was asked for."""

    def before(self, request: Request, hit: int) -> Request:
        del hit
        kept = {name: text for name, text in request.headers.items() if name != "range"}
        return replace(request, headers=kept)


@dataclass(frozen=True, slots=True)
class WrongRange(Effect):
    """A Content-Range that is `shift` bytes off, or missing when `shift` is None."""

    shift: int | None = 1

    def after(self, answer: Answer, request: Request, hit: int) -> Answer:
        del request, hit
        said = answer.header("content-range")
        if said is None:
            return answer
        moved = None if self.shift is None else _shift_range(said, self.shift)
        return replace(answer, headers=with_header(answer.headers, "Content-Range", moved))


@dataclass(frozen=True, slots=True)
class ChangeEtag(Effect):
    """Another ETag each time, as when the file is replaced; If-Range then gets the whole file."""

    def before(self, request: Request, hit: int) -> Request:
        return replace(request, etag_salt=f"{request.etag_salt}:{hit}")


@dataclass(frozen=True, slots=True)
class Corrupt(Effect):
    """One flipped byte, same length: at a place in the file, or first in the body when None."""

    at: int | None = None

    def after(self, answer: Answer, request: Request, hit: int) -> Answer:
        del request, hit
        place = answer.body.start if self.at is None else self.at

        def flip(start: int, buffer: Buffer) -> Buffer:
            if not start <= place < start + len(buffer):
                return buffer
            changed = bytearray(buffer)
            changed[place - start] ^= 0xFF
            return changed

        return replace(answer, body=replace(answer.body, alter=flip))


@dataclass(frozen=True, slots=True)
class Gzip(Effect):
    """The body compressed, asked for or not."""

    def after(self, answer: Answer, request: Request, hit: int) -> Answer:
        del request, hit
        packed = gzip.compress(_data(answer.body), compresslevel=1, mtime=0)
        headers = with_header(answer.headers, "Content-Encoding", "gzip")
        return replace(answer, headers=headers, body=whole(packed))


@dataclass(frozen=True, slots=True)
class Chunked(Effect):
    """The body in chunks, with no length."""

    def after(self, answer: Answer, request: Request, hit: int) -> Answer:
        del request, hit
        return replace(answer, flow=replace(answer.flow, framing="chunked"))


@dataclass(frozen=True, slots=True)
class NoLength(Effect):
    """The body with no length at all, ended by the end of the connection."""

    def after(self, answer: Answer, request: Request, hit: int) -> Answer:
        del request, hit
        return replace(answer, flow=replace(answer.flow, framing="close"))


@dataclass(frozen=True, slots=True)
class Html(Effect):
    """A login page with status 200, as a captive portal or a company proxy sends it."""

    body: bytes = LOGIN_PAGE

    def after(self, answer: Answer, request: Request, hit: int) -> Answer:
        del answer, request, hit
        return Answer(200, (("Content-Type", "text/html; charset=utf-8"),), whole(self.body))


@dataclass(frozen=True, slots=True)
class RedirectLoop(Effect):
    """A redirect to the same address."""

    def after(self, answer: Answer, request: Request, hit: int) -> Answer:
        del hit
        headers = with_header(answer.headers, "Location", request.target)
        return Answer(302, headers)


@dataclass(frozen=True, slots=True)
class RedirectTo(Effect):
    """A redirect to any address; other headers stay when the answer was a redirect already."""

    url: str
    code: int = 302

    def after(self, answer: Answer, request: Request, hit: int) -> Answer:
        del request, hit
        moved = answer.header("location") is not None
        return Answer(self.code, with_header(answer.headers if moved else (), "Location", self.url))


@dataclass(frozen=True, slots=True)
class ExpireAfter(Effect):
    """A signed URL that is refused after `uses` requests; a newly resolved one works again."""

    uses: int

    def after(self, answer: Answer, request: Request, hit: int) -> Answer:
        del hit
        if request.uses <= self.uses:
            return answer
        body = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
        return Answer(403, (("Content-Type", "application/xml"),), whole(body))


@dataclass(frozen=True, slots=True)
class DropHeader(Effect):
    """An answer without one of its headers: Link (a lost page), ETag, X-Repo-Commit."""

    name: str

    def after(self, answer: Answer, request: Request, hit: int) -> Answer:
        del request, hit
        return replace(answer, headers=with_header(answer.headers, self.name, None))


@dataclass(frozen=True, slots=True)
class SetHeader(Effect):
    """An answer with one header set to another value."""

    name: str
    value: str

    def after(self, answer: Answer, request: Request, hit: int) -> Answer:
        del request, hit
        return replace(answer, headers=with_header(answer.headers, self.name, self.value))


@dataclass(frozen=True, slots=True)
class TruncateList(Effect):
    """A JSON list cut to its first items, with no Link to the rest."""

    keep: int

    def after(self, answer: Answer, request: Request, hit: int) -> Answer:
        del request, hit
        kept = json.dumps(json.loads(_data(answer.body))[: self.keep]).encode()
        return replace(answer, headers=with_header(answer.headers, "Link", None), body=whole(kept))


@dataclass(frozen=True, slots=True)
class ReplaceBody(Effect):
    """The same status and headers with another body, for JSON that lies or is broken."""

    body: bytes

    def after(self, answer: Answer, request: Request, hit: int) -> Answer:
        del request, hit
        return replace(answer, body=Body(Bytes(self.body), 0, len(self.body)))


def _data(body: Body) -> bytes:
    return b"".join(bytes(part) for part in body.read())


def _shift_range(said: str, shift: int) -> str:
    unit, _, rest = said.partition(" ")
    span, _, size = rest.partition("/")
    first, _, last = span.partition("-")
    return f"{unit} {int(first) + shift}-{int(last) + shift}/{size}"
