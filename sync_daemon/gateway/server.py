"""The gateway as a server: uvicorn in a thread, so that a command and the daemon run it alike.

`load` reads what is published and fails where that cannot be done; the daemon leaves it out and
serves as soon as the store answers. `stop` lets requests that are on their way end for a few
seconds, and then cuts them.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import uvicorn
from starlette.types import ASGIApp

from sync_daemon import bootstrap
from sync_daemon.config import Settings
from sync_daemon.config.units import Address
from sync_daemon.domain.errors import ConfigurationError
from sync_daemon.domain.events import GatewayStarted, GatewayStopped
from sync_daemon.domain.names import ModelName
from sync_daemon.engine.clock import SystemClock
from sync_daemon.gateway.access.log import AccessLog, Traffic
from sync_daemon.gateway.access.middleware import Access
from sync_daemon.gateway.access.networks import Networks
from sync_daemon.gateway.access.tokens import TokenBook, Tokens
from sync_daemon.gateway.app import make_app
from sync_daemon.gateway.connections.handshake import CountedProtocol, SecureServer
from sync_daemon.gateway.connections.protocol import (
    IDLE_SECONDS,
    BoundedProtocol,
    Doors,
    make_protocol,
    open_files_for,
)
from sync_daemon.gateway.connections.tls import Certificate
from sync_daemon.gateway.files.handler import Files
from sync_daemon.gateway.keeper import Keeper
from sync_daemon.gateway.published.library import Library
from sync_daemon.gateway.published.refresher import Refresher
from sync_daemon.ports import Emit, ObjectStore

PATIENCE = 10.0
"""Seconds in which a request to the store is tried again: a client waits for the answer."""

FIRST_LOOK = 5.0
"""Seconds for which the start waits for the first look, to tell how much there is to serve."""

ATTEMPTS = 2
"""Tries of such a request: the next look, or the client itself, tries again anyway."""

LAST_MOMENTS = 5
"""Seconds in which requests that are on their way may end."""

BACKLOG = 1024
"""Connections that wait to be taken."""

UNSENT = 128 * 1024
"""Bytes of an answer that wait in the kernel until they can be sent. It would take up to 4 MiB for
each client that reads slowly: 200 of them held 800 MiB, and hold 15 so; none is slower for it."""

PageMaker = Callable[[Library], ASGIApp]


class Gateway:
    """Serves one store at `settings.gateway.listen`; port 0 takes any that is free.

    `more` is looked at whenever the library is: it may raise StoreUnavailable, StoreRefused.
    """

    def __init__(
        self,
        settings: Settings,
        store: ObjectStore,
        emit: Emit,
        *,
        traffic: Traffic | None = None,
        pages: PageMaker | None = None,
        more: Sequence[Callable[[], object]] = (),
    ) -> None:
        """Raises ConfigurationError for a certificate that cannot be used."""
        rules = settings.gateway
        self._settings = settings
        self._emit = emit
        self._ending = threading.Event()
        clock = SystemClock(self._ending)
        retry = bootstrap.retry(settings, emit, self._ending)
        retry = replace(retry, attempts=min(retry.attempts, ATTEMPTS), total=PATIENCE)
        order = tuple(ModelName(model.name) for model in settings.models)
        self.library = Library(store, retry, order=order)
        self._tokens = Tokens(TokenBook(store, retry), clock, emit)
        self._certificate = Certificate(rules.tls, emit) if rules.tls else None
        self._refresher = Refresher(self.library, rules.refresh, clock, emit, more=more)
        looks: list[Callable[[], object]] = [self._tokens.refresh]
        if self._certificate:
            looks.append(self._certificate.refresh)
        self._keeper = Keeper("keeper", looks, rules.refresh.total_seconds, clock)
        self._log = AccessLog(emit, rules.access_log)
        self._app = make_app(
            self.library,
            Files(store, settings, emit=emit),
            settings,
            door=partial(self._make_door, traffic),
            readiness=self._refresher.reasons,
            pages=pages(self.library) if pages else None,
        )
        self._open = ExitStack()
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None

    def _make_door(self, traffic: Traffic | None, app: ASGIApp) -> ASGIApp:
        return Access(app, self._settings.gateway, self._tokens, self._log, traffic)

    @property
    def url(self) -> str:
        """Where it listens, as a URL; only once it was started."""
        if self._socket is None:
            raise RuntimeError("the gateway was not started")
        host, port = self._socket.getsockname()[:2]
        return f"{'https' if self._certificate else 'http'}://{Address(host, port)}"

    @property
    def alive(self) -> bool:
        """Tell whether it serves."""
        return self._thread is not None and self._thread.is_alive()

    def load(self) -> None:
        """Read what is published. Raises StoreUnavailable, StoreRefused."""
        self.library.check()
        self._tokens.refresh()
        self._refresher.look()

    def reload_certificate(self) -> None:
        """Read the certificate again, if there is one; a wrong one changes nothing."""
        if self._certificate is not None:
            self._certificate.reload()

    def start(self) -> None:
        """Listen, and serve in a thread. Raises ConfigurationError where it cannot listen."""
        listen = self._settings.gateway.listen
        if listen is None:
            message = "gateway.listen: is off"
            raise ConfigurationError(message, hint="write an address, such as 0.0.0.0:8080")
        open_files_for(self._settings.gateway.connections)
        self._socket = _listen(listen)
        self._server = self._make_server()
        self._open.enter_context(self._log)
        serve = partial(self._server.run, sockets=[self._socket])
        self._thread = threading.Thread(target=serve, name="gateway", daemon=True)
        self._thread.start()
        self._refresher.start()
        self._keeper.start()
        self._refresher.wait(FIRST_LOOK)
        self._emit(GatewayStarted(url=self.url, models=len(self.library.shelf.models)))

    def stop(self) -> bool:
        """End within seconds; return whether all of it has ended. Again, it does nothing."""
        if self._server is None or self._thread is None or self._ending.is_set():
            return not self.alive
        self._ending.set()
        self._server.should_exit = True
        self._thread.join(LAST_MOMENTS + 2)
        if self._thread.is_alive():
            self._server.force_exit = True
            self._thread.join(1)
        ended = self._refresher.join(1) and self._keeper.join(1) and not self._thread.is_alive()
        self._open.close()
        self._emit(GatewayStopped())
        return ended

    def _make_server(self) -> uvicorn.Server:
        rules, certificate = self._settings.gateway, self._certificate
        networks = Networks(rules.networks, rules.proxies)
        doors = Doors(networks, rules.client_connections, rules.connections)
        kind = CountedProtocol if certificate else BoundedProtocol
        config = uvicorn.Config(
            self._app,
            loop="uvloop",
            lifespan="off",
            log_config=None,
            log_level="warning",
            backlog=BACKLOG,
            timeout_graceful_shutdown=LAST_MOMENTS,
            http=make_protocol(doors, kind=kind),
            ws="none",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=IDLE_SECONDS,
        )
        if certificate is None:
            return uvicorn.Server(config)
        return SecureServer(config, lambda: certificate.context)


def _listen(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        found = socket.create_server((address.host, address.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise _cannot_listen(address, error) from error
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # connections inherit it
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
    return found


def _cannot_listen(address: Address, error: OSError) -> ConfigurationError:
    hint = {
        errno.EADDRINUSE: "another process listens there: is a gateway running already?",
        errno.EACCES: "ports below 1024 need a right of their own: take a higher one",
        errno.EADDRNOTAVAIL: "this machine has no such address",
    }.get(error.errno or 0, "write an address of this machine")
    reason = os.strerror(error.errno) if error.errno else str(error)
    message = f"gateway.listen: cannot listen on {address}: {reason}"
    return ConfigurationError(message, hint=hint)
