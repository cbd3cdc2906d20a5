"""A store in a directory: no server needed, every object a plain file under its key.

An object is written to a file under `<root>/.tmp/`, made durable there, and only then
given its name, by a rename or, where nothing may be overwritten, by a hard link; then the
folder is made durable. So a name shows the whole object or none, also after power loss.
Objects are read-only files, replaced and never edited: a copy may share their blocks.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

from sync_daemon import meter
from sync_daemon.domain import keys
from sync_daemon.domain.errors import PreconditionFailed, StoreRefused
from sync_daemon.ports import (
    Buffer,
    Capabilities,
    Content,
    ObjectInfo,
    Part,
    StoreCapacity,
    Traits,
)
from sync_daemon.stores.local_bytes import FileReader, clone, copy_bytes, write_all
from sync_daemon.stores.local_paths import Tree, describe, etag, modified, split, translated
from sync_daemon.stores.local_temp import Workshop, seal
from sync_daemon.stores.local_uploads import Uploads
from sync_daemon.stores.local_walk import walk

_PAGE = 1_000
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_PLACING_ATTEMPTS = 16
_PATH_BYTES = 4095
"""Longest path that the system takes (PATH_MAX, without its zero)."""


class LocalStore:
    """An `ObjectStore` below the existing directory `root`, for any number of processes.

    `lazy` is for a cache: blobs reach the disk when the system likes, which is much faster, and
    after power loss some may not be what they are called. Whoever asks for it checks that.
    """

    def __init__(self, root: Path, *, lazy: bool = False) -> None:
        self._tree = Tree(root)
        self._workshop = Workshop(self._tree)
        self._uploads = Uploads(self._tree, lazy=lazy)
        self._lazy = lazy

    @property
    def url(self) -> str:
        """Where it is, as a `file://` URL."""
        return self._tree.root.as_uri()

    def _translated(self, subject: str) -> AbstractContextManager[None]:
        return translated(subject, self._tree.root)

    def close(self) -> None:
        """Let go of the directory, so that it can be unmounted."""
        self._workshop.close()

    @property
    def traits(self) -> Traits:
        """A second name of a file takes no room; paths may be four times as long as keys."""
        return Traits(key_bytes=_PATH_BYTES - len(os.fsencode(self._tree.root)) - 1, shares=True)

    def capabilities(self) -> Capabilities:
        """Return what a file system can do."""
        return Capabilities(min_part=1)

    def put(
        self, key: str, data: Buffer, *, if_absent: bool = False, if_match: str | None = None
    ) -> str:
        """Store `data` and return its etag."""
        meter.count("store")
        split(key)
        with self._translated(key), self._workshop.file() as (folder, name, handle):
            write_all(handle, data)
            status = seal(handle, lazy=self._is_lazy(key))
            if if_absent:
                self._place_absent(folder, name, key)
            elif if_match is not None:
                self._place_matching(folder, name, key, if_match)
            else:
                self._place(folder, name, key)
        return etag(status)

    def get(self, key: str) -> Content:
        """Return a small object."""
        meter.count("store")
        with self._translated(key), self._tree.file(key) as (handle, status):
            with open(handle, "rb", closefd=False) as file:
                data = file.read()
            return Content(data, etag(status), modified(status))

    def open(self, key: str, start: int = 0, stop: int | None = None) -> FileReader:
        """Open a range; what lies past the end is not there."""
        meter.count("store")
        with self._translated(key), self._tree.file(key) as (handle, status):
            end = status.st_size if stop is None else min(stop, status.st_size)
            return FileReader(key, os.dup(handle), start, end)

    def open_file(self, key: str) -> tuple[int, int]:
        """Return a descriptor of its file, which the caller closes, and its size."""
        meter.count("store")
        with self._translated(key), self._tree.file(key) as (handle, status):
            return os.dup(handle), status.st_size

    def stat(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None."""
        meter.count("store")
        with self._translated(key):
            status = self._tree.status(key)
        return describe(key, status) if status else None

    def list(self, prefix: str, start_after: str = "") -> Iterator[ObjectInfo]:
        """Yield matching objects in order; one folder at a time is held in memory."""
        meter.count("store")
        with self._translated(prefix or self.url):
            for index, info in enumerate(walk(self._tree, prefix, start_after)):
                if index and index % _PAGE == 0:
                    meter.count("store")
                yield info

    def delete(self, key: str) -> None:
        """Delete an object, if it is there, and the folders that it leaves empty."""
        meter.count("store")
        with self._translated(key), self._workshop.lock(exclusive=False):
            self._tree.remove(key)

    def copy(self, source: str, target: str) -> None:
        """Give `target` the content of `source`, sharing its blocks where that is possible."""
        meter.count("store")
        split(target)
        with (
            self._translated(target),
            self._tree.file(source) as (original, _),
            self._workshop.file() as (folder, name, handle),
        ):
            if clone(original, handle):
                seal(handle)
            elif not self._link(source, folder, name):
                copy_bytes(original, handle)
                seal(handle)
            self._place(folder, name, target)

    def share(
        self, source: str, target: str, size: int, stopped: Callable[[], bool] = lambda: False
    ) -> int:
        """Make `target` a hard link of `source`, or else a file that shares its blocks; a copy
        where the file system can do neither."""
        del stopped
        meter.count("store")
        split(target)
        with (
            self._translated(target),
            self._tree.file(source) as (original, _),
            self._workshop.file() as (folder, name, handle),
        ):
            stored = 0
            if not self._link(source, folder, name):
                if not clone(original, handle):
                    copy_bytes(original, handle)
                    stored = size
                seal(handle)
            self._place(folder, name, target)
        return stored

    def create_upload(self, key: str) -> str:
        """Begin a multipart upload and return its id."""
        meter.count("store")
        split(key)
        with self._translated(key):
            return self._uploads.create(key, self._workshop.name())

    def put_part(self, key: str, upload: str, number: int, offset: int, data: Buffer) -> Part:
        """Store one part, durably, at its place in the file to be."""
        meter.count("store")
        with self._translated(key):
            return self._uploads.put(key, upload, number, offset, data)

    def parts(self, key: str, upload: str) -> Sequence[Part]:
        """Return the stored parts, by number."""
        meter.count("store")
        with self._translated(key):
            return self._uploads.parts(key, upload)

    def complete_upload(self, key: str, upload: str, parts: Sequence[Part]) -> None:
        """Make the object of exactly these parts, which must cover it without a gap."""
        meter.count("store")
        with self._translated(key):
            self._uploads.complete(
                key, upload, parts, lambda folder, name: self._place(folder, name, key)
            )

    def abort_upload(self, key: str, upload: str) -> None:
        """Forget an upload, if it is there."""
        meter.count("store")
        with self._translated(key):
            self._uploads.abort(upload)

    def orphans(self) -> Sequence[tuple[str, str]]:
        """Return uploads whose process has ended on this host, or that were silent for a day."""
        with self._translated(self.url):
            return self._uploads.orphans()

    def now(self) -> datetime:
        """Return the clock of this host, which also stamps the files."""
        return datetime.now(UTC)

    def free_bytes(self) -> int | None:
        """Return the space of the file system that is free to this user."""
        with self._translated(self.url), self._tree.folder() as here:
            status = os.fstatvfs(here)
        return status.f_bavail * status.f_frsize

    def capacity(self) -> StoreCapacity | None:
        """Return the room of the file system, as `df` shows it to this user."""
        with self._translated(self.url), self._tree.folder() as here:
            status = os.fstatvfs(here)
        unit = status.f_frsize
        used = (status.f_blocks - status.f_bfree) * unit
        return StoreCapacity(used + status.f_bavail * unit, used, status.f_bavail * unit)

    def exists(self) -> bool:
        """Tell whether the directory is there."""
        return self._tree.root.is_dir()

    def create(self) -> None:
        """Make the directory, but not those above it: a disk may not be mounted there yet."""
        try:
            self._tree.root.mkdir(exist_ok=True)
        except OSError as error:
            message = f"{self.url}: the directory cannot be made: {error.strerror}"
            hint = "make it for the user that runs sync-daemon"
            raise StoreRefused(message, hint=hint) from error

    def unfinished(self) -> int | None:
        """Return how many multipart uploads are unfinished."""
        with self._translated(self.url):
            return self._uploads.count()

    def unfinished_bytes(self) -> int | None:
        """Return the room that unfinished uploads take on the disk."""
        with self._translated(self.url):
            return self._uploads.room()

    def _place(self, folder: int, name: str, key: str) -> None:
        with self._workshop.lock(exclusive=False):
            self._rename(folder, name, key)

    def _place_matching(self, folder: int, name: str, key: str, if_match: str) -> None:
        with self._workshop.lock(exclusive=True):
            held = self._tree.status(key)
            if held is None or etag(held) != if_match:
                raise _lost(key)
            self._rename(folder, name, key)

    def _place_absent(self, folder: int, name: str, key: str) -> None:
        try:
            self._into_parent(
                key,
                lambda here, last: os.link(name, last, src_dir_fd=folder, dst_dir_fd=here),
            )
        except FileExistsError:
            raise _lost(key) from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            with self._workshop.lock(exclusive=True):
                if self._tree.status(key) is not None:
                    raise _lost(key) from None
                self._rename(folder, name, key)

    def _rename(self, folder: int, name: str, key: str) -> None:
        self._into_parent(
            key, lambda here, last: os.rename(name, last, src_dir_fd=folder, dst_dir_fd=here)
        )

    def _into_parent(self, key: str, act: Callable[[int, str], None]) -> None:
        """Do `act` in the folder of `key`, made anew when a deletion took it away meanwhile."""
        for attempt in range(_PLACING_ATTEMPTS):
            try:
                with self._tree.parent(key, create=True) as (here, last):
                    act(here, last)
                    if not self._is_lazy(key):
                        os.fsync(here)
                    return
            except FileNotFoundError:
                if attempt == _PLACING_ATTEMPTS - 1:
                    raise

    def _is_lazy(self, key: str) -> bool:
        return self._lazy and key.startswith(keys.BLOBS)

    def _link(self, source: str, folder: int, name: str) -> bool:
        """Make the temporary `name` a second name of `source`; False where that is impossible."""
        fresh = f"{name}.link"
        try:
            with self._tree.parent(source) as (here, last):
                os.link(last, fresh, src_dir_fd=here, dst_dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return False
        os.rename(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)
        return True


def _lost(key: str) -> PreconditionFailed:
    return PreconditionFailed(f"{key}: another writer was first")
