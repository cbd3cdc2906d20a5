"""The verified view of a store: what is read here hashes to its name, what is reused is there.

Everything content-addressed passes through here, so that no adapter has to know of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from itertools import groupby

from sync_daemon.domain import keys
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.errors import PreconditionFailed, StoreRefused
from sync_daemon.domain.manifest import Current, Manifest, decode, decode_current
from sync_daemon.domain.names import ModelName, VersionName
from sync_daemon.engine.retry import Retry
from sync_daemon.ports import Content, ObjectInfo, ObjectStore


class Vault:
    """Blobs, manifests and pointers of one store, by their meaning instead of their keys."""

    def __init__(self, store: ObjectStore, retry: Retry) -> None:
        self.store = store
        self.retry = retry
        self._lock = threading.Lock()
        self._proven: dict[Digest, int] = {}
        self._marked: set[Digest] = set()
        self.known = False
        """Whether this process has seen the marker: where it is missing now, all is missing, and
        a disk that is not mounted must not be taken for a new store."""

    # -- the format marker -----------------------------------------------------------

    def open(self, *, create: bool) -> None:
        """Check the format marker; with `create`, put it into an empty store.

        Raises StoreRefused for an unknown format, or for a prefix that holds something else.
        """
        try:
            found = read_marker(self.store, self.retry)
        except FileNotFoundError:
            self._check_empty()
            if self.known:
                message = f"{self.store.url}: is empty, and was a mirror before"
                hint = "is its disk mounted? to begin a new mirror there, restart sync-daemon"
                raise StoreRefused(message, hint=hint) from None
            if create:
                self._create()
                self.known = True
            return
        if found.data != keys.marker():
            message = f"{self.store.url}: {keys.MARKER} names a format this program cannot read"
            raise StoreRefused(message, hint="upgrade sync-daemon, or use another prefix")
        self.known = True

    def _check_empty(self) -> None:
        foreign = self.retry("look for foreign objects", lambda: next(self.store.list(""), None))
        if foreign is not None and not foreign.key.startswith("staging/"):
            if self.retry(f"look for {keys.MARKER}", lambda: self.store.stat(keys.MARKER)):
                return  # another process was making the store meanwhile
            message = f"{self.store.url}: holds {foreign.key!r} but no {keys.MARKER}"
            hint = (
                "give the mirror an empty prefix or directory of its own in store.url; if this is"
                f' a mirror that lost its marker, write {keys.MARKER} again: {{"format":1}}'
            )
            raise StoreRefused(message, hint=hint)

    def _create(self) -> None:
        try:
            self.retry(
                f"write {keys.MARKER}",
                lambda: self.store.put(keys.MARKER, keys.marker(), if_absent=True),
            )
        except PreconditionFailed:
            self.open(create=False)

    # -- pointers and manifests --------------------------------------------------------

    def current(self, model: ModelName, version: VersionName) -> tuple[Current, str] | None:
        """Return the version's pointer and its etag, or None if it was never published."""
        found = self.dated(model, version)
        return found[:2] if found else None

    def dated(self, model: ModelName, version: VersionName) -> tuple[Current, str, datetime] | None:
        """Return what `current` does, and when it was written by the store's clock."""
        key = keys.current(model, version)
        try:
            found = self.retry(f"read {key}", lambda: self.store.get(key))
        except FileNotFoundError:
            return None
        with _naming(key):
            return decode_current(found.data), found.etag, found.modified

    def manifest(self, model: ModelName, version: VersionName, digest: Digest) -> Manifest:
        """Return a manifest; its bytes are proven to hash to its name.

        Raises FileNotFoundError when it is gone, StoreRefused when it is damaged.
        """
        key = keys.manifest(model, version, digest)
        data = self.retry(f"read {key}", lambda: self.store.get(key)).data
        if Digest.of(data) != digest:
            message = f"{key}: its bytes do not hash to its name"
            raise StoreRefused(message, hint="run `sync-daemon verify --deep`")
        with _naming(key):
            return decode(data)

    def manifests(self, model: ModelName, version: VersionName) -> tuple[Manifest, ...]:
        """Return every sound manifest that a version ever had."""
        prefix = keys.manifests(model, version)
        listed = self.retry(f"list {prefix}", lambda: list(self.store.list(prefix)))
        digests = [digest for info in listed if (digest := keys.parse_digest(info.key))]
        found = []
        for digest in digests:
            with suppress(StoreRefused, FileNotFoundError):
                found.append(self.manifest(model, version, digest))
        return tuple(found)

    def publish_manifest(self, manifest: Manifest) -> Digest:
        """Store a manifest, once, and return its digest."""
        data = manifest.encode()
        digest = Digest.of(data)
        key = keys.manifest(manifest.model, manifest.version, digest)
        try:
            self.retry(f"write {key}", lambda: self.store.put(key, data, if_absent=True))
        except PreconditionFailed as error:
            try:
                self.manifest(manifest.model, manifest.version, digest)
            except FileNotFoundError:
                message = f"{key}: the store says that it has it, and has it not"
                raise StoreRefused(message, hint="run again; if it lasts, run doctor") from error
        return digest

    def publish_current(
        self, model: ModelName, version: VersionName, pointer: Current, etag: str | None
    ) -> str:
        """Move a version to another manifest: the only commit point (I4). Return the new etag.

        `etag` is the pointer's that was read before, None if there was none. Raises
        PreconditionFailed when somebody else was first. A write whose answer was lost and
        that is tried again finds itself, which is success.
        """
        key, data = keys.current(model, version), pointer.encode()
        try:
            return self.retry(
                f"write {key}",
                lambda: self.store.put(key, data, if_absent=etag is None, if_match=etag),
            )
        except PreconditionFailed:
            found = self.retry(f"read {key}", lambda: self.store.get(key))
            if found.data != data:
                raise
            return found.etag

    # -- blobs -------------------------------------------------------------------------

    def prove(self, digests: Iterable[Digest]) -> dict[Digest, int]:
        """Return which of `digests` are stored whole, with their sizes in bytes.

        What was proven before in this run is not asked again. Costs at most one request
        for each digest and at most one page of listing for each of the 256 shelves.
        """
        wanted = set(digests)
        with self._lock:
            found = {digest: self._proven[digest] for digest in wanted & self._proven.keys()}
        missing = sorted(wanted - found.keys())
        for shelf, group in groupby(missing, keys.blob_shelf):
            found |= self._look(shelf, list(group))
        with self._lock:
            self._proven |= found
        return found

    def _look(self, shelf: str, digests: list[Digest]) -> dict[Digest, int]:
        if len(digests) == 1:
            key = keys.blob(digests[0])
            info = self.retry(f"look for {key}", lambda: self.store.stat(key))
            return {digests[0]: info.size} if info else {}
        wanted = {keys.blob(digest): digest for digest in digests}
        listed = self.retry(f"list {shelf}", lambda: list(self._between(shelf, wanted)))
        return {wanted[info.key]: info.size for info in listed if info.key in wanted}

    def _between(self, shelf: str, wanted: Iterable[str]) -> Iterator[ObjectInfo]:
        last = max(wanted)
        for info in self.store.list(shelf):
            if info.key > last:
                return
            yield info

    def remember(self, digest: Digest, size: int) -> None:
        """Note a blob that was stored, and so proven, in this run."""
        with self._lock:
            self._proven[digest] = size

    def forget(self) -> None:
        """Forget what was proven, and what was marked: the next run asks again (I1). A plan
        asks for no marks, and so removes none."""
        with self._lock:
            self._proven.clear()
            self._marked.clear()

    def list_marks(self) -> None:
        """Look which blobs prune has marked: one request a run, usually for an empty list."""
        marks = self.retry("list marks", lambda: list(self.store.list(keys.CONDEMNED)))
        found = {digest for mark in marks if (digest := keys.parse_digest(mark.key))}
        with self._lock:
            self._marked = found

    def unmark(self, digests: Iterable[Digest]) -> None:
        """Remove the marks of prune from blobs that are about to be used (I5)."""
        with self._lock:
            marked = self._marked & set(digests)
            self._marked -= marked
        for digest in marked:
            key = keys.condemned(digest)
            self.retry(f"remove {key}", partial(self.store.delete, key))

    def read(self, digest: Digest, start: int, stop: int) -> bytes:
        """Return bytes of a blob. Raises FileNotFoundError."""

        def once() -> bytes:
            data = bytearray(stop - start)
            view, done = memoryview(data), 0
            with self.store.open(keys.blob(digest), start, stop) as reader:
                while done < len(data) and (count := reader.readinto(view[done:])):
                    done += count
            return bytes(view[:done])

        return self.retry(f"read {keys.blob(digest)}", once)


@contextmanager
def _naming(key: str) -> Iterator[None]:
    """Say of which object it is that a document cannot be read."""
    try:
        yield
    except StoreRefused as error:
        raise StoreRefused(f"{key}: {error}", hint=error.hint) from error


def read_marker(store: ObjectStore, retry: Retry) -> Content:
    """Return the format marker, which is what every command reads first.

    What is refused here is refused everywhere: the error names the store, not this object.
    Raises FileNotFoundError, Unavailable, StoreRefused.
    """
    try:
        return retry(f"read {keys.MARKER}", lambda: store.get(keys.MARKER))
    except StoreRefused as error:
        what = str(error).removeprefix(f"{keys.MARKER}: ").removeprefix(f"{store.url}: ")
        raise type(error)(f"{store.url}: {what}", hint=error.hint) from error
