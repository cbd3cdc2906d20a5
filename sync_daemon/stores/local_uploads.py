"""Multipart uploads in a directory: `<root>/.tmp/uploads/<id>/`, open to any process.

    key           which object it becomes
    owner         the process that began it, as its folder in `.tmp/` is called
    data          the parts, each written at its place
    part-00007    "offset size etag" of a part, written after its bytes are on the disk

A part's record is removed before its bytes are written again, so that a record always
speaks of bytes that are there, also after power loss.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from sync_daemon.domain.errors import StoreRefused, UploadGone
from sync_daemon.ports import Buffer, Part
from sync_daemon.stores.local_bytes import write_all
from sync_daemon.stores.local_paths import TEMP, Tree
from sync_daemon.stores.local_temp import UPLOADS, has_ended, is_of_this_boot, seal

_KEY = "key"
_OWNER = "owner"
_DATA = "data"
_ID = re.compile(r"[0-9a-f]{32}")
_RECORD = re.compile(r"part-(\d{5})")
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_FIELDS = 3
_SILENT = 24 * 3600
"""Seconds without a new part after which an upload of another host's process is an orphan."""
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class _Placed:
    part: Part
    offset: int


class Uploads:
    """The unfinished uploads of one store.

    `lazy`: it is left to the system when bytes reach the disk, and so nothing is taken up that
    was begun before the system was started.
    """

    def __init__(self, tree: Tree, *, lazy: bool = False) -> None:
        self._tree = tree
        self._lazy = lazy

    def create(self, key: str, owner: str) -> str:
        """Begin an upload for the process of this name, and return its id."""
        upload = uuid.uuid4().hex
        try:
            with self._tree.folder(TEMP, UPLOADS, upload, create=True) as here:
                _write_new(here, _OWNER, owner.encode())
                _write_new(here, _KEY, key.encode())
                _write_new(here, _DATA, b"")
        except OSError:
            self.abort(upload)
            raise
        return upload

    def orphans(self) -> Sequence[tuple[str, str]]:
        """Return key and id of the uploads whose process is gone."""
        found: list[tuple[str, str]] = []
        for upload, here in self._each():
            with suppress(FileNotFoundError), self._tree.folder(TEMP) as temp:
                owner = _read_if_there(here, _OWNER)
                silent = time.time() - os.fstat(here).st_mtime > _SILENT
                if silent or (owner and has_ended(temp, owner)):
                    found.append((_read_if_there(here, _KEY), upload))
        return tuple(found)

    def room(self) -> int:
        """Return the bytes that unfinished uploads take on the disk."""
        size = 0
        for _, here in self._each():
            with suppress(FileNotFoundError):
                size += os.stat(_DATA, dir_fd=here, follow_symlinks=False).st_blocks * _BLOCK
        return size

    def _each(self) -> Iterator[tuple[str, int]]:
        """Yield every upload and its open folder."""
        try:
            with self._tree.folder(TEMP, UPLOADS) as all_of_them:
                names = _names(all_of_them)
        except FileNotFoundError:
            return
        for upload in names:
            if _ID.fullmatch(upload):
                with (
                    suppress(FileNotFoundError),
                    self._tree.folder(TEMP, UPLOADS, upload) as here,
                ):
                    yield upload, here

    def count(self) -> int:
        """Return how many uploads are unfinished."""
        return sum(1 for _ in self._each())

    def put(self, key: str, upload: str, number: int, offset: int, data: Buffer) -> Part:
        """Write one part to its place."""
        part = Part(number, memoryview(data).nbytes, secrets.token_hex(8))
        with self._open(key, upload) as here:
            handle = os.open(_DATA, os.O_WRONLY | os.O_NOFOLLOW, dir_fd=here)
            try:
                _forget(here, number)
                write_all(handle, data, offset)
                if not self._lazy:
                    os.fdatasync(handle)
            finally:
                os.close(handle)
            _record(here, _Placed(part, offset))
        return part

    def parts(self, key: str, upload: str) -> Sequence[Part]:
        """Return the parts that are stored, by number."""
        with self._open(key, upload) as here:
            held = _read_records(here)
        return tuple(held[number].part for number in sorted(held))

    def complete(
        self, key: str, upload: str, parts: Sequence[Part], place: Callable[[int, str], None]
    ) -> None:
        """Seal the file of exactly these parts; `place` gives it its name."""
        with self._open(key, upload) as here:
            size = _check(key, parts, _read_records(here))
            _make_writable(here)
            handle = os.open(_DATA, os.O_WRONLY | os.O_NOFOLLOW, dir_fd=here)
            try:
                os.ftruncate(handle, size)
                seal(handle, lazy=self._lazy)
            finally:
                os.close(handle)
            place(here, _DATA)
        self.abort(upload)

    def abort(self, upload: str) -> None:
        """Forget an upload, if it is there."""
        if not _ID.fullmatch(upload):
            return
        with suppress(FileNotFoundError), self._tree.folder(TEMP, UPLOADS) as here:
            shutil.rmtree(upload, dir_fd=here)

    @contextmanager
    def _open(self, key: str, upload: str) -> Iterator[int]:
        """Open the folder of an upload of `key`. Whatever is missing in it: UploadGone."""
        message = f"{key}: the store knows no upload {upload!r}"
        if not _ID.fullmatch(upload):
            raise UploadGone(message)
        try:
            with self._tree.folder(TEMP, UPLOADS, upload) as here:
                if _read(here, _KEY) != key.encode():
                    raise UploadGone(message)
                os.stat(_DATA, dir_fd=here)
                if self._lazy and not is_of_this_boot(_read_if_there(here, _OWNER)):
                    raise UploadGone(message)
                yield here
        except FileNotFoundError:
            raise UploadGone(message) from None


