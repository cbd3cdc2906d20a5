"""The gateway's door before a tiny application, served by uvicorn in a thread."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.client import HTTPConnection, HTTPSConnection
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from sync_daemon.config.gateway import Gateway
from sync_daemon.domain.access import ModelPattern
from sync_daemon.domain.events import Event, GatewayRequest
from sync_daemon.domain.tokens import TokenName
from sync_daemon.engine.retry import Retry
from sync_daemon.gateway.access.log import AccessLog, Traffic
from sync_daemon.gateway.access.middleware import Access
from sync_daemon.gateway.access.networks import Networks
from sync_daemon.gateway.access.tokens import TokenBook, Tokens
from sync_daemon.gateway.connections.handshake import CountedProtocol, SecureServer
from sync_daemon.gateway.connections.protocol import BoundedProtocol, Doors, Patience, make_protocol
from tests.support.asgi import run_server
from tests.support.fakes import FakeClock
from tests.support.stores import StoreThatMayBeDown
from tests.support.web import Reply


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer what arrived: who asks, by which address, and with how large a body."""
    size = 0
    if scope["method"] == "POST":
        more = True
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
    caller = scope["state"]["caller"]
    headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
    body = json.dumps(
        {
            "name": caller.name,
            "models": list(caller.models),
            "client": scope["client"][0],
            "scheme": scope["scheme"],
            "host": headers.get("host"),
            "size": size,
        }
    ).encode()
    start = {"type": "http.response.start", "status": 200, "headers": [(b"x-inner", b"yes")]}
    length = (b"content-length", str(len(body)).encode())
    await send(start | {"headers": [length, (b"x-inner", b"yes")]})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


class Answer(Reply):
    """What a client got."""

    @property
    def inside(self) -> bool:
        """Whether the application was reached."""
        return "x-inner" in self.headers


@dataclass
class Door:
    """A served door. `events` are those of the log."""

    port: int
    store: StoreThatMayBeDown
    book: TokenBook
    tokens: Tokens
    clock: FakeClock
    doors: Doors
    events: list[Event] = field(default_factory=list)

    def make(self, name: str = "ci", *models: str, expires: timedelta | None = None) -> str:
        """Make a token that the gateway knows at once; return its text."""
        patterns = tuple(map(ModelPattern, models or ("*",)))
        now = self.clock.now()
        _, secret = self.book.create(
            TokenName(name), patterns, now, now + expires if expires else None
        )
        self.tokens.refresh()
        return secret

    def ask(
        self,
        path: str = "/api/models/a/b",
        token: str | None = None,
        method: str = "GET",
        body: bytes | None = None,
        trust: ssl.SSLContext | None = None,
        **headers: str,
    ) -> Answer:
        """Send one request on a connection of its own."""
        place = ("127.0.0.1", self.port)
        connection = (
            HTTPSConnection(*place, timeout=10, context=trust)
            if trust
            else HTTPConnection(*place, timeout=10)
        )
        return Answer.to(connection, method, path, body, token=token, **headers)

    def connect(self) -> socket.socket:
        """Open a connection, and send nothing."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def logged(self) -> list[GatewayRequest]:
        """The requests that were logged so far."""
        return [event for event in self.events if isinstance(event, GatewayRequest)]


@contextmanager
def open_door(
    app: ASGIApp = echo,
    *,
    traffic: Traffic | None = None,
    patience: Patience | None = None,
    context: Callable[[], ssl.SSLContext] | None = None,
    monotonic: Callable[[], float] = time.monotonic,
    **keys: Any,
) -> Iterator[Door]:
    """Serve `app` behind a door; `keys` are those of the section `gateway`."""
    settings = Gateway.model_validate_json(json.dumps(keys))
    events: list[Event] = []
    store, clock = StoreThatMayBeDown(), FakeClock()
    book = TokenBook(store, Retry(1, events.append, clock))
    tokens = Tokens(book, clock, events.append)
    tokens.refresh()
    networks = Networks(settings.networks, settings.proxies)
    doors = Doors(networks, settings.client_connections, settings.connections)
    with AccessLog(events.append, settings.access_log) as log:
        access = Access(app, settings, tokens, log, traffic, monotonic=monotonic)
        with run_server(_make_server(access, doors, patience, context)) as port:
            yield Door(port, store, book, tokens, clock, doors, events)


def _make_server(
    app: ASGIApp,
    doors: Doors,
    patience: Patience | None,
    context: Callable[[], ssl.SSLContext] | None,
) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        loop="uvloop",
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=1,
        http=make_protocol(doors, patience, CountedProtocol if context else BoundedProtocol),
        ws="none",
        proxy_headers=False,
        server_header=False,
    )
    return SecureServer(config, context) if context else uvicorn.Server(config)
