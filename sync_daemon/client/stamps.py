"""Which blobs of the cache are still as they were when they were proven.

A file that `pull` placed is a hard link to a blob of the cache, so that whoever edits it in
place edits the blob. Every write changes a file's time, therefore the time (in nanoseconds),
the size and the inode that a blob had when its bytes were proven are kept, in one file of the
cache to which lines are appended: the last one of a blob counts. What it does not tell, or is
lost of it, costs a hash and nothing else.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from sync_daemon.domain.digests import Digest

NAME = ".proven"
_FIELDS = 4
_WASTE = 4


class Stamps:
    """The stamps of one cache; they may be shared by threads and processes."""

    def __init__(self, root: Path) -> None:
        self._path = root / NAME
        self._lock = threading.Lock()
        self._known: dict[str, tuple[int, int, int]] | None = None

    def hold(self, digest: Digest, status: os.stat_result) -> bool:
        """Tell whether a blob is as it was when it was proven."""
        with self._lock:
            return self._read().get(digest) == _mark(status)

    def put(self, digest: Digest, status: os.stat_result) -> None:
        """Note that a blob was proven as it is now."""
        mark = _mark(status)
        with self._lock:
            known = self._read()
            if known.get(digest) == mark:
                return
            known[digest] = mark
            self._append(f"{digest} {mark[0]} {mark[1]} {mark[2]}\n")

    def _append(self, line: str) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        try:
            handle = os.open(self._path, flags, 0o666)
        except OSError:
            return  # it will cost a hash, the next time
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)

    def _read(self) -> dict[str, tuple[int, int, int]]:
        if self._known is not None:
            return self._known
        known: dict[str, tuple[int, int, int]] = {}
        lines = 0
        try:
            with self._path.open(encoding="ascii", errors="replace") as file:
                for line in file:
                    lines += 1
                    fields = line.split()
                    if len(fields) == _FIELDS and all(one.isdigit() for one in fields[1:]):
                        known[fields[0]] = (int(fields[1]), int(fields[2]), int(fields[3]))
        except OSError:
            pass
        if lines > _WASTE * len(known) + 1000:
            self._path.unlink(missing_ok=True)  # begun anew: each blob is hashed once more
            known = {}
        self._known = known
        return known


def _mark(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mtime_ns, status.st_size, status.st_ino
