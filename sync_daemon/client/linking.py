"""Gives a blob of the cache another name: a hard link, or a copy where links do not reach.

A name appears whole or not at all: the file is made under another name of the same file
system and renamed. Links are read-only, as the blob is, so that an editor does not change the
cache by mistake; copies belong to whoever made them, and may be written.
"""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Literal

from sync_daemon.stores.local_bytes import clone, copy_bytes

Way = Literal["linked", "copied"]

_NO_LINK = frozenset(
    {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}
)
_COPY_MODE = 0o666


def give_name(blob: Path, folder: int, name: str, spare: int, *, copy: bool) -> Way:
    """Name `blob` as `name` in the open directory `folder`, in place of what has that name.

    `spare` is an open directory of the same file system for files that are not ready.
    Raises OSError.
    """
    fresh = secrets.token_hex(8)
    way = _make(blob, spare, fresh, copy=copy)
    try:
        os.rename(fresh, name, src_dir_fd=spare, dst_dir_fd=folder)
    finally:
        with suppress(FileNotFoundError):  # rename(2) leaves one of two links to the same file
            os.unlink(fresh, dir_fd=spare)
    return way


def _make(blob: Path, spare: int, fresh: str, *, copy: bool) -> Way:
    if not copy:
        try:
            os.link(blob, fresh, dst_dir_fd=spare, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
        else:
            return "linked"
    try:
        _copy(blob, spare, fresh)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(fresh, dir_fd=spare)
        raise
    return "copied"


def _copy(blob: Path, spare: int, fresh: str) -> None:
    """Copy with the blob's time, by which it is told later that nobody touched it."""
    source = os.open(blob, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        target = os.open(fresh, flags, _COPY_MODE, dir_fd=spare)
        try:
            if not clone(source, target):
                copy_bytes(source, target)
            os.fsync(target)
            status = os.fstat(source)
            os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
        finally:
            os.close(target)
    finally:
        os.close(source)
