"""A forward proxy that counts what passes: CONNECT for https, whole URLs for http."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

DENIED = (
    b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 6\r\n"
    b"Connection: close\r\n\r\ndenied"
)


@dataclass
class ForwardProxy:
    """`passed` lists method and target of what was let through; `wants` is Proxy-Authorization.

    Every name leads to this machine. One request a connection, so that each is seen.
    """

    wants: str | None = None
    passed: list[tuple[str, str]] = field(default_factory=list)
    denied: int = 0

    def __enter__(self) -> Self:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        for sock in (self._server, *self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    @property
    def authority(self) -> str:
        """Its host and port."""
        return f"127.0.0.1:{self._server.getsockname()[1]}"

    @property
    def url(self) -> str:
        """Its address, without credentials."""
        return f"http://{self.authority}"

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._server.accept()
                self._open.append(sock)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            data = b""
            while b"\r\n\r\n" not in data:
                more = client.recv(65_536)
                if not more:
                    return
                data += more
            head, _, body = data.partition(b"\r\n\r\n")
            self._answer(client, head.decode("latin-1"), body)

    def _answer(self, client: socket.socket, head: str, body: bytes) -> None:
        lines = head.split("\r\n")
        method, target, _ = lines[0].split(" ")
        fields = [line for line in lines[1:] if not line.lower().startswith("proxy-auth")]
        given = [line.partition(": ")[2] for line in lines[1:] if line not in fields]
        if self.wants is not None and given != [self.wants]:
            self.denied += 1
            client.sendall(DENIED)
            return
        self.passed.append((method, target))
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        with socket.create_connection(("127.0.0.1", parts.port or 80)) as server:
            self._open.append(server)
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 Established\r\n\r\n")
            else:
                path = target.partition(parts.netloc)[2] or "/"
                kept = [line for line in fields if not line.lower().startswith("connection:")]
                sent = [f"{method} {path} HTTP/1.1", *kept, "Connection: close", "", ""]
                server.sendall("\r\n".join(sent).encode("latin-1") + body)
            threading.Thread(target=_pour, args=(client, server), daemon=True).start()
            _pour(server, client)


def _pour(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
