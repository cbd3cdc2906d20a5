"""How huggingface_hub is asked: its own HTTP client, counted, governed, bounded, never retrying.

The library shares one HTTP client in a process and lets it be replaced. Ours sends by the
byte client of the origin that is asked, so that proxies, certificates and time limits are the
same for metadata and bytes. It keeps tokens on the endpoint they belong to (page links and
redirects may lead anywhere), and raises our errors before the library's own retries see a
fault: the engine retries, in one place. Outside of `asking` it behaves as the library's own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import httpx2
from huggingface_hub import constants, errors, get_session, set_client_factory

from sync_daemon.domain.errors import (
    Forbidden,
    OriginFileNotFound,
    OriginLied,
    OriginRefused,
    OriginUnavailable,
    RepositoryNotFound,
    RevisionNotFound,
)
from sync_daemon.wire import Http, Response
from sync_daemon.wire.answers import is_busy, retry_after
from sync_daemon.wire.governor import Governor, Turn
from sync_daemon.wire.places import AGAIN, Place, place_of
from sync_daemon.wire.timed import is_crawling
from sync_daemon.wire.trust import make_tls

_MAX_PAGES = 10_000
_PIECE = 64 * 1024
_ODD = "is this a Hub? a login page or a proxy may answer in its place"
_SERVICE_ODDITIES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    httpx2.InvalidURL,
)
_REFUSALS: tuple[tuple[type[Exception], type[OriginRefused], str], ...] = (
    (errors.GatedRepoError, Forbidden, "access is granted only to those who accepted its licence"),
    (errors.RepositoryNotFoundError, RepositoryNotFound, "no such repository, or a private one"),
    (errors.RevisionNotFoundError, RevisionNotFound, "no such revision"),
    (errors.RemoteEntryNotFoundError, OriginFileNotFound, "no such file"),
    (errors.DisabledRepoError, Forbidden, "access to this repository is disabled"),
)

Hints = dict[type[OriginRefused], str]


def hints_for(origin: str) -> Hints:
    """Return what to do about a refusal of this origin."""
    token = f"set origins.{origin}.token"
    return {
        RepositoryNotFound: f"check the name; a private or gated repository needs a token: {token}",
        RevisionNotFound: "check the revision: a branch, a tag or a full commit id",
        Forbidden: f"accept the licence on the repository's page, and {token} to a valid token",
    }


@dataclass(slots=True)
class _Ask:
    """One call of the library: whom it may show the token, and what it has requested."""

    endpoint: Place
    http: Http
    governor: Governor | None
    turn: Turn | None = None
    seen: set[str] = field(default_factory=set)


_asked: ContextVar[_Ask | None] = ContextVar("hub_ask", default=None)


class _Client(httpx2.Client):
    """The library's client; inside of `asking` it fails fast, and in our words."""

    def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        ask = _asked.get()
        if ask is None:
            return self._plain.send(request, **options)
        host = ask.endpoint.authority
        try:
            response = super().send(request, **options)
        except (httpx2.TooManyRedirects, httpx2.UnsupportedProtocol, httpx2.DecodingError) as error:
            message = f"{host}: {_say(error)}"
            raise OriginLied(message, hint=_ODD) from error
        finally:
            if ask.turn is not None:
                ask.turn.close()
        if is_busy(response.status_code):
            message = f"{host}: answered with status {response.status_code}"
            wish = retry_after(response.headers)
            raise OriginUnavailable(message, hint=AGAIN, retry_after=wish)
        return response

    @cached_property
    def _plain(self) -> httpx2.Client:
        hooks = {"request": [_before_request]}
        tls = make_tls(None)
        return httpx2.Client(event_hooks=hooks, follow_redirects=True, timeout=None, verify=tls)


