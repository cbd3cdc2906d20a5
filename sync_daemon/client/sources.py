"""Where the header of a file of weights can be read: a disk, a URL, or a published version."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Self

from sync_daemon.client.tensors import NotReadable
from sync_daemon.domain.errors import ConfigurationError, OriginRefused, OriginUnavailable
from sync_daemon.wire.answers import follow
from sync_daemon.wire.client import Http, Response

_PARTIAL = 206
_NO_SUCH_RANGE = 416
_OK = 200
_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class Blob:
    """A file that a function reads: one of a published version."""

    name: str
    size: int
    fetch: Callable[[int, int], bytes]

    def read(self, start: int, stop: int) -> bytes:
        """Return bytes `start` to `stop`. Raises NotReadable where they are not all there."""
        data = self.fetch(start, stop)
        if len(data) != stop - start:
            message = f"{self.name}: is shorter than its manifest says"
            raise NotReadable(message, hint="run `sync-daemon verify`")
        return data


class LocalFile:
    """A file of this machine, open inside a `with` block."""

    def __init__(self, path: Path) -> None:
        """Raise ConfigurationError where it cannot be opened."""
        self.name = str(path)
        try:
            self._file = path.open("rb")
        except OSError as error:
            message = f"{path}: {error.strerror}"
            raise ConfigurationError(message, hint="name a file that can be read") from error
        self.size = os.fstat(self._file.fileno()).st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def read(self, start: int, stop: int) -> bytes:
        """Return bytes `start` to `stop`."""
        data = os.pread(self._file.fileno(), stop - start, start)
        if len(data) != stop - start:
            message = f"{self.name}: became shorter while it was read"
            raise NotReadable(message, hint="run again")
        return data


class RemoteFile:
    """A file behind a URL whose server knows ranges. `private` headers stay on its host."""

    def __init__(
        self, url: str, http: Http, private: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Ask for its size, by one byte. Raises OriginUnavailable, OriginRefused, OriginLied."""
        self.name = url.partition("?")[0]
        self._url, self._http, self._private = url, http, private
        with self._ask(0, 1) as response:
            total = (response.headers.get("Content-Range") or "").rpartition("/")[2]
        if not total.isascii() or not total.isdigit():
            message = f"{self.name}: its server does not say how long it is"
            raise NotReadable(message, hint="download it, and inspect the file")
        self.size = int(total)

    def read(self, start: int, stop: int) -> bytes:
        """Return bytes `start` to `stop`. Raises as the constructor does."""
        data = bytearray(stop - start)
        view, done = memoryview(data), 0
        with self._ask(start, stop) as response:
            while done < len(data) and (count := response.readinto(view[done:])):
                done += count
        if done != len(data):
            raise OriginUnavailable(f"{self.name}: the answer ended early", hint="run again")
        return bytes(data)

    def _ask(self, start: int, stop: int) -> Response:
        span = {"Range": f"bytes={start}-{stop - 1}"}
        landing = follow(self._http, "GET", self._url, headers=span, private=self._private)
        response = landing.response
        if response.status == _PARTIAL:
            return response
        response.close()
        if response.status == _OK:
            message = f"{self.name}: its server does not know ranges"
            raise NotReadable(message, hint="download it, and inspect the file")
        if response.status == _NO_SUCH_RANGE:
            message = f"{self.name}: is empty, or ends before byte {start}"
            raise NotReadable(message, hint="is it the right file?")
        message = f"{self.name}: the server answered {response.status}"
        if response.status >= _SERVER_ERROR:
            raise OriginUnavailable(message, hint="try again later")
        raise OriginRefused(message, hint="check the address, and the token that it may need")
