"""The bytes behind the files of a manifest: small ones from memory, large ones opened.

A small file is proven by its digest when it is read. Of a large one the size is compared with
the manifest, and its first block is here, before the answer begins: what is missing or cut short
becomes an error that a client can read, and not half an answer.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from functools import partial

from anyio import CapacityLimiter, to_thread

from sync_daemon.domain import keys
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.manifest import FileEntry
from sync_daemon.gateway.files.ranges import Span
from sync_daemon.gateway.files.streaming import FileSource, Source, StoreSource
from sync_daemon.gateway.recent import Recent
from sync_daemon.ports import ObjectStore, OpensFiles

LARGEST_SMALL = 64 * 1024
"""Bytes up to which a file is kept in memory."""

SMALL_MEMORY = 64 * 1024**2
"""Bytes that small files take together."""

THREADS = 32
"""Blocks that are read from the store at the same time, for all clients together."""


class WrongBlob(Exception):
    """The store holds something else than the manifest says."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A blob with its first block."""

    source: Source
    first: bytes | bytearray


class Blobs:
    """Opens the blobs of one store. Raises WrongBlob, FileNotFoundError and what stores raise."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._threads = CapacityLimiter(THREADS)
        self._lock = threading.Lock()
        self._small: Recent[Digest, bytes] = Recent(SMALL_MEMORY, lambda _, data: len(data))

    async def read_small(self, entry: FileEntry) -> bytes:
        """Return the whole of a file of at most `LARGEST_SMALL` bytes."""
        with self._lock:
            if (data := self._small.get(entry.sha256)) is not None:
                return data
        return await to_thread.run_sync(self._load, entry, limiter=self._threads)

    async def open(self, entry: FileEntry, span: Span) -> Opened:
        """Open the bytes of a file that `span` names; there is at least one."""
        source = await to_thread.run_sync(partial(self._open, entry, span), limiter=self._threads)
        try:
            first = await source.read()
        except BaseException:
            source.close()
            raise
        if first:
            return Opened(source, first)
        source.close()
        raise WrongBlob(f"it ends before byte {span.stop}")

    def _load(self, entry: FileEntry) -> bytes:
        data = self._store.get(keys.blob(entry.sha256)).data
        _check_size(entry, len(data))
        if Digest.of(data) != entry.sha256:
            raise WrongBlob("its bytes do not have the SHA-256 that is its name")
        with self._lock:
            self._small.put(entry.sha256, data)
        return data

    def _open(self, entry: FileEntry, span: Span) -> Source:
        key = keys.blob(entry.sha256)
        if isinstance(self._store, OpensFiles):
            handle, size = self._store.open_file(key)
            try:
                _check_size(entry, size)
            except WrongBlob:
                os.close(handle)
                raise
            return FileSource(handle, span, self._threads)
        reader = self._store.open(key, span.start, span.stop)
        source = StoreSource(self._store, key, reader, span, self._threads)
        total = getattr(reader, "total", None)
        if total not in {None, entry.size}:
            source.close()
            raise WrongBlob(_sizes(entry, total))
        return source


def _check_size(entry: FileEntry, size: int) -> None:
    if size != entry.size:
        raise WrongBlob(_sizes(entry, size))


def _sizes(entry: FileEntry, size: int | None) -> str:
    return f"it has {size} bytes, and the manifest says {entry.size}"
