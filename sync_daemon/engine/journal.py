"""Journals of unfinished blobs: what a later run, on any host, needs to go on.

    uploads/<identity>/<owner>.json

A journal names the multipart upload, and says how many of its parts were both stored and
hashed in order, with the state of the hash after them and one digest over their ETags. It
is written when the upload begins (an upload that nobody remembers is invisible on MinIO),
then every two seconds while it grows. Whoever finds one whose owner is gone adopts it if the
store still lists exactly these parts; nothing is read back, and what is fetched again is
only what came after them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from sync_daemon.domain import canonical, keys
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.errors import PreconditionFailed, UploadGone
from sync_daemon.engine.owner import Owner, is_gone, this_process
from sync_daemon.engine.retry import Retry
from sync_daemon.ports import ObjectInfo, ObjectStore, Part

STALE = timedelta(seconds=60)
"""Silence, by the store's clock, after which a journal's owner counts as gone."""

ABANDONED = timedelta(days=7)
"""Silence after which nobody is expected to finish an upload: a full run removes it."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a blob is: `done` parts are stored and hashed, `state` is the hash after them."""

    key: str
    upload: str
    size: int
    part_size: int
    done: int
    state: str
    etags: Digest

    @classmethod
    def parse(cls, document: dict[str, Any]) -> Checkpoint:
        """Read what `write` wrote. Raises ValueError, KeyError or TypeError otherwise."""
        found = cls(**document)
        bytes.fromhex(found.state)
        if {type(found.size), type(found.part_size), type(found.done)} != {int}:
            message = "size, part_size and done are numbers"
            raise ValueError(message)
        if (
            found.part_size <= 0
            or not 0 <= found.done * found.part_size < found.size + found.part_size
        ):
            message = "there cannot be so many parts"
            raise ValueError(message)
        return found

    def fits(self, parts: Sequence[Part]) -> bool:
        """Tell whether the store lists the parts that this was written about."""
        first = parts[: self.done]
        whole = all(
            part.number == number
            and part.size == min(self.part_size, self.size - (number - 1) * self.part_size)
            for number, part in enumerate(first, start=1)
        )
        return len(first) == self.done and whole and digest_of(first) == self.etags


def digest_of(parts: Sequence[Part]) -> Digest:
    """Return one digest over the ETags of parts, in order."""
    return Digest.of("\n".join(part.etag for part in parts).encode())


@dataclass(frozen=True, slots=True)
class Adopted:
    """A checkpoint that was found sound, its stored parts, and the journal it was read from."""

    checkpoint: Checkpoint
    parts: tuple[Part, ...]
    journal: str


