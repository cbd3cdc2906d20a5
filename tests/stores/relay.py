"""A wire with a fault: passes bytes between client and server, and changes or cuts them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

Change = Callable[[bytes], bytes | None]
"""What becomes of bytes on their way; None cuts the connection."""


@contextmanager
def relay(endpoint: str, *, sent: Change = bytes, answered: Change = bytes) -> Iterator[str]:
    """Give the address of a relay to `endpoint` that changes what is sent, or answered."""
    parts = urlsplit(endpoint)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = (str(parts.hostname), int(parts.port or 80))
        threading.Thread(
            target=_serve, args=(listener, target, sent, answered), daemon=True
        ).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def _serve(
    listener: socket.socket, target: tuple[str, int], sent: Change, answered: Change
) -> None:
    with suppress(OSError):
        while True:
            client = listener.accept()[0]
            server = socket.create_connection(target)
            for source, sink, how in ((client, server, sent), (server, client, answered)):
                threading.Thread(target=_pump, args=(source, sink, how), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket, change: Change) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            changed = change(data)
            if changed is None:
                break
            sink.sendall(changed)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def damage(intact: bytes, broken: bytes) -> Change:
    """Replace one run of bytes by another of the same length."""
    return lambda data: data.replace(intact, broken)


def cut_after(limit: int) -> Change:
    """Let `limit` bytes through, of all connections together, and cut then."""
    passed = 0

    def count(data: bytes) -> bytes | None:
        nonlocal passed
        passed += len(data)
        return data if passed <= limit else None

    return count
