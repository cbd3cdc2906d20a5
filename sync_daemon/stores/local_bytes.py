"""Moves bytes between files and buffers without a copy of its own."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import Self

from sync_daemon.domain.errors import StoreUnavailable
from sync_daemon.ports import Buffer

_FICLONE = 0x40049409
"""ioctl_ficlone(2): share the blocks of another file."""
_CHUNK = 1 << 30
_NO_OFFLOAD = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EXDEV})


class FileReader:
    """Reads a range of an open file, which it closes, straight into the caller's buffer."""

    def __init__(self, key: str, handle: int, start: int, stop: int) -> None:
        self._key = key
        self._handle: int | None = handle
        self._at = start
        self._stop = stop

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the front of `buffer`; 0 at the end."""
        wanted = min(len(buffer), self._stop - self._at)
        if wanted <= 0:
            return 0
        if self._handle is None:
            message = "the reader is closed"
            raise ValueError(message)
        try:
            count = os.preadv(self._handle, [buffer[:wanted]], self._at)
        except OSError as error:
            message = f"{self._key}: {error.strerror}"
            raise StoreUnavailable(message, hint="look for errors of the disk") from error
        if count == 0:
            message = f"{self._key}: the file ends before byte {self._stop}"
            raise StoreUnavailable(message, hint="somebody cut it short: run verify")
        self._at += count
        return count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def write_all(handle: int, data: Buffer, offset: int = 0) -> None:
    """Write the whole of `data` at `offset`: one call of the system may write less."""
    view = memoryview(data).cast("B")
    while view:
        written = os.pwrite(handle, view, offset)
        view = view[written:]
        offset += written


def clone(source: int, target: int) -> bool:
    """Let `target` share the blocks of `source`; False where the file system cannot."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def copy_bytes(source: int, target: int) -> None:
    """Copy a file inside the kernel, or through here where the file system cannot."""
    size = os.fstat(source).st_size
    offset = 0
    while offset < size:
        count = _copy_some(source, target, min(_CHUNK, size - offset), offset)
        if count == 0:
            return
        offset += count


def _copy_some(source: int, target: int, count: int, offset: int) -> int:
    try:
        return os.copy_file_range(source, target, count, offset, offset)
    except OSError as error:
        if error.errno not in _NO_OFFLOAD:
            raise
    data = os.pread(source, min(count, 1 << 20), offset)
    write_all(target, data, offset)
    return len(data)
