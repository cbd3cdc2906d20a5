"""One blob on its way from an origin to the store: its parts, its upload, how far it is.

A part is what is stored at once, a piece what is fetched at once: a whole part, or some of it.
A part's buffer is free again when the part is both hashed and stored.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from sync_daemon.domain.digests import CommitId, Digest
from sync_daemon.domain.errors import SyncError
from sync_daemon.domain.listing import RemoteFile, Repository
from sync_daemon.domain.names import ModelName
from sync_daemon.engine.buffers import Buffer
from sync_daemon.engine.journal import Adopted, Checkpoint, digest_of
from sync_daemon.engine.ordered import OrderedHash
from sync_daemon.engine.sha256 import resume_sha256
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
            return self.file.sha256, self.file.size
        place = (self.origin.name, self.repository)
        if self.file.git_oid is not None:
            return (*place, self.file.git_oid, self.file.size)
        return (*place, self.commit, self.file.path)

    @property
    def journal(self) -> Digest:
        """The name under which an unfinished blob is remembered, across runs and hosts.

        With a promised digest a new commit with the same content keeps the work.
        """
        if self.file.sha256 is not None:
            return self.file.sha256
        place = (self.origin.name, self.repository.name, self.repository.kind)
        return Digest.of(repr((*place, self.commit, self.file)).encode())

    @property
    def promised(self) -> bool:
        """Whether a digest will tell that the bytes are right, wherever each came from."""
        file = self.file
        return file.sha256 is not None or (file.git_oid is not None and not file.lfs)

    def distrust(self, reason: SyncError) -> None:
        """Tell the origin that its bytes were wrong."""
        self.origin.distrust(self.repository, self.commit, self.file, reason)

    def __str__(self) -> str:
        return f"{self.repository.name}/{self.file.path}"


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes `start` to `stop` (exclusive) of a blob, all within one part; it may be empty."""

    start: int
    stop: int
    part: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """A proven blob. `uploaded` is False when the store had it already."""

    sha256: Digest
    size: int
    uploaded: bool


