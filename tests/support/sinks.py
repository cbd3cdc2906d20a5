"""A server that takes alerts: an Alertmanager, a webhook, or one that never answers."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class AlertSink:
    """Keeps what was posted; `status` is what it answers. With `silent` set it waits for it."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, str], Any]] = []
        self.status = 200
        self.silent: threading.Event | None = None
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if sink.silent is not None:
                    sink.silent.wait(30)
                sink.posts.append((self.path, dict(self.headers), json.loads(body)))
                self.send_response(sink.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    @property
    def place(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.server.server_port}"


@contextmanager
def alert_sink(tls: ssl.SSLContext | None = None) -> Iterator[AlertSink]:
    """A sink that listens inside the block, behind TLS if it is told how."""
    sink = AlertSink()
    if tls is not None:
        sink.server.socket = tls.wrap_socket(sink.server.socket, server_side=True)
    thread = threading.Thread(target=sink.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield sink
    finally:
        if sink.silent is not None:
            sink.silent.set()
        sink.server.shutdown()
        sink.server.server_close()
