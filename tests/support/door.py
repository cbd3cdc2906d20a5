"""The gateway's door before a tiny application, served by uvicorn in a thread."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from sync_daemon.config.gateway import Gateway
from sync_daemon.domain.access import ModelPattern
from sync_daemon.domain.events import Event, GatewayRequest
from sync_daemon.domain.tokens import TokenName
from sync_daemon.engine.retry import Retry
from sync_daemon.gateway.access import Access
from sync_daemon.gateway.access_log import AccessLog, Traffic
from sync_daemon.gateway.connections import BoundedProtocol, Doors, Patience, make_protocol
from sync_daemon.gateway.handshake import CountedProtocol, SecureServer
from sync_daemon.gateway.networks import Networks
from sync_daemon.gateway.tokens import TokenBook, Tokens
from sync_daemon.stores.memory import MemoryStore
from tests.support.fakes import FakeClock


class StoreThatMayBeDown(MemoryStore):
    """A store that breaks when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.down: Exception | None = None
        self.reads = 0

    def list(self, prefix: str, start_after: str = "") -> Iterator[Any]:
        if self.down is not None:
            raise self.down
        return super().list(prefix, start_after)

    def get(self, key: str) -> Any:
        self.reads += 1
        return super().get(key)


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


@dataclass
class Answer:
    """What a client got."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

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
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        place = ("127.0.0.1", self.port)
        connection = (
            HTTPSConnection(*place, timeout=10, context=trust)
            if trust
            else HTTPConnection(*place, timeout=10)
        )
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            return _taken(connection.getresponse())
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        """Open a connection, and send nothing."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def logged(self) -> list[GatewayRequest]:
        """The requests that were logged so far."""
        return [event for event in self.events if isinstance(event, GatewayRequest)]


def _taken(response: HTTPResponse) -> Answer:
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


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
        with _serve(access, doors, patience, context) as port:
            yield Door(port, store, book, tokens, clock, doors, events)


@contextmanager
def _serve(
    app: ASGIApp,
    doors: Doors,
    patience: Patience | None,
    context: Callable[[], ssl.SSLContext] | None,
) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
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
    server = SecureServer(config, context) if context else uvicorn.Server(config)
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]))
    thread.start()
    end = time.monotonic() + 10
    while not server.started and time.monotonic() < end:
        time.sleep(0.01)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
