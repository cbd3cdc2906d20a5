"""Plain HTTP clients for tests: one request, no redirects, no retries, nothing hidden."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came back; `complete` is false when the body ended before its announced length."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    complete: bool = True

    def header(self, name: str) -> str | None:
        """Return the first header of that name, whatever its case."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)


@dataclass(frozen=True)
class Reply:
    """What came back, with the names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @classmethod
    def to(
        cls,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        token: str | None = None,
        **headers: str,
    ) -> Self:
        """Send one request with exactly this path, and close the connection."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            named["Authorization"] = f"Bearer {token}"
        with closing(connection):
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return cls(answer.status, found, answer.read())


def fetch(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout: float = 10.0,
    range: str | None = None,  # noqa: A002 - the header's name
) -> Fetched:
    """Ask for `url` on a new connection; raises OSError or http.client.HTTPException."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=timeout)
    asked = dict(headers or {}) | ({"Range": f"bytes={range}"} if range else {})
    try:
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request(method, target, body, asked)
        answer = connection.getresponse()
        said = tuple(answer.getheaders())
        try:
            return Fetched(answer.status, said, answer.read())
        except http.client.IncompleteRead as short:
            return Fetched(answer.status, said, short.partial, complete=False)
    finally:
        connection.close()


def get_json(url: str, headers: Mapping[str, str] | None = None) -> Any:
    """Return the JSON that a GET of `url` answers with."""
    return json.loads(fetch(url, headers=headers).body)
