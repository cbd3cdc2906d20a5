"""The gateway as a server: uvicorn in a thread, so that a command and the daemon run it alike.

`load` reads what is published and fails where that cannot be done; the daemon leaves it out and
serves as soon as the store answers. `stop` lets requests that are on their way end for a few
seconds, and then cuts them. `follow` changes what is served, and by which rules, below the open
socket: connections, counts of clients and requests under way stay.
"""

from __future__ import annotations

import errno
import gc
import math
import os
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

import uvicorn
from starlette.types import ASGIApp

from sync_daemon.config import Settings
from sync_daemon.config.units import Address
from sync_daemon.domain.errors import ConfigurationError
from sync_daemon.domain.events import GatewayStarted, GatewayStopped
from sync_daemon.gateway.access.log import AccessLog, Traffic
from sync_daemon.gateway.access.middleware import Access, Counts, Rules
from sync_daemon.gateway.access.networks import Networks
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
from sync_daemon.gateway.published.library import Library
from sync_daemon.gateway.reading import Reading
from sync_daemon.gateway.switch import Switch
from sync_daemon.ports import Emit, ObjectStore

LAST_MOMENTS = 5
"""Seconds in which requests that are on their way may end."""

ALMOST_NOW = 1.0
"""Seconds in which a gateway ends that nobody uses."""

BACKLOG = 1024
"""Connections that wait to be taken."""

UNSENT = 128 * 1024
"""Bytes of an answer that wait in the kernel until they can be sent. It would take up to 4 MiB for
each client that reads slowly: 200 of them held 800 MiB, and hold 15 so; none is slower for it."""

PageMaker = Callable[[Library], ASGIApp]


