"""A web server with a few pages, each as able or as odd as a test wants it."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import unquote

_MODIFIED = "Sat, 01 Jan 2022 00:00:00 GMT"


@dataclass(slots=True)
class Page:
    """What a path holds. `head` off: HEAD is refused. `sized` off: no Content-Length.

    `moved` is a redirect's target. `etag` and `modified` are headers, None for none.
    """

    data: bytes = b""
    etag: str | None = None
    modified: str | None = _MODIFIED
    kind: str = "application/octet-stream"
    ranges: bool = True
    says_ranges: bool = True
    head: bool = True
    sized: bool = True
    status: int = 200
    moved: str | None = None

    def fields(self) -> dict[str, str]:
        """Return the headers that describe the content."""
        fields = {"Content-Type": self.kind}
        if self.etag is not None:
            fields["ETag"] = self.etag
        if self.modified is not None:
            fields["Last-Modified"] = self.modified
        if self.ranges and self.says_ranges:
            fields["Accept-Ranges"] = "bytes"
        if self.moved is not None:
            fields["Location"] = self.moved
        return fields


def page(data: bytes, **options: object) -> Page:
    """Return a page with a strong ETag made of its content."""
    return Page(data, etag=f'"{hashlib.md5(data).hexdigest()}"', **options)  # type: ignore[arg-type]


@dataclass
class WebRoot:
    """Serves `pages` by decoded path; `seen` is a list of (method, path, headers)."""

    pages: dict[str, Page] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def __enter__(self) -> Self:
        root = self

        class Handler(_Handler):
            webroot = root

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_port}"


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that hang up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    webroot: WebRoot

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""

    def _answer(self, *, with_body: bool) -> None:
        path = unquote(self.path.partition("?")[0])
        self.webroot.seen.append((self.command, self.path, dict(self.headers)))
        found = self.webroot.pages.get(path, Page(status=404))
        if self.command == "HEAD" and not found.head:
            found = Page(status=405)
        status, body, fields = found.status, found.data, found.fields()
        if found.moved is not None:
            status, body = 302, b"moved"
        elif status == 200 and found.ranges and "Range" in self.headers:
            status, body = self._part(found, fields)
        if found.sized:
            fields["Content-Length"] = str(len(body))
        else:
            self.close_connection = True
            fields["Connection"] = "close"
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _part(self, found: Page, fields: dict[str, str]) -> tuple[int, bytes]:
        first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
        start, stop, size = int(first), int(last) + 1, len(found.data)
        if start >= size:
            fields["Content-Range"] = f"bytes */{size}"
            return 416, b""
        body = found.data[start:stop]
        fields["Content-Range"] = f"bytes {start}-{start + len(body) - 1}/{size}"
        return 206, body
