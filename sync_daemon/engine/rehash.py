"""Reads one object from the store again and hashes it, however often the stream breaks."""

from __future__ import annotations

import hashlib
import mmap
import threading
from collections.abc import Callable
from functools import partial

from sync_daemon.domain.digests import Digest
from sync_daemon.domain.errors import Interrupted
from sync_daemon.engine.retry import Retry
from sync_daemon.ports import ObjectStore

_CHUNK = 1024**2
_SLICE = 1024**3
"""Bytes of an object that one request reads: each slice has the retry's attempts for itself."""


class Reading:
    """Hashes one object; after a broken stream it goes on where that ended.

    `at` is how many bytes were read, `advance` hears of each few of them.
    """

    def __init__(
        self,
        store: ObjectStore,
        key: str,
        stop: threading.Event,
        advance: Callable[[int], None],
    ) -> None:
        self._store, self._key, self._stop, self._advance = store, key, stop, advance
        self._hasher = hashlib.sha256()
        # mapped, so that all of it goes back: heaps of threads that come and go keep what is freed
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self._buffer = memoryview(mmap.mmap(-1, _CHUNK, flags=flags))
        self.at = 0

    def hash(self, size: int, retry: Retry) -> Digest:
        """Return the digest of what is there of `size` bytes. Raises FileNotFoundError."""
        while self.at < size:
            before, end = self.at, min(size, self.at + _SLICE)
            retry(f"read {self._key}", partial(self._read, end))
            if self.at == before:
                break
        return Digest(self._hasher.hexdigest())

    def _read(self, end: int) -> None:
        with self._store.open(self._key, self.at, end) as reader:
            while self.at < end and (count := reader.readinto(self._buffer)):
                check_stop(self._stop)
                self._hasher.update(self._buffer[:count])
                self.at += count
                self._advance(count)


def check_stop(stop: threading.Event) -> None:
    """Raise Interrupted when somebody asked to stop."""
    if stop.is_set():
        message = "stopped before everything was verified"
        raise Interrupted(message)
