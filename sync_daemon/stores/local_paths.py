"""Keys as paths below one directory, never outside of it, and what its errors mean.

Each segment of a key is opened relative to the folder before it and without following
symbolic links, so that neither a hostile key nor a link that somebody put into the tree
leads out of it. Keys and folders are the same to a disk: `a` cannot stand beside `a/b`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from sync_daemon.domain.errors import StoreFull, StoreRefused, StoreUnavailable, SyncError
from sync_daemon.ports import ObjectInfo

TEMP = ".tmp"
MAX_SEGMENT_BYTES = 255

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NAMES = frozenset({errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL})
_SHAPES = frozenset({errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENOTEMPTY})


class Tree:
    """The directory that holds a store; it must be there, as a bucket must."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    @contextmanager
    def folder(self, *segments: str, create: bool = False) -> Iterator[int]:
        """Open the folder below the root that `segments` lead to, as a file descriptor."""
        here = self._open_root()
        try:
            for segment in segments:
                deeper = _enter(here, segment, create=create)
                os.close(here)
                here = deeper
            yield here
        finally:
            os.close(here)

    @contextmanager
    def parent(self, key: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
        """Open the folder of `key`; give it and the last segment."""
        *folders, name = split(key)
        with self.folder(*folders, create=create) as here:
            yield here, name

    @contextmanager
    def file(self, key: str) -> Iterator[tuple[int, os.stat_result]]:
        """Open the file of `key` for reading. Raises FileNotFoundError."""
        try:
            with self.parent(key) as (here, name):
                handle = os.open(name, _FILE, dir_fd=here)
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(key) from None
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise FileNotFoundError(key)
            yield handle, status
        finally:
            os.close(handle)

    def status(self, key: str) -> os.stat_result | None:
        """Return the status of the file of `key`, or None where there is none."""
        try:
            with self.parent(key) as (here, name):
                status = os.stat(name, dir_fd=here, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if stat.S_ISLNK(status.st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        return status if stat.S_ISREG(status.st_mode) else None

    def remove(self, key: str) -> None:
        """Delete the file of `key` and the folders that are empty without it."""
        folders = split(key)[:-1]
        try:
            with self.parent(key) as (here, name):
                os.unlink(name, dir_fd=here)
                os.fsync(here)
        except (FileNotFoundError, NotADirectoryError):
            return
        except IsADirectoryError:
            return
        with suppress(OSError):
            while folders:
                *folders, name = folders
                with self.folder(*folders) as here:
                    os.rmdir(name, dir_fd=here)

    def _open_root(self) -> int:
        try:
            return os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            message = f"{self.root}: there is no such directory"
            hint = f"mount it, or create it: mkdir -p {self.root}"
            raise StoreRefused(message, hint=hint) from None


def split(key: str) -> list[str]:
    """Return the segments of a key that may be used as a path. Raises StoreRefused."""
    segments = key.split("/")
    if problem := _problem(segments):
        message = f"{key!r}: a directory cannot hold this key: {problem}"
        raise StoreRefused(message, hint="exclude the file in the YAML, or use an S3 store")
    return segments


def _problem(segments: list[str]) -> str | None:
    if segments[0] == TEMP:
        return f"{TEMP} is the store's own folder"
    for segment in segments:
        if segment in {"", ".", ".."} or "\0" in segment:
            return f"the segment {segment!r} is not a file name"
        try:
            size = len(segment.encode())
        except UnicodeEncodeError:
            return f"the segment {segment!r} is not valid Unicode"
        if size > MAX_SEGMENT_BYTES:
            return f"a segment is longer than {MAX_SEGMENT_BYTES} bytes"
    return None


def _enter(here: int, segment: str, *, create: bool) -> int:
    try:
        return os.open(segment, _FOLDER, dir_fd=here)
    except FileNotFoundError:
        if not create:
            raise
    with suppress(FileExistsError):
        os.mkdir(segment, dir_fd=here)
    os.fsync(here)
    return os.open(segment, _FOLDER, dir_fd=here)


def describe(key: str, status: os.stat_result) -> ObjectInfo:
    """Return a file's status as the port shows it."""
    return ObjectInfo(key, status.st_size, etag(status), modified(status))


def etag(status: os.stat_result) -> str:
    """Return what changes whenever another file takes the place of this one.

    A replacement exists beside the file that it replaces, so their inodes differ; an inode
    that is used again later differs in its time, which is set in nanoseconds.
    """
    return f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"


def modified(status: os.stat_result) -> datetime:
    """Return when the content was written."""
    return datetime.fromtimestamp(status.st_mtime_ns / 1e9, UTC)


@contextmanager
def translated(subject: object, root: Path) -> Iterator[None]:
    """Turn errors of the system about `subject` in the store at `root` into ours;
    FileNotFoundError passes."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _translate(error, subject, root) from error


def _translate(error: OSError, subject: object, root: Path) -> SyncError:
    message = f"{subject}: {error.strerror or error}"
    if error.errno in _FULL:
        return StoreFull(f"{message} in {root}", hint="free some space there")
    if error.errno in _FORBIDDEN:
        hint = "the user that runs sync-daemon must own the directory, mounted for writing"
        return StoreRefused(message, hint=hint)
    if error.errno in _SHAPES:
        hint = "a directory cannot hold a key beside keys below it, nor symbolic links"
        return StoreRefused(message, hint=hint)
    if error.errno == errno.EXDEV:
        hint = "the store's directory must be one file system: no mounts inside"
        return StoreRefused(message, hint=hint)
    if error.errno in _NAMES:
        return StoreRefused(message, hint="the file system refuses this name")
    return StoreUnavailable(message, hint="look at the system's log for errors of the disk")