class Blob:
    """The state of one fetch. The transfer's lock guards all of it but the hash."""

    def __init__(self, fetch: Fetch, part_size: int, release: Callable[[Buffer], None]) -> None:
        self.fetch = fetch
        self.part_size = part_size
        self.future: Future[Receipt] = Future()
        self.upload_lock = threading.Lock()
        self.save_lock = threading.Lock()
        self.restarts = 0
        self.in_flight = 0
        self.started = 0.0
        self.waited = 0.0
        self.saved = 0.0
        self._release = release
        self.reset()

    def reset(self) -> None:
        """Begin again from the first byte."""
        self.hash = OrderedHash(self.fetch.file, self._unpin_hashed)
        self.saved_parts = -1
        self.failure: BaseException | None = None
        self.key = ""
        self.upload: str | None = None
        self.cursor = 0
        self.stored: dict[int, Part] = {}
        self.buffers: dict[int, Buffer] = {}
        self._pins: dict[int, int] = {}
        self._missing: dict[int, int] = {}

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

    @property
    def resumable(self) -> bool:
        """Whether a journal is worth writing. The hash behind a git oid has no state to keep,
        and of a file without digest or ETag nobody can say that it is still the same."""
        file = self.fetch.file
        kept = file.sha256 is not None or (file.git_oid is None and file.token is not None)
        return kept and self.parts > 1 and not self.serial

    def resume(self, adopted: Adopted) -> bool:
        """Go on where a journal left off; False if its hash cannot be taken up here."""
        checkpoint = adopted.checkpoint
        if checkpoint.size != self.size:
            return False
        sha256 = resume_sha256(bytes.fromhex(checkpoint.state)) if checkpoint.done else None
        if checkpoint.done and sha256 is None:
            return False
        self.part_size = checkpoint.part_size
        hashed = min(checkpoint.done * checkpoint.part_size, self.size)
        self.hash = OrderedHash(self.fetch.file, self._unpin_hashed, sha256, hashed)
        self.key, self.upload = checkpoint.key, checkpoint.upload
        self.cursor = hashed
        self.stored = {part.number - 1: part for part in adopted.parts}
        if checkpoint.done:
            self.hash.states[hashed] = bytes.fromhex(checkpoint.state)
        return True

    def checkpoint(self, *, again: bool = False) -> Checkpoint | None:
        """Return how far it is, if it is resumable and that is news, or to be said `again`."""
        with self.hash.lock:
            stored = 0
            while stored in self.stored:
                stored += 1
            hashed = max((n for n in self.hash.states if self._ends_part(n, stored)), default=0)
            done = -(-hashed // self.part_size)
            if self.upload is None or not self.resumable or done < self.saved_parts:
                return None
            if done == self.saved_parts and not again:
                return None
            state = self.hash.states.get(hashed, b"")
            self.hash.states = {n: s for n, s in self.hash.states.items() if n >= hashed}
            self.saved_parts = done
            parts = [self.stored[number] for number in range(done)]
        return Checkpoint(
            self.key, self.upload, self.size, self.part_size, done, state.hex(), digest_of(parts)
        )

    def _ends_part(self, offset: int, stored: int) -> bool:
        """Tell whether `offset` is the end of one of the first `stored` parts."""
        whole = offset % self.part_size == 0 or offset == self.size
        return whole and offset <= stored * self.part_size

    def fail(self, error: BaseException) -> None:
        """Give up; the first reason counts."""
        self.failure = self.failure or error

    @property
    def whole(self) -> bool:
        """Whether every part is stored and hashed: only to be completed, also after a stop."""
        return self.parts > 1 and len(self.stored) == self.parts and self.hash.head == self.size

    @property
    def begun(self) -> bool:
        """Whether somebody has taken, or had, each of the pieces."""
        return self.cursor >= max(1, self.size)

    def span(self, number: int) -> tuple[int, int]:
        """Return where part `number` (from 0) begins and ends."""
        start = number * self.part_size
        return start, min(start + self.part_size, self.size)

    @property
    def needs_buffer(self) -> bool:
        """Whether the next piece is the first one of its part."""
        return self.cursor % self.part_size == 0

    def take_piece(self, most: int) -> Piece:
        """Return the next piece, of at most `most` bytes, as begun."""
        part = self.cursor // self.part_size
        piece = Piece(self.cursor, min(self.cursor + most, self.span(part)[1]), part)
        self.cursor = max(1, self.size if self.serial else piece.stop)
        return piece

    def pin(self, part: int, buffer: Buffer) -> None:
        """Hold a part's buffer until each byte is hashed, and the part stored."""
        start, stop = self.span(part)
        self.buffers[part] = buffer
        self._missing[part] = stop - start
        self._pins[part] = stop - start + 1

    def view(self, piece: Piece) -> memoryview:
        """Return the room for a piece in its part's buffer."""
        base = piece.part * self.part_size
        return memoryview(self.buffers[piece.part])[piece.start - base : piece.stop - base]

    def arrived(self, piece: Piece) -> bool:
        """Note that a piece is there; return whether its part is whole by it."""
        with self.hash.lock:
            self._missing[piece.part] -= piece.stop - piece.start
            return not self._missing[piece.part]

    def unpin_stored(self, part: int) -> None:
        """Say that a part is stored."""
        self._unpin(part, 1)

    def _unpin_hashed(self, offset: int, size: int) -> None:
        self._unpin(offset // self.part_size, size)

    def _unpin(self, part: int, count: int) -> None:
        with self.hash.lock:
            self._pins[part] -= count
            free = not self._pins[part]
        if free:
            self._release(self.buffers.pop(part))

    def drop_buffers(self) -> None:
        """Give back what is still held, once nobody works on the blob any more."""
        for number in list(self.buffers):
            self._release(self.buffers.pop(number))
