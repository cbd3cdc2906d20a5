"""The local cache: a mirror store in a directory, and what proves that its blobs are sound."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sync_daemon.client.stamps import Stamps
from sync_daemon.domain import keys
from sync_daemon.domain.digests import CommitId, Digest
from sync_daemon.domain.errors import Interrupted, PreconditionFailed, StoreRefused
from sync_daemon.domain.events import BlobStored, Event
from sync_daemon.domain.manifest import Current, FileEntry, Manifest
from sync_daemon.domain.wanted import Wanted
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.vault import Vault
from sync_daemon.stores.local import LocalStore

_BLOCK = 4 * 1024**2
_HASHERS = 8


@dataclass(frozen=True, slots=True)
class Held:
    """A version as the cache has it; whether its blobs are sound is another question."""

    commit: CommitId
    manifest: Manifest


class Cache:
    """Reads the cache at `root`; the engine is who writes into it.

    `stop` ends what takes long.
    """

    def __init__(self, root: Path, retry: Retry, stop: threading.Event) -> None:
        self.root = root
        self._stop = stop
        self._store = LocalStore(root)
        self._vault = Vault(self._store, retry)
        self._stamps = Stamps(root)

    def close(self) -> None:
        """Let go of the directory."""
        self._store.close()

    def hear(self, event: Event) -> None:
        """Take note of blobs that were proven while they came."""
        if isinstance(event, BlobStored):
            digest = Digest(event.sha256)
            with suppress(OSError):
                self._stamps.put(digest, self.path(digest).lstat())

    def path(self, digest: Digest) -> Path:
        """Return where a blob lies."""
        return self.root / keys.blob(digest)

    def find(self, wanted: Wanted) -> Held | None:
        """Return a version, or None: it was never pulled, or what tells of it is gone."""
        if not self.root.is_dir():
            return None
        with suppress(FileNotFoundError, StoreRefused):
            found = self._vault.current(wanted.model, wanted.version)
            if found is not None and found[0].selection == wanted.selection.digest:
                pointer = found[0]
                manifest = self._vault.manifest(wanted.model, wanted.version, pointer.manifest)
                return Held(pointer.commit, manifest)
        return None

    def mend(self, wanted: Wanted) -> tuple[str, ...]:
        """Remove what is damaged of what tells of a version, and return what to say about it.

        The marker is written anew. Nothing is lost: mirrors have what is removed. A marker of
        another format is not damaged, and is left to the engine to refuse.
        """
        if not self.root.is_dir():
            return ()
        done = []
        if not self._is_json(keys.MARKER):
            self._store.put(keys.MARKER, keys.marker())
            done.append(f"{keys.MARKER} of the cache was damaged; it is written anew")
        for key in self._damaged(wanted):
            self._store.delete(key)
            done.append(f"{key} of the cache was damaged; it is fetched anew")
        return tuple(done)

    def _is_json(self, key: str) -> bool:
        try:
            json.loads(self._store.get(key).data)
        except FileNotFoundError:
            return True
        except ValueError:
            return False
        return True

    def _damaged(self, wanted: Wanted) -> Iterator[str]:
        """Yield the keys of manifests with other bytes than their name says, and of a pointer
        that is unreadable or leads to one of them."""
        names = wanted.model, wanted.version
        gone = set()
        for info in list(self._store.list(keys.manifests(*names))):
            at = keys.parse_manifest(info.key)
            if at is not None and Digest.of(self._store.get(info.key).data) != at[2]:
                gone.add(at[2])
                yield info.key
        try:
            found = self._vault.current(*names)
        except StoreRefused:
            yield keys.current(*names)
        else:
            if found is not None and found[0].manifest in gone:
                yield keys.current(*names)

    def adopt(self, held: Held, wanted: Wanted) -> None:
        """Give a version that is here under another name the name of `wanted`.

        Whoever is faster wins: both mean the same commit, or a later pull sees to it.
        """
        source = replace(held.manifest.source, revision=wanted.revision)
        manifest = replace(held.manifest, version=wanted.version, source=source)
        found = self._vault.current(wanted.model, wanted.version)
        pointer, etag = found or (None, None)
        fresh = Current(
            commit=held.commit,
            selection=manifest.selection,
            manifest=self._vault.publish_manifest(manifest),
            published_at=self._store.now(),
            previous=pointer.manifest if pointer else None,
        )
        with suppress(PreconditionFailed):
            self._vault.publish_current(wanted.model, wanted.version, fresh, etag)

    def find_commit(self, wanted: Wanted, commit: str) -> Held | None:
        """Return the version of a model that is at `commit`, whatever its name."""
        if not self.root.is_dir():
            return None
        prefix = keys.versions_of(wanted.model)
        for info in self._store.list(prefix):
            at = keys.parse_manifest(info.key)
            if at is None or at[0] != wanted.model:
                continue
            with suppress(FileNotFoundError, StoreRefused):
                manifest = self._vault.manifest(*at)
                same = manifest.selection == wanted.selection.digest
                if same and manifest.source.commit.startswith(commit):
                    return Held(manifest.source.commit, manifest)
        return None

    def unsound(self, manifest: Manifest, *, again: bool = False) -> tuple[FileEntry, ...]:
        """Return the files whose blob is missing, or is not what it was proven to be.

        What is known to be as it was is not read, unless `again`.
        """
        distinct = {entry.sha256: entry for entry in manifest.files}
        with ThreadPoolExecutor(min(_HASHERS, os.cpu_count() or 1), "hash") as pool:
            sound = pool.map(lambda one: self._is_sound(one, again=again), distinct.values())
            return tuple(
                one for one, good in zip(distinct.values(), sound, strict=True) if not good
            )

    def _is_sound(self, entry: FileEntry, *, again: bool) -> bool:
        path = self.path(entry.sha256)
        try:
            status = path.lstat()
        except OSError:
            return False
        if not stat.S_ISREG(status.st_mode) or status.st_size != entry.size:
            return False
        standing = self._stamps.look(entry.sha256, status)
        if not again and standing != "unknown":
            if standing == "proven":
                self._settle(entry.sha256, path)
            return True
        if hash_file(path, self._stop) != entry.sha256:
            return False
        self._stamps.put(entry.sha256, status)
        return True

    def _settle(self, digest: Digest, path: Path) -> None:
        """See to it that a blob is on the disk; as a rule it has been for long."""
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fdatasync(handle)
                self._stamps.put(digest, os.fstat(handle), settled=True)
            finally:
                os.close(handle)

    def drop(self, entries: Iterable[FileEntry]) -> None:
        """Remove blobs that are not sound; files that were linked to them stay."""
        for entry in entries:
            self._store.delete(keys.blob(entry.sha256))


def hash_file(path: Path, stop: threading.Event) -> Digest | None:
    """Return the SHA-256 of a file; None where it cannot be read. Raises Interrupted."""
    hasher = hashlib.sha256()
    buffer = memoryview(bytearray(_BLOCK))
    try:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                hasher.update(buffer[:count])
                if stop.is_set():
                    message = f"{path}: stopped while it was hashed"
                    raise Interrupted(message)
    except OSError:
        return None
    return Digest(hasher.hexdigest())


@contextmanager
def open_cache(root: Path, retry: Retry, stop: threading.Event) -> Iterator[Cache]:
    """Open the cache for the block; it need not be there."""
    cache = Cache(root, retry, stop)
    try:
        yield cache
    finally:
        cache.close()


def make_folder(root: Path) -> None:
    """Make the directory of the cache and those above it. Raises StoreRefused."""
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"{root}: the cache cannot be made: {error.strerror}"
        raise StoreRefused(
            message, hint="name another one: --cache or $SYNC_DAEMON_CACHE"
        ) from None
