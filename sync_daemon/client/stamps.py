"""Which blobs of the cache are still as they were when they were proven.

A file that `pull` placed is a hard link to a blob of the cache, so that whoever edits it in
place edits the blob. Every write changes a file's time, therefore the time (in nanoseconds),
the size and the inode that a blob had when its bytes were proven are kept, in one file of the
cache to which lines are appended: the last one of a blob counts. What it does not tell, or is
lost of it, costs a hash and nothing else.

Blobs are not forced to the disk when they come (LocalStore, `lazy`). A stamp therefore names
the boot of the system in which the bytes were proven, until a later pull has seen to it that
they are on the disk (`settled`); a stamp of another boot is worth nothing.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Literal

from sync_daemon.domain.digests import Digest

NAME = ".proven"
SETTLED = "-"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_FIELDS = 5
_WASTE = 4

_Stamp = tuple[int, int, int, str]
Standing = Literal["settled", "proven", "ours", "unknown"]
"""`ours` was proven by this very process, `proven` by another one since the system started."""


class Stamps:
    """The stamps of one cache; they may be shared by threads and processes."""

    def __init__(self, root: Path) -> None:
        self._path = root / NAME
        self._lock = threading.Lock()
        self._known: dict[str, _Stamp] | None = None
        self._ours: set[str] = set()
        self._boot = _read_boot()

    def look(self, digest: Digest, status: os.stat_result) -> Standing:
        """Tell whether a blob is as it was when it was proven."""
        with self._lock:
            stamp = self._read().get(digest)
            if stamp is None or stamp[:3] != _mark(status) or stamp[3] not in {SETTLED, self._boot}:
                return "unknown"
            if stamp[3] == SETTLED:
                return "settled"
            return "ours" if digest in self._ours else "proven"

    def put(self, digest: Digest, status: os.stat_result, *, settled: bool = False) -> None:
        """Note that a blob was proven as it is now; `settled`: and is on the disk."""
        stamp = (*_mark(status), SETTLED if settled else self._boot)
        with self._lock:
            known = self._read()
            if known.get(digest) == stamp:
                return
            known[digest] = stamp
            self._ours.add(digest)
            self._append(f"{digest} {' '.join(map(str, stamp))}\n")

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

    def _read(self) -> dict[str, _Stamp]:
        if self._known is not None:
            return self._known
        known: dict[str, _Stamp] = {}
        lines = 0
        try:
            with self._path.open(encoding="ascii", errors="replace") as file:
                for line in file:
                    lines += 1
                    fields = line.split()
                    if len(fields) == _FIELDS and all(one.isdigit() for one in fields[1:4]):
                        time, size, inode = map(int, fields[1:4])
                        known[fields[0]] = (time, size, inode, fields[4])
        except OSError:
            pass
        if lines > _WASTE * len(known) + 1000:
            self._path.unlink(missing_ok=True)  # begun anew: each blob is hashed once more
            known = {}
        self._known = known
        return known


def _mark(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read_boot() -> str:
    """Return what names this boot; where nothing does, nothing ever matches it."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return f"unknown-{os.getpid()}"
