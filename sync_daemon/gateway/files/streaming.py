"""Bytes of a blob on their way to a client, block by block.

A thread is taken for one block and given back, never for a whole stream: two hundred clients
that read slowly hold two hundred blocks and not one thread. Of a file whose block is in the page
cache no thread is taken at all. A stream that the store breaks is opened again where it broke;
when that does not help, the answer ends before its announced length, by FIN, so that a client
sees what happened and asks for the rest.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from anyio import CapacityLimiter, to_thread
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sync_daemon.domain.errors import StoreUnavailable, SyncError
from sync_daemon.gateway.files.headers import RawHeaders
from sync_daemon.gateway.files.ranges import Span
from sync_daemon.ports import ObjectStore, Reader

BLOCK = 256 * 1024
"""Bytes that are read at once, and that each client holds."""

BREATH = 4
"""Blocks after which others have their turn, and the end of the connection is heard of: neither
a send that does not fill the kernel nor a block from the page cache waits for anything, and what
is sent to a client that has just gone fills nothing."""

ATTEMPTS = 3
"""How often in a row a broken stream is opened again without a byte having come."""

PAUSE = 0.5
"""Seconds before a store that has just failed twice is asked again."""

_CANNOT_TELL = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


class Source(Protocol):
    """Where the bytes come from."""

    async def read(self) -> bytes | bytearray:
        """Return the next block. Raises SyncError, FileNotFoundError; empty: there are no more
        though there should be."""

    def close(self) -> None:
        """Let go of the file or the connection."""


class FileSource:
    """An open file, which it closes."""

    def __init__(self, handle: int, span: Span, threads: CapacityLimiter) -> None:
        self._handle = handle
        self._at, self._stop = span.start, span.stop
        self._threads = threads
        self._cached = hasattr(os, "RWF_NOWAIT")

    async def read(self) -> bytes | bytearray:
        """Return the next block, from the page cache without a thread."""
        data = self._peek() if self._cached else b""
        if not data:
            data = await to_thread.run_sync(self._read, limiter=self._threads)
        self._at += len(data)
        return data

    def _peek(self) -> bytes | bytearray:
        block = bytearray(min(BLOCK, self._stop - self._at))
        try:
            count = os.preadv(self._handle, [block], self._at, os.RWF_NOWAIT)
        except BlockingIOError:
            return b""
        except OSError as error:
            if error.errno not in _CANNOT_TELL:
                raise _broken(error) from error
            self._cached = False
            return b""
        del block[count:]
        return block

    def _read(self) -> bytes:
        try:
            return os.pread(self._handle, min(BLOCK, self._stop - self._at), self._at)
        except OSError as error:
            raise _broken(error) from error

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)


class StoreSource:
    """A range of an object, by the store's reader, which it closes."""

    def __init__(
        self, store: ObjectStore, key: str, reader: Reader, span: Span, threads: CapacityLimiter
    ) -> None:
        self._store = store
        self._key = key
        self._reader: Reader | None = reader
        self._at, self._stop = span.start, span.stop
        self._threads = threads

    async def read(self) -> bytes | bytearray:
        """Return the next block; open the stream again where the store broke it."""
        for attempt in range(ATTEMPTS):
            try:
                data = await to_thread.run_sync(self._read, limiter=self._threads)
            except StoreUnavailable:
                self.close()
                if attempt == ATTEMPTS - 1:
                    raise
                await asyncio.sleep(PAUSE * attempt)
                continue
            self._at += len(data)
            return data
        raise AssertionError

    def _read(self) -> bytearray:
        if self._reader is None:
            self._reader = self._store.open(self._key, self._at, self._stop)
        block = bytearray(min(BLOCK, self._stop - self._at))
        view, filled = memoryview(block), 0
        try:
            while filled < len(block) and (got := self._reader.readinto(view[filled:])):
                filled += got
        except StoreUnavailable:
            if not filled:
                raise
            self.close()
        view.release()
        del block[filled:]
        return block

    def close(self) -> None:
        """Close the connection, unless it was read to its end."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.__exit__(None, None, None)


class Answer(Response):
    """An answer whose headers are ready to be sent."""

    def __init__(self, status: int, headers: RawHeaders, body: bytes = b"") -> None:
        self.status_code = status
        self.raw_headers = headers
        self.body = body
        self.background = None


class StreamedAnswer(Answer):
    """An answer that comes from a source. `cut` is told when it ends early, and after how many
    bytes."""

    def __init__(
        self,
        status: int,
        headers: RawHeaders,
        source: Source,
        *,
        first: bytes | bytearray,
        length: int,
        cut: Callable[[int, Exception | None], None],
    ) -> None:
        super().__init__(status, headers)
        self._source = source
        self._first = first
        self._length = length
        self._cut = cut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; return early when the client leaves or the source fails."""
        del scope
        gone = asyncio.create_task(_wait_until_gone(receive))
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            await self._send_body(send, gone)
        finally:
            gone.cancel()
            self._source.close()

    async def _send_body(self, send: Send, gone: asyncio.Task[None]) -> None:
        data, sent, blocks = self._first, 0, 0
        while not gone.done():
            sent += len(data)
            more = sent < self._length
            await send({"type": "http.response.body", "body": data, "more_body": more})
            if not more:
                return
            blocks += 1
            if blocks % BREATH == 0:
                await asyncio.sleep(0)
            try:
                data = await self._source.read()
            except (SyncError, FileNotFoundError) as error:
                self._cut(sent, error)
                return
            if not data:
                self._cut(sent, None)
                return


async def _wait_until_gone(receive: Receive) -> None:
    with suppress(OSError):
        while (await receive())["type"] != "http.disconnect":
            pass


def _broken(error: OSError) -> StoreUnavailable:
    return StoreUnavailable(f"the disk fails: {error.strerror}", hint="look for errors of the disk")
