"""Checks that an origin's answer is what was asked for, and follows redirects by hand.

A server, a proxy or a login page between can answer a range with the whole file, with other
bytes, compressed, or with HTML. All of that has status 2xx; only the headers give it away.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol, Self
from urllib.parse import quote, urljoin

from sync_daemon.domain.errors import OriginLied, OriginUnavailable
from sync_daemon.wire.client import Http, Response
from sync_daemon.wire.places import AGAIN, place_of

MAX_HOPS = 10
_REDIRECT_BODY = 65_536
_BETWEEN = "a proxy or a login page may answer in the server's place; run again, or see the origin"
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_BUSY = frozenset((408, 425, 429))
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_RATE_LIMIT = re.compile(r";\s*r\s*=\s*0+\s*;\s*t\s*=\s*(\d+)")


class Fields(Protocol):
    """Headers, whoever received them."""

    def get(self, name: str, /) -> str | None:
        """Return the value of a header, in any case, or None."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `start` to `stop` (exclusive) of a file of `size` bytes."""

    start: int
    stop: int
    size: int

    @property
    def whole(self) -> bool:
        """Tell whether nothing of the file is left out."""
        return self.start == 0 and self.stop == self.size

    @property
    def headers(self) -> dict[str, str]:
        """The headers that ask for it: none for a whole file."""
        return {} if self.whole else {"Range": f"bytes={self.start}-{self.stop - 1}"}


@dataclass(frozen=True, slots=True)
class Landing:
    """The answer at the end of redirects; `trusted` as long as they never left the first host."""

    response: Response
    trusted: bool


def follow(
    http: Http,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    private: Mapping[str, str],
    on_redirect: Callable[[Response], None] | None = None,
    trusted: bool = True,
) -> Landing:
    """Make a request and follow its redirects; `private` headers never leave the first host.

    Raises OriginLied for a circle, too many hops, or a step from https down to http.
    """
    seen: set[str] = set()
    while True:
        host = place_of(url).authority
        if url in seen or len(seen) > MAX_HOPS:
            message = f"{host}: the redirects go in a circle, or are more than {MAX_HOPS}"
            raise OriginLied(message, hint=_BETWEEN)
        seen.add(url)
        sent = {**headers, **private} if trusted else headers
        response = http.request(method, url, headers=sent)
        location = response.headers.get("Location")
        if response.status not in _REDIRECTS or location is None:
            return Landing(response, trusted)
        with response:
            _drain(response, http.read_timeout)
            if on_redirect is not None:
                on_redirect(response)
        target = _join(url, location)
        trusted = trusted and place_of(target) == place_of(url)
        url = target


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Add what was asked for to trouble that happens in this block; the client knows hosts only."""
    try:
        yield
    except (OriginUnavailable, OriginLied) as error:
        if what in str(error):
            raise
        message = f"{what}: {error}"
        if isinstance(error, OriginLied):
            raise OriginLied(message, hint=error.hint) from error
        wish = error.retry_after
        raise OriginUnavailable(message, hint=error.hint, retry_after=wish) from error


def check_answer(response: Response, span: Span, what: str) -> None:
    """Raise OriginLied unless a 200 or 206 holds exactly the bytes of `span`."""
    coding = response.headers.get("Content-Encoding") or "identity"
    if coding.lower() != "identity":
        raise _lie(what, f"the answer is compressed ({coding}), which was not asked for")
    if response.status == 206:  # noqa: PLR2004 - Partial Content
        _check_range(response.headers.get("Content-Range"), span, what)
    elif not span.whole:
        kind = response.headers.get("Content-Type") or "bytes"
        raise _lie(what, f"a range was asked for, and a whole answer of {kind} came")
    expected = span.stop - span.start
    if response.length is not None and response.length != expected:
        raise _lie(what, f"{response.length} bytes announced instead of {expected}")


def _check_range(said: str | None, span: Span, what: str) -> None:
    found = _RANGE.fullmatch((said or "").strip())
    if found is None:
        raise _lie(what, "a part was sent without saying which (Content-Range)")
    if (int(found[1]), int(found[2])) != (span.start, span.stop - 1):
        raise _lie(what, f"other bytes than asked for: {said}")
    if found[3] not in {"*", str(span.size)}:
        raise _lie(what, f"the file has another size than was listed: {said}")


def total_size(content_range: str | None) -> int | None:
    """Return the size of the file that a Content-Range names, of a 206 or a 416."""
    total = (content_range or "").rpartition("/")[2].strip()
    return int(total) if total.isascii() and total.isdigit() else None


class ExactReader:
    """Gives exactly `length` bytes of an answer, or raises."""

    def __init__(self, response: Response, length: int, what: str) -> None:
        self._response = response
        self._left = length
        self._what = what
        self._end_known = response.length is not None

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the front of `buffer`; return how many bytes, 0 at the end.

        Raises OriginUnavailable for a body that ends early, OriginLied for a longer one.
        """
        wanted = min(len(buffer), self._left)
        if not wanted:
            return 0
        with naming(self._what):
            got = self._response.readinto(buffer[:wanted])
        if not got:
            message = f"{self._what}: the body ended {self._left} bytes too early"
            raise OriginUnavailable(message, hint=AGAIN)
        self._left -= got
        if not self._left and not self._end_known and self._response.read(1):
            raise _lie(self._what, "more bytes came than were asked for")
        return got

    def close(self) -> None:
        """Close the connection if the body was not read to its end."""
        self._response.__exit__()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class EmptyReader:
    """The bytes of an empty file, which need no request."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Return 0."""
        del buffer
        return 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Do nothing."""


def is_busy(status: int) -> bool:
    """Tell whether a status means that trying again can help."""
    return status in _BUSY or status >= 500  # noqa: PLR2004 - server errors


def retry_after(headers: Fields) -> float | None:
    """Return the seconds that the server asks to wait: `RateLimit` if used up, else Retry-After."""
    if found := _RATE_LIMIT.search(headers.get("RateLimit") or ""):
        return float(found[1])
    text = (headers.get("Retry-After") or "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _join(url: str, location: str) -> str:
    """Return the absolute target. Bytes that a URL must not hold are escaped, not trusted."""
    printable = quote(location.strip().encode("latin-1", "replace"), safe=_PRINTABLE)
    try:
        target = urljoin(url, printable)
        place = place_of(target)
    except ValueError as error:
        message = f"{place_of(url).authority}: redirects to something that is no web address"
        raise OriginLied(message) from error
    if place_of(url).scheme == "https" and place.scheme != "https":
        message = f"{place_of(url).authority}: redirects from https down to http"
        raise OriginLied(message)
    return target


def _lie(what: str, problem: str) -> OriginLied:
    return OriginLied(f"{what}: {problem}", hint=_BETWEEN)


def _drain(response: Response, seconds: float) -> None:
    """Read a short body, so that its connection can be used again: it is not worth waiting for."""
    buffer, end = memoryview(bytearray(_REDIRECT_BODY)), time.monotonic() + seconds
    left = _REDIRECT_BODY
    while left and time.monotonic() < end and (got := response.readinto(buffer[:left])):
        left -= got