class _Wire(httpx2.BaseTransport):
    """Sends by the byte client of whoever asks, which counts the request."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        ask = _asked.get()
        if ask is None:
            message = "a request was sent past the client"
            raise httpx2.UnsupportedProtocol(message)
        headers = {name: value for name, value in request.headers.items() if name != "connection"}
        body = request.read() or None
        response = ask.http.send(request.method, str(request.url), headers, body)
        told = [
            (name.encode(), value.encode("latin-1")) for name, value in response.headers.items()
        ]
        return httpx2.Response(response.status, headers=told, stream=_Body(response, ask))


def install_client() -> None:
    """Make huggingface_hub use our client, and switch its telemetry off."""
    constants.HF_HUB_DISABLE_TELEMETRY = True
    if isinstance(get_session(), _Client):
        return
    set_client_factory(
        lambda: _Client(
            event_hooks={"request": [_before_request], "response": [_after_headers]},
            follow_redirects=True,
            timeout=None,
            transport=_Wire(),
        )
    )


def _before_request(request: httpx2.Request) -> None:
    if constants.is_offline_mode():
        message = "huggingface_hub is switched to offline mode"
        raise OriginRefused(message, hint="unset HF_HUB_OFFLINE")
    ask = _asked.get()
    if ask is None:
        return
    url = str(request.url)
    if url in ask.seen or len(ask.seen) >= _MAX_PAGES:
        message = f"{ask.endpoint.authority}: its pages or redirects lead in a circle"
        raise OriginLied(message, hint=_ODD)
    ask.seen.add(url)
    if ask.endpoint.scheme == "https" and request.url.scheme != "https":
        message = f"{ask.endpoint.authority}: leads from https down to http"
        raise OriginLied(message)
    if place_of(url) != ask.endpoint:
        request.headers.pop("authorization", None)
    if ask.governor is not None:
        target = request.url.raw_path.decode("ascii")
        ask.turn = ask.governor.before(place_of(url).authority, target)


def _after_headers(response: httpx2.Response) -> None:
    ask = _asked.get()
    if ask is not None and ask.turn is not None:
        ask.turn.after(response.status_code, response.headers)


class _Body(httpx2.SyncByteStream):
    """A body that must not drip: a timeout is about one piece of it."""

    def __init__(self, response: Response, ask: _Ask) -> None:
        self._response = response
        self._host = ask.endpoint.authority
        self._patience = ask.http.read_timeout

    def __iter__(self) -> Iterator[bytes]:
        began, size = time.monotonic(), 0
        view = memoryview(bytearray(_PIECE))
        while got := self._response.readinto(view):
            yield bytes(view[:got])
            size += got
            if is_crawling(began, size, self._patience):
                seconds = time.monotonic() - began
                message = (
                    f"{self._host}: {size} bytes in {seconds:.0f} s are too slow for a listing"
                )
                raise OriginUnavailable(message, hint=AGAIN)

    def close(self) -> None:
        self._response.__exit__()


@contextmanager
def asking(endpoint: str, http: Http, subject: str, hints: Hints) -> Iterator[None]:
    """Call huggingface_hub in this block; what goes wrong comes out as one of our errors."""
    place = place_of(endpoint)
    mark = _asked.set(_Ask(place, http, http.governor))
    try:
        yield
    except errors.HFValidationError as error:
        message = f"{subject}: this is not a name that a repository can have"
        raise RepositoryNotFound(message, hint=hints[RepositoryNotFound]) from error
    except errors.HfHubHTTPError as error:
        kind, problem = _refusal(error)
        message = f"{subject}: {problem} (says {place.authority})"
        raise kind(message, hint=hints.get(kind)) from error
    except _SERVICE_ODDITIES as error:
        oddity = f"gave an answer that makes no sense ({type(error).__name__})"
        message = f"{subject}: {place.authority} {oddity}"
        raise OriginLied(message, hint=_ODD) from error
    finally:
        _asked.reset(mark)


def _refusal(error: errors.HfHubHTTPError) -> tuple[type[OriginRefused], str]:
    for cause, kind, problem in _REFUSALS:
        if isinstance(error, cause):
            return kind, problem
    status = error.response.status_code
    if status in {401, 403}:
        return Forbidden, f"the token is missing, wrong or not sufficient (status {status})"
    if status == 404:  # noqa: PLR2004 - from servers that give no error code
        return RepositoryNotFound, "no such repository"
    return OriginRefused, f"answered with status {status}"


def _say(error: httpx2.HTTPError) -> str:
    match error:
        case httpx2.DecodingError():
            return "the answer is not compressed the way it says"
        case httpx2.TooManyRedirects():
            return "the redirects go in a circle"
        case _:
            return f"leads to an address that cannot be asked ({type(error).__name__})"
