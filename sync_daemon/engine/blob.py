"""One blob on its way from an origin to the store: its parts, its hash, its upload.

Parts arrive in any order and are hashed in theirs. Whoever delivers the part at the hash
head hashes it, and what waits behind it; nobody waits for somebody else. A part's buffer
is free again when the part is both hashed and stored.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass

from sync_daemon.domain.digests import CommitId, Digest, GitOid
from sync_daemon.domain.errors import DigestMismatch
from sync_daemon.domain.listing import RemoteFile, Repository
from sync_daemon.domain.names import ModelName
from sync_daemon.meter import Meter
from sync_daemon.ports import Origin, Part


@dataclass(frozen=True, slots=True)
class Fetch:
    """A file to be moved, and on whose behalf. `meter` counts what it costs."""

    model: ModelName
    version: str
    origin: Origin
    repository: Repository
    commit: CommitId
    file: RemoteFile
    meter: Meter

    @property
    def identity(self) -> object:
        """What makes two fetches one: the digest, or the git oid within one repository."""
        if self.file.sha256 is not None:
            return self.file.sha256
        place = (self.origin.name, self.repository)
        if self.file.git_oid is not None:
            return (*place, self.file.git_oid)
        return (*place, self.commit, self.file.path)

    def __str__(self) -> str:
        return f"{self.repository.name}/{self.file.path}"


class Streamed:
    """Hashes a part while it is being filled, as soon as it is at the hash head.

    Bytes that have just arrived are still in the processor's cache; hashing them a part
    later costs a second trip to memory.
    """

    def __init__(self, ordered: OrderedHash, number: int, view: memoryview) -> None:
        self._ordered = ordered
        self._number = number
        self._view = view
        self._hashed: int | None = None

    def advance(self, filled: int) -> None:
        """Note that the first `filled` bytes of the part are there."""
        if self._hashed is None and self._ordered.claim(self._number):
            self._hashed = 0
        if self._hashed is not None:
            self._ordered.update(self._view[self._hashed : filled])
            self._hashed = filled

    def finish(self) -> None:
        """Note that the part is whole."""
        if self._hashed is None:
            self._ordered.add(self._number, self._view)
        else:
            self._ordered.finish(self._number)


@dataclass(frozen=True, slots=True)
class Receipt:
    """A proven blob. `uploaded` is False when the store had it already."""

    sha256: Digest
    size: int
    uploaded: bool


class OrderedHash:
    """SHA-256 (and the git oid, where one is promised) over parts that come in any order."""

    def __init__(self, file: RemoteFile, release: Callable[[int], None]) -> None:
        self._file = file
        self._release = release
        self.lock = threading.Lock()
        self._sha256 = hashlib.sha256()
        self._git = _git_hasher(file)
        self._waiting: dict[int, memoryview] = {}
        self._busy = False
        self.head = 0

    def claim(self, number: int) -> bool:
        """Become the one who hashes, if part `number` is at the head and nobody does.

        Whoever claims hashes the part by `update`, as its bytes come, and calls `finish`.
        """
        with self.lock:
            if self._busy or self.head != number:
                return False
            self._busy = True
            return True

    def finish(self, number: int) -> None:
        """Say that a claimed part is hashed, and hash what waits behind it."""
        with self.lock:
            self.head += 1
        self._release(number)
        self._hash_waiting()

    def add(self, number: int, data: memoryview) -> None:
        """Take part `number` (from 0); `release(number)` is called when it is hashed."""
        with self.lock:
            self._waiting[number] = data
            if self._busy:
                return
            self._busy = True
        self._hash_waiting()

    def _hash_waiting(self) -> None:
        for part, view in self._ready():
            self.update(view)
            self._release(part)

    def update(self, data: memoryview) -> None:
        """Hash the next bytes; for a single thread that has them in order."""
        self._sha256.update(data)
        if self._git is not None:
            self._git.update(data)

    def _ready(self) -> Iterator[tuple[int, memoryview]]:
        while True:
            with self.lock:
                view = self._waiting.pop(self.head, None)
                if view is None:
                    self._busy = False
                    return
                number = self.head
            yield number, view
            with self.lock:
                self.head += 1

    def verify(self) -> Digest:
        """Return the digest of all parts. Raises DigestMismatch, naming both values."""
        computed = Digest(self._sha256.hexdigest())
        if self._file.sha256 is not None and computed != self._file.sha256:
            raise _mismatch(self._file, "SHA-256", self._file.sha256, computed)
        if self._git is not None and (oid := GitOid(self._git.hexdigest())) != self._file.git_oid:
            raise _mismatch(self._file, "git oid", str(self._file.git_oid), oid)
        return computed


def _git_hasher(file: RemoteFile) -> hashlib._Hash | None:
    """A pointer's oid (LFS) says nothing of the content; a small file's does."""
    if file.git_oid is None or file.lfs:
        return None
    head = b"blob %d\0" % file.size
    return hashlib.sha1(head, usedforsecurity=False)


def _mismatch(file: RemoteFile, what: str, promised: str, computed: str) -> DigestMismatch:
    message = f"{file.path}: the origin promised {what} {promised} but sent bytes of {computed}"
    hint = "nothing was stored; try again, or another endpoint; if it stays, tell the publisher"
    return DigestMismatch(message, hint=hint)


class Blob:
    """The state of one fetch. The transfer's lock guards all of it but the hash."""

    def __init__(self, fetch: Fetch, part_size: int, release: Callable[[bytearray], None]) -> None:
        self.fetch = fetch
        self.part_size = part_size
        self.future: Future[Receipt] = Future()
        self.upload_lock = threading.Lock()
        self.restarts = 0
        self.in_flight = 0
        self.started = 0.0
        self._release = release
        self.reset()

    def reset(self) -> None:
        """Begin again from the first byte."""
        self.hash = OrderedHash(self.fetch.file, self.unpin)
        self.failure: BaseException | None = None
        self.key = ""
        self.upload: str | None = None
        self.next_part = 0
        self.stored: dict[int, Part] = {}
        self.buffers: dict[int, bytearray] = {}
        self._pins: dict[int, int] = {}

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.fetch.file.size

    @property
    def parts(self) -> int:
        """Number of parts; an empty file has one."""
        return max(1, -(-self.size // self.part_size))

    @property
    def serial(self) -> bool:
        """Whether all parts must come from one answer, in order."""
        return not self.fetch.file.ranges and self.parts > 1

    def alive(self) -> bool:
        """Tell whether it is still worth working on."""
        return self.failure is None

    def fail(self, error: BaseException) -> None:
        """Give up; the first reason counts."""
        self.failure = self.failure or error

    def span(self, number: int) -> tuple[int, int]:
        """Return where part `number` (from 0) begins and ends."""
        start = number * self.part_size
        return start, min(start + self.part_size, self.size)

    def pin(self, number: int, buffer: bytearray) -> None:
        """Hold a part's buffer until it is both hashed and stored (two calls of `unpin`)."""
        self.buffers[number] = buffer
        self._pins[number] = 2

    def unpin(self, number: int) -> None:
        """Say that a part is hashed, or stored."""
        with self.hash.lock:
            self._pins[number] -= 1
            free = not self._pins[number]
        if free:
            self._release(self.buffers.pop(number))

    def drop_buffers(self) -> None:
        """Give back what is still held, once nobody works on the blob any more."""
        for number in list(self.buffers):
            self._release(self.buffers.pop(number))
