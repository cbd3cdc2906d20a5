"""The door of the gateway: who comes in, how often, and what is written down of it.

An ASGI application around another one. In this order it asks: where does the request come
from, and is that network allowed; who is it; has it had enough; is its body small enough. Who
fails is answered here, in the Hub's words, and the application never hears of it. Who passes
finds the `Caller` in `scope["state"]["caller"]`, and scheme, host and client as a trusted proxy
told them.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sync_daemon.domain.events import RequestFailed
from sync_daemon.gateway.access.credentials import Asked, Credentials
from sync_daemon.gateway.access.limits import Crowd, Rates
from sync_daemon.gateway.access.log import AccessLog, NoTraffic, Traffic, Visit
from sync_daemon.gateway.access.networks import Forwarded, Network, Networks, Peer, client_key
from sync_daemon.gateway.access.tokens import Tokens
from sync_daemon.gateway.request.body import LARGEST_BODY, read_body, too_large
from sync_daemon.gateway.request.callers import ANYBODY, Caller
from sync_daemon.gateway.request.errors import HubError, answer_error
from sync_daemon.gateway.request.paths import STYLE
from sync_daemon.gateway.request.questions import read_number

BODY_SECONDS = 30.0
"""Time for a body to arrive."""

BODIES = 32
"""Bodies that arrive at the same time; 8 of one client."""

_BODIES_EACH = 8
_WITHOUT_BODY = frozenset({"GET", "HEAD"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{8,64}")
_WANTED = frozenset(
    {
        *(b"authorization", b"user-agent", b"accept", b"content-length", b"x-request-id"),
        *(b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"),
    }
)
_Headers = dict[bytes, list[bytes]]


class Rules(Protocol):
    """What the section `gateway` of the YAML says of access."""

    @property
    def anonymous(self) -> bool: ...
    @property
    def networks(self) -> Sequence[Network]: ...
    @property
    def proxies(self) -> Sequence[Network]: ...
    @property
    def request_rate(self) -> float: ...
    @property
    def client_connections(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Admission:
    """Who was let in, and by which name limits know them."""

    caller: Caller
    client: str


class Counts:
    """What is counted of clients, whatever rules are in force: a change forgives nobody."""

    def __init__(self, rules: Rules, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.rates = Rates(rules.request_rate, monotonic)
        self.crowd = Crowd(rules.client_connections)
        self.bodies = Crowd(_BODIES_EACH, BODIES)

    def follow(self, rules: Rules) -> None:
        """Count on by other rules; may be called by any thread."""
        self.rates.allow(rules.request_rate)
        self.crowd.allow(rules.client_connections)


class Access:
    """Lets requests through to `app`, or refuses them. `counts` outlive it where they are given."""

    def __init__(
        self,
        app: ASGIApp,
        rules: Rules,
        tokens: Tokens,
        log: AccessLog,
        traffic: Traffic | None = None,
        *,
        counts: Counts | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        counts = counts or Counts(rules, monotonic)
        self._app = app
        self._networks = Networks(rules.networks, rules.proxies)
        self._credentials = Credentials(tokens, anonymous=rules.anonymous)
        self._rates, self._crowd, self._bodies = counts.rates, counts.crowd, counts.bodies
        self._log = log
        self._traffic = traffic or NoTraffic()
        self._monotonic = monotonic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
        visit = Visit(os.urandom(8).hex(), self._monotonic(), scope["method"], path)
        self._traffic.began()
        try:
            await self._answer(scope, receive, _watched(send, visit), visit)
        except Exception as error:  # noqa: BLE001 - whatever it was, the next request may go well
            self._log.tell(_failure(visit, error))
            if not visit.status:
                await answer_error(_broken())(scope, receive, _watched(send, visit))
        finally:
            seconds = self._monotonic() - visit.began
            self._traffic.ended(visit.kind, visit.status, visit.sent, seconds)
            self._log.add(visit, seconds)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, visit: Visit) -> None:
        try:
            admission = self._admit(scope, visit)
            body = await self._read_body(scope, receive, admission.client)
        except HubError as error:
            await answer_error(error)(scope, receive, send)
            return
        if not self._crowd.enter(admission.client):
            await answer_error(_too_many("requests at a time", 1))(scope, receive, send)
            return
        try:
            scope["state"]["caller"] = admission.caller
            scope["state"]["request_id"] = visit.request
            await self._app(scope, body or receive, send)
        finally:
            self._crowd.leave(admission.client)

    # -- who it is: nothing waits here ------------------------------------------------------

    def _admit(self, scope: Scope, visit: Visit) -> Admission:
        """Find out who asks, and whether they may. Raises HubError."""
        headers = _pick(scope["headers"])
        visit.agent = _last(headers, b"user-agent") or ""
        scope.setdefault("state", {})
        peer = self._identify(scope, headers, visit)
        healthy = visit.kind == "health"
        if not (self._networks.lets_in(peer.address) or (healthy and peer.address.is_loopback)):
            raise HubError(403, None, "This network is not let in by the mirror")
        if peer.proxied:
            _rewrite(scope, peer)
        if healthy:
            return Admission(ANYBODY, client_key(peer.address))
        if visit.path == STYLE:
            self._count(client_key(peer.address), visit)
            return Admission(ANYBODY, client_key(peer.address))
        html = visit.kind == "page" and "text/html" in (_last(headers, b"accept") or "")
        shown = headers.get(b"authorization", ())
        try:
            caller, token = self._credentials.find(shown, Asked(visit.kind, html))
        except HubError:
            self._count(client_key(peer.address), visit)
            raise
        visit.token = caller.name
        client = f"token {token.id}" if token else client_key(peer.address)
        self._count(client, visit)
        return Admission(caller, client)

    def _identify(self, scope: Scope, headers: _Headers, visit: Visit) -> Peer:
        connection = scope.get("client")
        if connection is None:
            raise HubError(403, None, "This network is not let in by the mirror")
        peer = self._networks.identify(
            connection[0],
            Forwarded(
                _joined(headers, b"x-forwarded-for"),
                _joined(headers, b"x-forwarded-proto"),
                _joined(headers, b"x-forwarded-host"),
            ),
        )
        visit.client = str(peer.address)
        if peer.proxied:
            named = _last(headers, b"x-request-id") or ""
            visit.request = named if _REQUEST_ID.fullmatch(named) else visit.request
        return peer

    def _count(self, client: str, visit: Visit) -> None:
        quota = self._rates.take(client)
        if quota is None:
            return
        visit.headers = quota.headers()
        if quota.refused:
            raise _too_many("requests in a minute", None)

    # -- the body --------------------------------------------------------------------------

    async def _read_body(self, scope: Scope, receive: Receive, client: str) -> Receive | None:
        """Read a body as a whole, and return what gives it again; None: there is none."""
        if scope["method"] in _WITHOUT_BODY:
            return None
        length = _last(_pick(scope["headers"]), b"content-length") or "0"
        if read_number(length, LARGEST_BODY + 1) > LARGEST_BODY:
            raise too_large()
        if not self._bodies.enter(client):
            raise _too_many("requests with a body", 1)
        try:
            data = await asyncio.wait_for(read_body(receive), BODY_SECONDS)
        except TimeoutError:
            message = "The request took too long to arrive"
            raise HubError(408, None, message, {"Connection": "close"}) from None
        finally:
            self._bodies.leave(client)
        return _again(data, receive)


def _again(data: bytes, receive: Receive) -> Receive:
    waiting = [{"type": "http.request", "body": data, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _watched(send: Send, visit: Visit) -> Callable[[Message], Awaitable[None]]:
    """Return a `send` that tells the request's id, and notes what is sent."""

    async def watch(message: Message) -> None:
        if message["type"] == "http.response.start":
            visit.status = message["status"]
            own = [(b"x-request-id", visit.request.encode()), *visit.headers]
            message["headers"] = [*message.get("headers", ()), *own]
        elif message["type"] == "http.response.body":
            visit.sent += len(message.get("body", b""))
        await send(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            visit.whole = True

    return watch


def _pick(headers: Sequence[tuple[bytes, bytes]]) -> _Headers:
    found: _Headers = {}
    for name, value in headers:
        if name in _WANTED:
            found.setdefault(name, []).append(value)
    return found


def _last(headers: _Headers, name: bytes) -> str | None:
    values = headers.get(name)
    return values[-1].decode("latin-1") if values else None


def _joined(headers: _Headers, name: bytes) -> str | None:
    values = headers.get(name)
    return b",".join(values).decode("latin-1") if values else None


def _rewrite(scope: Scope, peer: Peer) -> None:
    """Let the application see the client, and the address that it asked."""
    scope["client"] = (str(peer.address), 0)
    if peer.scheme is not None:
        scope["scheme"] = peer.scheme
    if peer.host is not None:
        others = [pair for pair in scope["headers"] if pair[0] != b"host"]
        scope["headers"] = [(b"host", peer.host.encode()), *others]


def _failure(visit: Visit, error: Exception) -> RequestFailed:
    """Return what is said of a request that failed for a reason that nobody foresaw."""
    last = extract_tb(error.__traceback__)[-1]
    where = f"{Path(last.filename).name}:{last.lineno} ({last.name})"
    return RequestFailed(visit.request, visit.kind, f"{type(error).__name__}: {error}", where)


def _broken() -> HubError:
    message = "The mirror failed; its operator finds the reason in the log, by the request's id"
    return HubError(500, None, message)


def _too_many(what: str, seconds: int | None) -> HubError:
    headers = {} if seconds is None else {"Retry-After": str(seconds)}
    return HubError(429, None, f"Too many {what}: wait and try again", headers)
