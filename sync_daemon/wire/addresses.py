"""Remembers where a URL leads, so that a file of a thousand ranges is resolved once.

Hubs and release servers answer with a redirect to a signed address that expires. The address
is kept for as long as it works; when it is refused, the URL is resolved once more.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sync_daemon.domain.errors import OriginLied, OriginUnavailable
from sync_daemon.wire.answers import Landing, Span, follow
from sync_daemon.wire.client import Http, Response

_KEPT = 1024
_EXPIRED = frozenset((401, 403, 404, 410))
_PARTIAL = 206

REFUSED_ADDRESS = "is the clock of this machine right, and may it reach that host?"
"""What to do about it, for a person."""


class OtherContent(OriginLied):
    """Bytes of another file than before, or than was listed: it was replaced, or one of several
    servers is behind the others."""

    @property
    def kind(self) -> str:
        """To whoever reads a report, it is a lie like others."""
        return "origin_lied"


OnRedirect = Callable[[Response], None]


@dataclass(slots=True)
class _Address:
    """Where a file's bytes are now; its lock is held while that is being found out."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str | None = None
    trusted: bool = True
    etag: str | None = None
    failures: int = 0
    failure: OriginUnavailable | None = None


class Addresses:
    """Asks for spans of files. `private` headers stay on the host of the URL they are sent to."""

    def __init__(self, http: Http, private: Mapping[str, str]) -> None:
        self._http = http
        self._private = private
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Address] = OrderedDict()

    def get(
        self, url: str, span: Span, what: str, on_redirect: OnRedirect | None = None
    ) -> Response:
        """Return the last answer, whatever its status; `on_redirect` sees those before it.

        Raises OtherContent when the file behind a known address has another ETag than before.
        """
        if span.whole:  # its address will not be needed again
            return self._resolve(url, span, on_redirect).response
        address = self._address(url)
        before = address.failures
        response = self._try_known(address, span)
        if response is None:
            response = self._learn(address, before, url, span, on_redirect)
        self._check_etag(address, response, what)
        return response

    def forget(self, url: str) -> None:
        """Resolve `url` anew the next time: what came from its address was wrong."""
        with self._lock:
            self._known.pop(url, None)

    def _try_known(self, address: _Address, span: Span) -> Response | None:
        """Ask the address that worked before; None when there is none, or it has expired."""
        with address.lock:
            url, trusted = address.url, address.trusted
        if url is None:
            return None
        response = self._ask(address, url, span, trusted=trusted)
        if response.status not in _EXPIRED and "Location" not in response.headers:
            return response
        response.close()
        _forget(address, url)
        return None

    def _learn(
        self,
        address: _Address,
        before: int,
        url: str,
        span: Span,
        on_redirect: OnRedirect | None,
    ) -> Response:
        """Resolve the URL, unless another thread did so, or tried to, while this one waited.

        Sixteen threads that each wait for a silent server in turn would take sixteen timeouts.
        """
        with address.lock:
            if address.url is None:
                if address.failure is not None and address.failures != before:
                    raise _again(address.failure)
                try:
                    landing = self._resolve(url, span, on_redirect)
                except OriginUnavailable as error:
                    address.failures, address.failure = address.failures + 1, error
                    raise
                if landing.response.status == _PARTIAL:
                    address.url, address.trusted = landing.response.url, landing.trusted
                    address.etag = landing.response.headers.get("ETag")
                return landing.response
        response = self._try_known(address, span)  # it may be good for one use only
        return response or self._resolve(url, span, on_redirect).response

    def _ask(self, address: _Address, url: str, span: Span, *, trusted: bool) -> Response:
        headers = {**span.headers, **self._private} if trusted else span.headers
        try:
            return self._http.request("GET", url, headers=headers)
        except OriginUnavailable:
            _forget(address, url)
            raise

    def _resolve(self, url: str, span: Span, on_redirect: OnRedirect | None) -> Landing:
        return follow(
            self._http,
            "GET",
            url,
            headers=span.headers,
            private=self._private,
            on_redirect=on_redirect,
        )

    def _check_etag(self, address: _Address, response: Response, what: str) -> None:
        etag = response.headers.get("ETag")
        with address.lock:
            known = address.etag if address.url == response.url else None
        if known is None or etag is None or etag == known or response.status != _PARTIAL:
            return
        response.close()
        _forget(address, response.url)
        message = f"{what}: the file was replaced while it was read (its ETag changed)"
        raise OtherContent(message, hint="run again")

    def _address(self, url: str) -> _Address:
        with self._lock:
            address = self._known.setdefault(url, _Address())
            self._known.move_to_end(url)
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
            return address


def _forget(address: _Address, url: str) -> None:
    with address.lock:
        if address.url == url:
            address.url = address.etag = None


def _again(error: OriginUnavailable) -> OriginUnavailable:
    """Return the same error for another thread: an exception is raised by one only."""
    return OriginUnavailable(str(error), hint=error.hint, retry_after=error.retry_after)
