"""A store that lives in a dictionary: for tests, and the shortest reading of the port.

It follows S3 where stores differ: an ETag depends on the content alone, an upload is
gone once it is completed, and parts below `min_part` are refused unless they are last.
"""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from sync_daemon import meter
from sync_daemon.domain.errors import PreconditionFailed, StoreRefused, UploadGone
from sync_daemon.ports import (
    Buffer,
    Capabilities,
    Content,
    ObjectInfo,
    Part,
    StoreCapacity,
    Traits,
)

_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class _Object:
    data: bytes
    etag: str
    modified: datetime


@dataclass(slots=True)
class _Upload:
    key: str
    parts: dict[int, tuple[Part, int, bytes]] = field(default_factory=dict)


class MemoryStore:
    """An `ObjectStore` in this process. `now` replaces its clock."""

    def __init__(
        self,
        *,
        now: Callable[[], datetime] | None = None,
        capabilities: Capabilities | None = None,
    ) -> None:
        self._now = now or _utc_now
        self._capabilities = capabilities or Capabilities(min_part=1)
        self._lock = threading.Lock()
        self._objects: dict[str, _Object] = {}
        self._uploads: dict[str, _Upload] = {}

    @property
    def url(self) -> str:
        """Where it is, for people."""
        return "memory:"

    @property
    def traits(self) -> Traits:
        """It follows S3: a copy is one."""
        return Traits()

    def capabilities(self) -> Capabilities:
        """Return what the constructor was given."""
        return self._capabilities

    def put(
        self, key: str, data: Buffer, *, if_absent: bool = False, if_match: str | None = None
    ) -> str:
        """Store `data` and return its etag."""
        meter.count("store")
        content = bytes(data)
        with self._lock:
            held = self._objects.get(key)
            etag = held.etag if held else None
            if (if_absent and held) or (if_match is not None and etag != if_match):
                message = f"{key}: another writer was first"
                raise PreconditionFailed(message)
            return self._place(key, content)

    def _place(self, key: str, data: bytes) -> str:
        etag = _etag(data)
        self._objects[key] = _Object(data, etag, self._now())
        return etag

    def _find(self, key: str) -> _Object:
        with self._lock:
            held = self._objects.get(key)
        if held is None:
            raise FileNotFoundError(key)
        return held

    def get(self, key: str) -> Content:
        """Return a small object."""
        meter.count("store")
        held = self._find(key)
        return Content(held.data, held.etag, held.modified)

    def open(self, key: str, start: int = 0, stop: int | None = None) -> _MemoryReader:
        """Open a range; what lies past the end is not there."""
        meter.count("store")
        data = self._find(key).data
        return _MemoryReader(memoryview(data)[start:stop], len(data))

    def stat(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None."""
        meter.count("store")
        with self._lock:
            held = self._objects.get(key)
        return _info(key, held) if held else None

    def list(self, prefix: str, start_after: str = "") -> Iterator[ObjectInfo]:
        """Yield matching objects by the order of their UTF-8 bytes, which is code point order."""
        with self._lock:
            keys = sorted(k for k in self._objects if k.startswith(prefix) and k > start_after)
        meter.count("store")
        for index, key in enumerate(keys):
            if index and index % _PAGE == 0:
                meter.count("store")
            with self._lock:
                held = self._objects.get(key)
            if held is not None:
                yield _info(key, held)

    def delete(self, key: str) -> None:
        """Delete an object, if it is there."""
        meter.count("store")
        with self._lock:
            self._objects.pop(key, None)

    def copy(self, source: str, target: str) -> None:
        """Give the bytes of `source` a second name."""
        meter.count("store")
        held = self._find(source)
        with self._lock:
            self._place(target, held.data)

    def share(
        self, source: str, target: str, size: int, stopped: Callable[[], bool] = lambda: False
    ) -> int:
        """Copy it."""
        del stopped
        self.copy(source, target)
        return size

    def create_upload(self, key: str) -> str:
        """Begin a multipart upload and return its id."""
        meter.count("store")
        upload = uuid.uuid4().hex
        with self._lock:
            self._uploads[upload] = _Upload(key)
        return upload

    def put_part(self, key: str, upload: str, number: int, offset: int, data: Buffer) -> Part:
        """Store one part."""
        meter.count("store")
        content = bytes(data)
        part = Part(number, len(content), _etag(content))
        with self._lock:
            self._upload(key, upload).parts[number] = (part, offset, content)
        return part

    def parts(self, key: str, upload: str) -> Sequence[Part]:
        """Return the stored parts, by number."""
        meter.count("store")
        with self._lock:
            held = self._upload(key, upload).parts
            return tuple(held[number][0] for number in sorted(held))

    def complete_upload(self, key: str, upload: str, parts: Sequence[Part]) -> None:
        """Make the object of exactly these parts."""
        meter.count("store")
        with self._lock:
            data = self._join(key, self._upload(key, upload), parts)
            self._place(key, data)
            del self._uploads[upload]

    def abort_upload(self, key: str, upload: str) -> None:
        """Forget an upload, if it is there."""
        del key
        meter.count("store")
        with self._lock:
            self._uploads.pop(upload, None)

    def orphans(self) -> Sequence[tuple[str, str]]:
        """Return none: nothing outlives the process."""
        return ()

    def now(self) -> datetime:
        """Return the clock of this process, or the one the constructor was given."""
        return self._now()

    def free_bytes(self) -> int | None:
        """Return None: memory does not say."""
        return None

    def capacity(self) -> StoreCapacity | None:
        """Return None: memory does not say."""
        return None

    def _upload(self, key: str, upload: str) -> _Upload:
        held = self._uploads.get(upload)
        if held is None or held.key != key:
            message = f"{key}: the store knows no upload {upload}"
            raise UploadGone(message)
        return held

    def _join(self, key: str, held: _Upload, parts: Sequence[Part]) -> bytes:
        if not parts or list(parts) != sorted(parts, key=lambda part: part.number):
            message = f"{key}: an upload is completed by its parts in ascending order"
            raise StoreRefused(message)
        data = bytearray()
        for part in parts:
            stored, offset, content = held.parts.get(part.number, (None, 0, b""))
            if stored is None or stored.etag != part.etag or offset != len(data):
                message = f"{key}: part {part.number} is missing, misplaced or another one"
                raise StoreRefused(message)
            if len(content) < self._capabilities.min_part and part is not parts[-1]:
                message = f"{key}: part {part.number} is smaller than the store allows"
                raise StoreRefused(message)
            data += content
        return bytes(data)


class _MemoryReader:
    """Bytes that are here already; `total` is the size of the whole object."""

    def __init__(self, data: memoryview, total: int) -> None:
        self._data = data
        self.total = total

    def readinto(self, buffer: memoryview, /) -> int:
        count = min(len(buffer), len(self._data))
        buffer[:count] = self._data[:count]
        self._data = self._data[count:]
        return count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._data = memoryview(b"")


def _info(key: str, held: _Object) -> ObjectInfo:
    return ObjectInfo(key, len(held.data), held.etag, held.modified)


def _etag(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _utc_now() -> datetime:
    return datetime.now(UTC)
