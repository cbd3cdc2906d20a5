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
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from sync_daemon.domain import canonical, keys
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.errors import UploadGone
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
    part_size: int
    done: int
    state: str
    etags: Digest

    @classmethod
    def parse(cls, document: dict[str, Any]) -> Checkpoint:
        """Read what `write` wrote. Raises ValueError, KeyError or TypeError otherwise."""
        found = cls(**document)
        bytes.fromhex(found.state)
        if not (type(found.done) is type(found.part_size) is int and found.part_size > 0):
            message = "part_size and done are numbers"
            raise ValueError(message)
        return found

    def fits(self, parts: Sequence[Part]) -> bool:
        """Tell whether the store lists the parts that this was written about."""
        first = parts[: self.done]
        whole = all(
            part.number == number and part.size == self.part_size
            for number, part in enumerate(first, start=1)
        )
        return len(first) == self.done and whole and digest_of(first) == self.etags


def digest_of(parts: Sequence[Part]) -> Digest:
    """Return one digest over the ETags of parts, in order."""
    return Digest.of("\n".join(part.etag for part in parts).encode())


@dataclass(frozen=True, slots=True)
class Adopted:
    """A checkpoint that was found sound, and its stored parts."""

    checkpoint: Checkpoint
    parts: tuple[Part, ...]


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
            found = {info.key: info for info in self._found.pop(identity, [])}
            ours = identity in self._written
        if ours and (info := self._store.stat(self._key(identity))) is not None:
            found[info.key] = info  # this run wrote it, failed, and tries again
        best: Adopted | None = None
        for info in found.values():
            adopted = self._examine(info)
            if adopted is None:
                continue
            loser = adopted
            if best is None or adopted.checkpoint.done > best.checkpoint.done:
                loser, best = best or adopted, adopted
            if loser is not best:
                self._discard(loser.checkpoint)
        return best

    def _examine(self, info: ObjectInfo) -> Adopted | None:
        """Take over one journal, unless its owner is alive; an unsound one is removed."""
        try:
            document = json.loads(self._store.get(info.key).data)
            owner = Owner(**document.pop("owner"))
            checkpoint = Checkpoint.parse(document)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError):
            self._store.delete(info.key)
            return None
        if owner != self._here and not is_gone(owner, self._here) and self._age(info) < STALE:
            return None
        self._store.delete(info.key)
        try:
            parts = self._store.parts(checkpoint.key, checkpoint.upload)
        except UploadGone:
            return None
        if not checkpoint.fits(parts):
            self._discard(checkpoint)
            return None
        return Adopted(checkpoint, tuple(parts[: checkpoint.done]))

    def _age(self, info: ObjectInfo) -> timedelta:
        return self._store.now() - info.modified

    def _discard(self, checkpoint: Checkpoint) -> None:
        self._store.abort_upload(checkpoint.key, checkpoint.upload)

    def write(self, identity: Digest, checkpoint: Checkpoint) -> None:
        """Write how far a blob is. Raises the store's errors."""
        fields = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__}
        owner = {name: getattr(self._here, name) for name in Owner.__slots__}
        data = canonical.encode(fields | {"owner": owner})
        self._store.put(self._key(identity), data)
        with self._lock:
            self._written.add(identity)

    def drop(self, identity: Digest) -> None:
        """Remove our journal of a blob."""
        with self._lock:
            self._written.discard(identity)
        self._store.delete(self._key(identity))

    def _key(self, identity: Digest) -> str:
        return keys.journal(identity, str(self._here.digest))

    def sweep(self) -> int:
        """Remove what nobody will finish: journals, uploads and staged bytes. Returns how many.

        Only what was silent for a week goes: another host may be at work on the rest.
        """
        with self._lock:
            found = [info for infos in self._found.values() for info in infos]
        removed = 0
        for info in found:
            if self._age(info) >= ABANDONED and (adopted := self._examine(info)) is not None:
                self._discard(adopted.checkpoint)
                removed += 1
        staged = self._retry("list staging", lambda: list(self._store.list(keys.STAGING)))
        for info in staged:
            if self._age(info) >= ABANDONED:
                self._retry(f"remove {info.key}", partial(self._store.delete, info.key))
                removed += 1
        return removed
