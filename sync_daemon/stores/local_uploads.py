"""Multipart uploads in a directory: `<root>/.tmp/uploads/<id>/`, open to any process.

    key           which object it becomes
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
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from sync_daemon.domain.errors import StoreRefused, UploadGone
from sync_daemon.ports import Buffer, Part
from sync_daemon.stores.local_bytes import write_all
from sync_daemon.stores.local_paths import TEMP, Tree
from sync_daemon.stores.local_temp import UPLOADS, seal

_KEY = "key"
_DATA = "data"
_ID = re.compile(r"[0-9a-f]{32}")
_RECORD = re.compile(r"part-(\d{5})")
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_FIELDS = 3


@dataclass(frozen=True, slots=True)
class _Placed:
    part: Part
    offset: int


class Uploads:
    """The unfinished uploads of one store."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def create(self, key: str) -> str:
        """Begin an upload and return its id."""
        upload = uuid.uuid4().hex
        with self._tree.folder(TEMP, UPLOADS, upload, create=True) as here:
            _write_new(here, _KEY, key.encode())
            _write_new(here, _DATA, b"")
        return upload

    def count(self) -> int:
        """Return how many uploads are unfinished."""
        try:
            with self._tree.folder(TEMP, UPLOADS) as here:
                return _count(here)
        except FileNotFoundError:
            return 0

    def put(self, key: str, upload: str, number: int, offset: int, data: Buffer) -> Part:
        """Write one part to its place."""
        part = Part(number, memoryview(data).nbytes, secrets.token_hex(8))
        with self._open(key, upload) as here:
            handle = os.open(_DATA, os.O_WRONLY | os.O_NOFOLLOW, dir_fd=here)
            try:
                _forget(here, number)
                write_all(handle, data, offset)
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
                seal(handle)
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
                yield here
        except FileNotFoundError:
            raise UploadGone(message) from None


def _count(here: int) -> int:
    return sum(_ID.fullmatch(name) is not None for name in os.listdir(here))


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


def _write_new(here: int, name: str, data: bytes) -> None:
    handle = os.open(name, _NEW, 0o666, dir_fd=here)
    try:
        write_all(handle, data)
    finally:
        os.close(handle)