def _names(here: int) -> list[str]:
    return sorted(os.listdir(here))


def _check(key: str, parts: Sequence[Part], held: Mapping[int, _Placed]) -> int:
    """Return the size of the object, when the parts cover it without a gap."""
    size = 0
    for part in parts:
        placed = held.get(part.number)
        if placed is None or placed.part.etag != part.etag or placed.offset != size:
            message = f"{key}: part {part.number} is missing, misplaced or another one"
            raise StoreRefused(message)
        size += placed.part.size
    if not parts:
        message = f"{key}: an upload is completed by at least one part"
        raise StoreRefused(message)
    return size


def _make_writable(here: int) -> None:
    """Undo the seal of a completion that failed to place the file."""
    mode = os.stat(_DATA, dir_fd=here).st_mode
    os.chmod(_DATA, mode & 0o777 | 0o200, dir_fd=here)


def _record(here: int, placed: _Placed) -> None:
    name = f"part-{placed.part.number:05}"
    fresh = f"{name}.{placed.part.etag}"
    text = f"{placed.offset} {placed.part.size} {placed.part.etag}"
    _write_new(here, fresh, text.encode())
    os.rename(fresh, name, src_dir_fd=here, dst_dir_fd=here)


def _forget(here: int, number: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(f"part-{number:05}", dir_fd=here)
        os.fsync(here)


def _read_records(here: int) -> dict[int, _Placed]:
    held: dict[int, _Placed] = {}
    for name in os.listdir(here):
        if not (match := _RECORD.fullmatch(name)):
            continue
        fields = _read(here, name).decode().split()
        # A record that power loss left empty speaks of nothing.
        if len(fields) == _FIELDS:
            number, offset, size = int(match[1]), int(fields[0]), int(fields[1])
            held[number] = _Placed(Part(number, size, fields[2]), offset)
    return held


def _read(here: int, name: str) -> bytes:
    handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=here)
    try:
        return os.read(handle, os.fstat(handle).st_size)
    finally:
        os.close(handle)


def _read_if_there(here: int, name: str) -> str:
    try:
        return _read(here, name).decode()
    except FileNotFoundError:
        return ""


def _write_new(here: int, name: str, data: bytes) -> None:
    handle = os.open(name, _NEW, 0o666, dir_fd=here)
    try:
        write_all(handle, data)
    finally:
        os.close(handle)