class Journals:
    """Reads and writes the journals of a store. `refresh` once a run, before it begins."""

    def __init__(self, store: ObjectStore, retry: Retry) -> None:
        self._store = store
        self._retry = retry
        self._here = this_process()
        self._lock = threading.Lock()
        self._found: dict[Digest, list[ObjectInfo]] = {}
        self._written: set[Digest] = set()

    def refresh(self) -> None:
        """List all journals, usually none: one request for the whole run."""
        listed = self._retry("list journals", lambda: list(self._store.list(keys.UPLOADS)))
        found: dict[Digest, list[ObjectInfo]] = {}
        for info in listed:
            if (identity := keys.parse_journal(info.key)) is not None:
                found.setdefault(identity, []).append(info)
        with self._lock:
            self._found = found

    def adopt(self, identity: Digest) -> Adopted | None:
        """Return the most advanced sound journal of a blob that nobody works on, or None.

        The others that were left for this blob are removed, with their uploads.
        """
        with self._lock:
            found = {info.key for info in self._found.pop(identity, [])}
            if identity in self._written:
                found.add(self._key(identity))  # this run wrote it, failed, and tries again
        best: Adopted | None = None
        for key in sorted(found):
            adopted = self._examine(key)
            if adopted is None:
                continue
            loser: Adopted | None = adopted
            if best is None or adopted.checkpoint.done > best.checkpoint.done:
                loser, best = best, adopted
            if loser is not None:
                self.discard(loser)
        return best

    def _examine(self, key: str, silence: timedelta = STALE) -> Adopted | None:
        """Claim one journal, unless its owner is alive; an unsound one is removed."""
        if (checkpoint := self._take(key, silence)) is None:
            return None
        try:
            parts = self._retry(
                f"list the parts of {key}",
                lambda: self._store.parts(checkpoint.key, checkpoint.upload),
            )
        except UploadGone:
            self._remove(key)
            return None
        adopted = Adopted(checkpoint, tuple(parts[: checkpoint.done]), key)
        if not checkpoint.fits(parts):
            self.discard(adopted)
            return None
        return adopted

    def _take(self, key: str, silence: timedelta) -> Checkpoint | None:
        """Read a journal and make it ours; None if it is gone, unreadable or another's."""
        try:
            found = self._retry(f"read {key}", lambda: self._store.get(key))
            document = json.loads(found.data)
            owner = Owner(**document.pop("owner"))
            checkpoint = Checkpoint.parse(document)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError):
            self._remove(key)
            return None
        gone = owner == self._here or is_gone(owner, self._here)
        if not gone and self._store.now() - found.modified < silence:
            return None
        return checkpoint if self._claim(key, checkpoint, found.etag) else None

    def _claim(self, key: str, checkpoint: Checkpoint, etag: str) -> bool:
        """Put our name into a journal whose owner is gone; False if another was first."""
        data = self._encode(checkpoint)
        try:
            self._retry(f"claim {key}", lambda: self._store.put(key, data, if_match=etag))
        except PreconditionFailed:
            return False
        return True

    def discard(self, adopted: Adopted) -> None:
        """Remove an upload that will not be finished, then its journal."""
        checkpoint = adopted.checkpoint
        self._abort(checkpoint.key, checkpoint.upload)
        self._remove(adopted.journal)

    def _abort(self, key: str, upload: str) -> None:
        self._retry(f"abort the upload of {key}", lambda: self._store.abort_upload(key, upload))

    def settle(self, identity: Digest, adopted: Adopted) -> None:
        """Remove the journal that was adopted, once our own says the same."""
        if adopted.journal != self._key(identity):
            self._remove(adopted.journal)

    def _remove(self, key: str) -> None:
        self._retry(f"remove {key}", lambda: self._store.delete(key))

    def _encode(self, checkpoint: Checkpoint) -> bytes:
        fields = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__}
        owner = {name: getattr(self._here, name) for name in Owner.__slots__}
        return canonical.encode(fields | {"owner": owner})

    def write(self, identity: Digest, checkpoint: Checkpoint) -> None:
        """Write how far a blob is. Raises the store's errors."""
        self._store.put(self._key(identity), self._encode(checkpoint))
        with self._lock:
            self._written.add(identity)

    def drop(self, identity: Digest) -> None:
        """Remove our journal of a blob."""
        with self._lock:
            self._written.discard(identity)
        self._store.delete(self._key(identity))

    def _key(self, identity: Digest) -> str:
        return keys.journal(identity, str(self._here.digest))

    def _age(self, info: ObjectInfo) -> timedelta:
        return self._store.now() - info.modified

    def sweep_orphans(self) -> int:
        """Abort uploads whose process is gone and that no journal names, for instance because
        a full disk took none. Costs requests only where there are any. Returns how many.

        Those that are named are looked for last: whoever adopts an upload writes its journal
        before the former one goes.
        """
        orphans = self._retry("list uploads", self._store.orphans)
        if not orphans:
            return 0
        try:
            named = {upload for _, upload in self._named()}
        except FileNotFoundError:  # somebody adopts an upload right now: another time
            return 0
        lost = [(key, upload) for key, upload in orphans if upload not in named]
        for key, upload in lost:
            self._abort(key, upload)
        return len(lost)

    def kept_bytes(self) -> int:
        """Return the bytes of all uploads that journals name; a request or two for each."""
        size = 0
        with suppress(FileNotFoundError):
            for key, upload in self._named():
                with suppress(UploadGone):
                    read = partial(self._store.parts, key, upload)
                    size += sum(part.size for part in self._retry(f"parts of {key}", read))
        return size

    def _named(self) -> tuple[tuple[str, str], ...]:
        """Return key and id of the uploads that journals name. Raises FileNotFoundError."""
        listed = self._retry("list journals", lambda: list(self._store.list(keys.UPLOADS)))
        found: list[tuple[str, str]] = []
        for info in listed:
            data = self._retry(f"read {info.key}", partial(self._store.get, info.key)).data
            with suppress(ValueError, KeyError, TypeError):
                journal = json.loads(data)
                found.append((str(journal["key"]), str(journal["upload"])))
        return tuple(found)

    def sweep(self) -> int:
        """Remove what nobody will finish: journals, uploads and staged bytes. Returns how many.

        Only what was silent for a week goes: another host may be at work on the rest.
        """
        with self._lock:
            found = [info for infos in self._found.values() for info in infos]
        removed = 0
        for info in found:
            old = self._age(info) >= ABANDONED
            if old and (adopted := self._examine(info.key, ABANDONED)) is not None:
                self.discard(adopted)
                removed += 1
        staged = self._retry("list staging", lambda: list(self._store.list(keys.STAGING)))
        for info in staged:
            if self._age(info) >= ABANDONED:
                self._remove(info.key)
                removed += 1
        return removed
