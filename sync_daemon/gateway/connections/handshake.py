"""TLS handshakes that have a time, and a place among the connections that are counted.

A server that takes connections for itself tells nobody of one before its handshake is over, and
waits a minute for that: whoever says nothing would hold as many connections as there are open
files. So connections are taken here, and counted before the handshake begins.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine

import uvicorn

from sync_daemon.gateway.connections.protocol import BoundedProtocol

CLOSING_SECONDS = 5.0
"""Time for a client to agree to the end of a connection."""

BREATH = 0.1
"""Seconds to wait when this process can open no more files."""

Context = Callable[[], ssl.SSLContext]
"""Returns what the next handshake is made with."""


class CountedProtocol(BoundedProtocol):
    """The protocol of a connection that was counted before it begins."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, now that hands were shaken."""
        self.begin(transport)


class SecureServer(uvicorn.Server):
    """uvicorn behind TLS. Its configuration has `http=make_protocol(..., CountedProtocol)`, and
    must know of no certificate."""

    def __init__(self, config: uvicorn.Config, context: Context) -> None:
        super().__init__(config)
        self._context = context
        self._tasks: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections from these sockets."""
        await super().startup(sockets=[])
        for listener in sockets or ():
            listener.setblocking(False)
            self._spawn(self._accept(listener))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more."""
        for task in self._tasks:
            task.cancel()
        await super().shutdown(sockets=sockets)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                line, peer = await loop.sock_accept(listener)
            except OSError:
                await asyncio.sleep(BREATH)
                continue
            protocol = self._make_protocol()
            if protocol.count(peer[0]):
                self._spawn(self._shake_hands(line, protocol))
            else:
                line.close()

    def _make_protocol(self) -> BoundedProtocol:
        make = self.config.http_protocol_class
        found = make(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        if not isinstance(found, BoundedProtocol):
            raise TypeError
        return found

    async def _shake_hands(self, line: socket.socket, protocol: BoundedProtocol) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol,
                line,
                ssl=self._context(),
                ssl_handshake_timeout=protocol.patience.head,
                ssl_shutdown_timeout=CLOSING_SECONDS,
            )
        except OSError:  # whatever the client did wrong; TLS has its own words for it
            protocol.forget()
        except BaseException:
            protocol.forget()
            raise
