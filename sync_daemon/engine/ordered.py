"""SHA-256 over pieces that arrive in any order, hashed in theirs, while they arrive.

A piece is known by its offset in the file. Whoever fills the piece at the hash head hashes it,
and what waits behind it; nobody waits for somebody else. At each piece's end the state is kept,
for the journal.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator

from sync_daemon.domain.digests import Digest, GitOid
from sync_daemon.domain.errors import DigestMismatch
from sync_daemon.domain.listing import RemoteFile
from sync_daemon.engine.sha256 import Sha256, new_sha256


class OrderedHash:
    """SHA-256 (and the git oid, where one is promised) over pieces that come in any order.

    `release(offset, size)` is called when a piece is hashed. `head` counts the bytes hashed so
    far, and `states` holds the hash after some such counts.
    """

    def __init__(
        self,
        file: RemoteFile,
        release: Callable[[int, int], None],
        sha256: Sha256 | None = None,
        head: int = 0,
    ) -> None:
        self._file = file
        self._release = release
        self.lock = threading.Lock()
        self._sha256 = sha256 or new_sha256()
        self._git = _git_hasher(file)
        self._waiting: dict[int, memoryview] = {}
        self._busy = False
        self.head = head
        self.states: dict[int, bytes] = {}

    def claim(self, offset: int) -> bool:
        """Become the one who hashes, if the piece at `offset` is at the head and nobody does.

        Whoever claims hashes the piece by `update`, as its bytes come, and calls `finish`.
        """
        with self.lock:
            if self._busy or self.head != offset:
                return False
            self._busy = True
            return True

    def finish(self, offset: int, size: int) -> None:
        """Say that a claimed piece is hashed, and hash what waits behind it."""
        self._advance(size)
        self._release(offset, size)
        self._hash_waiting()

    def add(self, offset: int, data: memoryview) -> None:
        """Take a whole piece, to be hashed when it is its turn."""
        with self.lock:
            self._waiting[offset] = data
            if self._busy:
                return
            self._busy = True
        self._hash_waiting()

    def _hash_waiting(self) -> None:
        for offset, view in self._ready():
            self.update(view)
            self._release(offset, len(view))

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
                offset = self.head
            yield offset, view
            self._advance(len(view))

    def _advance(self, size: int) -> None:
        """Note that the piece at the head is hashed; keep the state that a journal needs."""
        state = self._sha256.state()
        with self.lock:
            self.head += size
            if state is not None:
                self.states[self.head] = state

    def verify(self) -> Digest:
        """Return the digest of all pieces. Raises DigestMismatch, naming both values."""
        computed = Digest(self._sha256.hexdigest())
        if self._file.sha256 is not None and computed != self._file.sha256:
            raise _mismatch(self._file, "SHA-256", self._file.sha256, computed)
        if self._git is not None and (oid := GitOid(self._git.hexdigest())) != self._file.git_oid:
            raise _mismatch(self._file, "git oid", str(self._file.git_oid), oid)
        return computed


class Streamed:
    """Hashes a piece while it is being filled, as soon as it is at the hash head.

    Bytes that have just arrived are still in the processor's cache; hashing them a piece
    later costs a second trip to memory.
    """

    def __init__(self, ordered: OrderedHash, offset: int, view: memoryview) -> None:
        self._ordered = ordered
        self._offset = offset
        self._view = view
        self._hashed: int | None = None

    def advance(self, filled: int) -> None:
        """Note that the first `filled` bytes of the piece are there."""
        if self._hashed is None and self._ordered.claim(self._offset):
            self._hashed = 0
        if self._hashed is not None:
            self._ordered.update(self._view[self._hashed : filled])
            self._hashed = filled

    def finish(self) -> None:
        """Note that the piece is whole."""
        if self._hashed is None:
            self._ordered.add(self._offset, self._view)
        else:
            self._ordered.finish(self._offset, len(self._view))


def _git_hasher(file: RemoteFile) -> hashlib._Hash | None:
    """A pointer's oid (LFS) says nothing of the content; a small file's does."""
    if file.git_oid is None or file.lfs:
        return None
    head = b"blob %d\0" % file.size
    return hashlib.sha1(head, usedforsecurity=False)


def _mismatch(file: RemoteFile, what: str, promised: str, computed: str) -> DigestMismatch:
    if file.declared:
        message = (
            f"{file.path}: files[].sha256 of the configuration expects {promised}, but the origin"
            f" sent bytes of {computed}"
        )
        hint = (
            "nothing was stored; correct sha256 in the configuration if it is wrong there; if it"
            " is right, the origin's file is another one: tell the publisher"
        )
        return DigestMismatch(message, hint=hint)
    message = f"{file.path}: the origin promised {what} {promised} but sent bytes of {computed}"
    hint = "nothing was stored; try again, or another endpoint; if it stays, tell the publisher"
    return DigestMismatch(message, hint=hint)
