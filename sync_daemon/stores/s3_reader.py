"""Reads a range of an object straight into the caller's buffer."""

from __future__ import annotations

import re
from typing import Self

from sync_daemon.domain.errors import StoreRefused
from sync_daemon.stores.s3_errors import translate
from sync_daemon.stores.s3_link import Link, read_etag, read_refusal
from sync_daemon.wire import Response

_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)?")
_OK, _PARTIAL, _BEYOND = 200, 206, 416


class ObjectReader:
    """The body of one answer; `None` stands for the empty one."""

    def __init__(self, response: Response | None) -> None:
        self._response = response

    @property
    def total(self) -> int | None:
        """The size of the whole object in bytes, where the answer says it."""
        if self._response is None:
            return None
        match = _CONTENT_RANGE.match(self._response.headers.get("Content-Range") or "")
        if match is None:
            return self._response.length
        return int(match[2]) if match[2] else None

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the front of `buffer`; 0 at the end. Raises StoreUnavailable."""
        return self._response.readinto(buffer) if self._response else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._response:
            self._response.__exit__(*exc)


def open_range(link: Link, key: str, start: int, stop: int | None) -> ObjectReader:
    """Open bytes `start` to `stop`; what lies past the end is not there."""
    if stop is not None and stop <= start:
        with link.deliver("HEAD", key):
            return ObjectReader(None)
    ranged = start > 0 or stop is not None
    last = "" if stop is None else stop - 1
    headers = {"Range": f"bytes={start}-{last}"} if ranged else {}
    response = link.send("GET", key, headers=headers)
    if response.status == _BEYOND:
        with response:
            response.read()
        return ObjectReader(None)
    if response.status not in {_OK, _PARTIAL}:
        raise translate(read_refusal(response), key)
    if ranged:
        _check_range(response, key, start)
    return ObjectReader(response)


def _check_range(response: Response, key: str, start: int) -> None:
    match = _CONTENT_RANGE.match(response.headers.get("Content-Range") or "")
    if response.status == _PARTIAL and match and int(match[1]) == start:
        return
    response.close()
    read_etag(response.headers, key)
    message = f"{key}: the store answers with other bytes than the range that was asked for"
    raise StoreRefused(message, hint="a proxy between here and the store may drop Range headers")
