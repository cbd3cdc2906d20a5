"""An application behind uvicorn, in a thread of the test."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from tests.support.waiting import wait_until


@contextmanager
def run_server(server: uvicorn.Server, *, force: bool = False) -> Iterator[int]:
    """Yield the port of 127.0.0.1 that it listens on. `force`: its end cuts what goes on."""
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]), daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield listener.getsockname()[1]
    finally:
        server.should_exit, server.force_exit = True, force
        thread.join(10)