class Gateway:
    """Serves one store at `settings.gateway.listen`; port 0 takes any that is free.

    `more` is looked at whenever the library is: it may raise StoreUnavailable, StoreRefused.
    `close` lets go of the store when nobody reads from it any more.
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
        close: Callable[[], object] | None = None,
    ) -> None:
        """Raises ConfigurationError for a certificate that cannot be used."""
        rules = settings.gateway
        self._settings, self._emit, self._traffic = settings, emit, traffic
        self._certificate = Certificate(rules.tls, emit) if rules.tls else None
        self._log = AccessLog(emit, rules.access_log)
        self._counts = Counts(rules)
        self._doors = Doors(_networks(rules), rules.client_connections, rules.connections)
        self._reading = self._read(settings, store, close, more)
        self._switch = Switch(self._make_app(settings, self._reading, pages), self._reading)
        self._ended, self._finishing = threading.Event(), threading.Lock()
        self._all_ended, self._last_moments = False, LAST_MOMENTS + 2.0
        self._open = ExitStack()
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None
        self._url: str | None = None

    def _read(
        self,
        settings: Settings,
        store: ObjectStore,
        close: Callable[[], object] | None,
        more: Sequence[Callable[[], object]] = (),
    ) -> Reading:
        looks = [self._look_at_certificate]
        return Reading(settings, store, self._emit, more=more, looks=looks, close=close)

    def _make_app(self, settings: Settings, reading: Reading, pages: PageMaker | None) -> ASGIApp:
        rules = settings.gateway

        def door(app: ASGIApp) -> ASGIApp:
            return Access(app, rules, reading.tokens, self._log, self._traffic, counts=self._counts)

        return make_app(
            reading.library,
            Files(reading.store, settings, emit=self._emit),
            settings,
            door=door,
            readiness=reading.refresher.reasons,
            pages=pages(reading.library) if pages else None,
        )

    @property
    def library(self) -> Library:
        """What it serves now."""
        return self._reading.library

    @property
    def store(self) -> ObjectStore:
        """What it reads now."""
        return self._reading.store

    @property
    def url(self) -> str:
        """Where it listens, as a URL; only once it was started."""
        if self._url is None:
            raise RuntimeError("the gateway was not started")
        return self._url

    @property
    def alive(self) -> bool:
        """Tell whether it serves."""
        return self._thread is not None and self._thread.is_alive()

    def load(self) -> None:
        """Read what is published. Raises StoreUnavailable, StoreRefused."""
        self._reading.load()

    def reload_certificate(self) -> None:
        """Read the certificate again, if there is one; a wrong one changes nothing."""
        if self._certificate is not None:
            self._certificate.reload()

    def _look_at_certificate(self) -> None:
        if self._certificate is not None:
            self._certificate.refresh()

    # -- start and end ---------------------------------------------------------------------

    def start(self, instead: Gateway | None = None) -> None:
        """Listen, and serve in a thread. Raises ConfigurationError where it cannot listen, and
        lets go of the store then.

        `instead`: take over the socket of this gateway, which still serves at the same address.
        """
        listen = self._settings.gateway.listen
        if listen is None:
            message = "gateway.listen: is off"
            raise ConfigurationError(message, hint="write an address, such as 0.0.0.0:8080")
        open_files_for(self._settings.gateway.connections)
        try:
            self._socket = instead.share_socket() if instead else _listen(listen)
        except ConfigurationError:
            self._reading.close()
            raise
        host, port = self._socket.getsockname()[:2]
        self._url = f"{'https' if self._certificate else 'http'}://{Address(host, port)}"
        self._server = self._make_server()
        self._open.enter_context(self._log)
        serve = partial(self._server.run, sockets=[self._socket])
        self._thread = threading.Thread(target=serve, name="gateway", daemon=True)
        self._thread.start()
        self._reading.start()
        self._reading.wait()
        self._emit(GatewayStarted(url=self.url, models=len(self.library.shelf.models)))

    def share_socket(self) -> socket.socket:
        """Return the socket that it listens at, once more: who has it takes connections too."""
        if self._socket is None:
            raise RuntimeError("the gateway was not started")
        return self._socket.dup()

    def stop(self) -> bool:
        """End within seconds; return whether all of it has ended. Again, it does nothing."""
        if self._server is None or self._thread is None or self._ended.is_set():
            return not self.alive
        self._reading.interrupt()
        self._server.should_exit = True
        self._thread.join(self._last_moments)
        if self._thread.is_alive():
            self._server.force_exit = True
            self._thread.join(1)
        return self._finish()

    def retire(self, seconds: float) -> None:
        """Take no more connections, but let requests that are under way end for so long.

        It returns once nobody can connect; `stop` ends it sooner.
        """
        if self._server is None or self._thread is None or self._ended.is_set():
            return
        self._reading.retire()
        self._last_moments = LAST_MOMENTS
        self._server.config.timeout_graceful_shutdown = math.ceil(seconds)
        self._server.should_exit = True
        self._thread.join(ALMOST_NOW)
        if self._thread.is_alive():
            threading.Thread(target=self._drain, name="former-gateway", daemon=True).start()
        else:
            self._finish()

    def _drain(self) -> None:
        if self._thread is not None:
            self._thread.join()
        self._finish()
        gc.collect()  # of what it knew, nobody else reminds Python

    def _finish(self) -> bool:
        """Let go of everything, once."""
        with self._finishing:
            if not self._ended.is_set():
                self._ended.set()
                self._switch.close()
                self._all_ended = self._reading.close() and not self.alive
                self._open.close()
                self._emit(GatewayStopped())
            return self._all_ended

    # -- another configuration -------------------------------------------------------------

    def can_follow(self, settings: Settings) -> bool:
        """Tell whether it can serve by these settings without another socket."""
        before, rules = self._settings.gateway, settings.gateway
        return self.alive and (before.listen, before.tls is None) == (
            rules.listen,
            rules.tls is None,
        )

    def follow(
        self,
        settings: Settings,
        *,
        pages: PageMaker | None = None,
        store: ObjectStore | None = None,
        close: Callable[[], object] | None = None,
        strict: bool = False,
    ) -> None:
        """Serve by these settings from the next request on; those under way end by the former.

        `store` takes the place of the one that is read, if it is given, and must answer if it is
        `strict`. Raises ConfigurationError, StoreUnavailable and StoreRefused, and then nothing
        has changed.
        """
        rules, reading = settings.gateway, self._reading
        certificate = self._certificate
        if rules.tls is not None and rules.tls != self._settings.gateway.tls:
            certificate = Certificate(rules.tls, self._emit)
        if store is not None:
            reading = self._read(settings, store, close)
            if strict:
                reading.load()
            reading.start()
            reading.wait()
        reading.follow(settings)
        app = self._make_app(settings, reading, pages)
        open_files_for(rules.connections)
        self._doors.allow(_networks(rules), rules.client_connections, rules.connections)
        self._counts.follow(rules)
        self._log.follow(rules.access_log)
        same = certificate is self._certificate
        self._settings, self._certificate, self._reading = settings, certificate, reading
        self._switch.turn(app, reading)
        if same:
            self.reload_certificate()

    def _make_server(self) -> uvicorn.Server:
        kind = CountedProtocol if self._certificate else BoundedProtocol
        config = uvicorn.Config(
            self._switch,
            loop="uvloop",
            lifespan="off",
            log_config=None,
            log_level="critical",  # what it would say besides: that requests were cut
            backlog=BACKLOG,
            timeout_graceful_shutdown=LAST_MOMENTS,
            http=make_protocol(self._doors, kind=kind),
            ws="none",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=IDLE_SECONDS,
        )
        if self._certificate is None:
            return uvicorn.Server(config)
        return SecureServer(config, self._context)

    def _context(self) -> ssl.SSLContext:
        if self._certificate is None:
            raise AssertionError
        return self._certificate.context


def _networks(rules: Rules) -> Networks:
    return Networks(rules.networks, rules.proxies)


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
