"""Proves what the store holds, and writes nothing.

Looks as a reader does (I4): pointers, then manifests, then blobs. A writer goes the other
way, so what is published meanwhile is never taken for damage. The keys below `models/` and
`blobs/` are listed once, and so is each tree that a pointer calls whole; with `deep` every
referenced blob is read and hashed as well, and so is every plain copy that is no link of one.

A single object that cannot be read is damage; a store that does not answer at all ends the
verification, because then nothing is proven either way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Protocol, TypeVar

from sync_daemon.domain import keys
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.errors import (
    ConfigurationError,
    Interrupted,
    StoreRefused,
    SyncError,
    Unavailable,
)
from sync_daemon.domain.manifest import Manifest, Tree, decode, decode_current
from sync_daemon.domain.names import ModelName, VersionName
from sync_daemon.engine.rehash import Reading, check_stop
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.tree_check import Copy, compare, find_unproven, tell
from sync_daemon.engine.vault import read_marker
from sync_daemon.engine.verification import Damage, Kind, Use, Verification
from sync_daemon.ports import Clock, ObjectInfo, ObjectStore

T = TypeVar("T")
_Name = tuple[ModelName, VersionName]
_ManifestName = tuple[ModelName, VersionName, Digest]

_PAGE = 1_000


class Watch(Protocol):
    """Whoever shows how far the reading has come; called from several threads."""

    def begin(self, objects: int, size: int) -> None:
        """So many objects, blobs and plain copies, with so many bytes will be read."""

    def advance(self, count: int) -> None:
        """So many more bytes were read."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """Looks at one store, with `workers` requests at a time."""

    store: ObjectStore
    retry: Retry
    clock: Clock
    stop: threading.Event
    workers: int = 8

    def verify(
        self,
        *,
        models: frozenset[str] = frozenset(),
        declared: frozenset[str] = frozenset(),
        deep: Watch | None = None,
    ) -> Verification:
        """Prove all models, or these; with `deep`, read every byte and tell it how far.

        Raises ConfigurationError for a model that is neither stored nor declared,
        Unavailable or StoreRefused when the store cannot be used, and Interrupted.
        """
        began = self.clock.monotonic()
        found = _Findings(deep=deep is not None)
        self._read_models(found, models)
        if unknown := sorted(models - declared - {model for model, _ in found.versions}):
            message = f"no such model in the store or the configuration: {', '.join(unknown)}"
            raise ConfigurationError(message, hint="`sync-daemon ls` names those that are there")
        sound, unreferenced = self._compare_sizes(found)
        if deep is not None:
            self._read_all(sound, deep, found)
        return Verification(
            deep=deep is not None,
            versions=len(found.versions),
            manifests=len(found.manifests),
            blobs=len(found.uses),
            bytes=sum(max(sizes) for sizes in found.uses.values()),
            hashed=found.hashed,
            damage=tuple(sorted(found.damage, key=lambda damage: (damage.key, damage.kind))),
            unreferenced=None if models else unreferenced,
            seconds=self.clock.monotonic() - began,
        )

    # -- pointers and manifests --------------------------------------------------------

    def _read_models(self, found: _Findings, models: frozenset[str]) -> None:
        self._check_marker(found)
        for info in self._list(keys.MODELS):
            name, manifest = keys.parse_current(info.key), keys.parse_manifest(info.key)
            version = manifest[:2] if manifest else name
            if version is None or (models and version[0] not in models):
                continue
            found.versions.add(version)
            if manifest is not None:
                found.manifests.setdefault(manifest, False)
            else:
                found.pointers.append(version)
        self._each(found.pointers, partial(self._read_pointer, found=found))
        self._each(sorted(found.manifests), partial(self._read_manifest, found=found))

    def _check_marker(self, found: _Findings) -> None:
        marker = keys.marker()
        try:
            data = read_marker(self.store, self.retry).data
        except FileNotFoundError:
            if next(self._list(keys.MODELS), None) is not None:
                message = f"without it every run is refused; write it again: {marker.decode()}"
                found.add(Damage("missing", keys.MARKER, message.strip(), ()))
            return
        if data != marker:
            message = f"{self.store.url}: {keys.MARKER} names a format this program cannot read"
            raise StoreRefused(message, hint="upgrade sync-daemon, or use another prefix")

    def _read_pointer(self, name: _Name, *, found: _Findings) -> None:
        key = keys.current(*name)
        try:
            pointer = decode_current(self._get(key))
        except FileNotFoundError:
            found.add(Damage("missing", key, "it was listed, and is gone", (Use(*name),)))
        except SyncError as error:
            found.add(self._unreadable(key, error, (Use(*name),)))
        else:
            with found.lock:  # it may have been published after the manifests were listed
                found.manifests[*name, pointer.manifest] = True
                if pointer.tree is not None and pointer.tree.whole:
                    found.trees[*name, pointer.tree.manifest] = pointer.tree

    def _read_manifest(self, name: _ManifestName, *, found: _Findings) -> None:
        key, use, digest = keys.manifest(*name), Use(*name), name[2]
        try:
            data = self._get(key)
            if Digest.of(data) != digest:
                message = "its bytes do not hash to its name"
                found.add(Damage("corrupt", key, message, (use,), found=len(data)))
                return
            manifest = decode(data)
        except FileNotFoundError:
            if found.manifests[name]:  # another one may have been pruned a moment ago
                found.add(Damage("missing", key, "current.json names it", (use,)))
        except SyncError as error:
            found.add(self._unreadable(key, error, (use,)))
        else:
            self._note(manifest, use, key, found)
            if (tree := found.trees.get(name)) is not None:
                self._compare_tree(manifest, tree, Use(*name), found)

    def _compare_tree(self, manifest: Manifest, tree: Tree, place: Use, found: _Findings) -> None:
        damage, copies = compare(manifest, tree, place, self._list(tree.key))
        if found.deep:
            with found.lock:
                found.copies.extend(copies)
        if damage and self._stands(tree, place):
            for one in damage:
                found.add(one)

    def _stands(self, tree: Tree, place: Use) -> bool:
        """Tell whether the pointer still calls the tree whole: else a writer is at it."""
        try:
            return decode_current(self._get(keys.current(place.model, place.version))).tree == tree
        except (FileNotFoundError, SyncError):
            return True  # the pointer's own trouble is told already

    def _note(self, manifest: Manifest, place: Use, key: str, found: _Findings) -> None:
        if (manifest.model, manifest.version) != (place.model, place.version):
            message = f"it is the manifest of {manifest.model}@{manifest.version}"
            found.add(Damage("unreadable", key, message, (place,)))
        with found.lock:
            for entry in manifest.files:
                use = Use(place.model, place.version, place.manifest, entry.path)
                found.uses.setdefault(entry.sha256, {}).setdefault(entry.size, []).append(use)

    # -- blobs -------------------------------------------------------------------------

    def _compare_sizes(self, found: _Findings) -> tuple[dict[Digest, ObjectInfo], tuple[int, int]]:
        """Return the blobs that have the size they should, and the count and size of others."""
        sound: dict[Digest, ObjectInfo] = {}
        absent = set(found.uses)
        others, other_bytes = 0, 0
        for info in self._list(keys.BLOBS):
            digest = keys.parse_digest(info.key)
            if digest is None or keys.blob(digest) != info.key:
                continue
            if digest not in found.uses:
                others, other_bytes = others + 1, other_bytes + info.size
                continue
            absent.discard(digest)
            wrong = [size for size in found.uses[digest] if size != info.size]
            for size in wrong:
                message = f"it has {info.size} bytes instead of {size}"
                found.add_blob("wrong_size", digest, message, size=size, actual=info.size)
            if not wrong:
                sound[digest] = info
        for digest in absent:
            for size in found.uses[digest]:
                found.add_blob("missing", digest, "it is not there", size=size)
        return sound, (others, other_bytes)

    # -- bytes -------------------------------------------------------------------------

    def _read_all(self, sound: dict[Digest, ObjectInfo], watch: Watch, found: _Findings) -> None:
        """Hash the blobs, and then the plain copies that are no links of them."""
        copies = find_unproven(found.copies, sound, shares=self.store.traits.shares)
        size = sum(blob.size for blob in sound.values()) + sum(copy.size for copy in copies)
        watch.begin(len(sound) + len(copies), size)
        self._each(sorted(sound.items()), partial(self._prove_blob, watch=watch, found=found))
        self._each(copies, partial(self._prove_copy, watch=watch, found=found))

    def _prove_blob(
        self, blob: tuple[Digest, ObjectInfo], *, watch: Watch, found: _Findings
    ) -> None:
        digest, info = blob
        if (damage := self._prove(info.key, digest, info.size, watch, found)) is not None:
            found.add(replace(damage, uses=found.users(digest)))

    def _prove_copy(self, copy: Copy, *, watch: Watch, found: _Findings) -> None:
        damage = self._prove(copy.key, copy.digest, copy.size, watch, found)
        if damage is not None and self._stands(copy.tree, copy.use):
            found.add(tell(copy, damage))

    def _prove(
        self, key: str, digest: Digest, size: int, watch: Watch, found: _Findings
    ) -> Damage | None:
        """Return what is wrong with an object's bytes; whom it hits the caller knows."""
        reading = Reading(self.store, key, self.stop, watch.advance)
        try:
            computed = reading.hash(size, self.retry)
        except FileNotFoundError:
            return Damage("missing", key, "it was listed, and is gone", (), size)
        except SyncError as error:
            return self._unreadable(key, error, ())
        with found.lock:
            found.hashed += reading.at
        if reading.at < size:
            message = f"it ends after {reading.at} of {size} bytes"
            return Damage("corrupt", key, message, (), size, reading.at)
        if computed != digest:
            return Damage("corrupt", key, f"its bytes hash to {computed}", (), size, size)
        return None

    # -- the store -----------------------------------------------------------------------

    def _get(self, key: str) -> bytes:
        return self.retry(f"read {key}", lambda: self.store.get(key)).data

    def _unreadable(self, key: str, error: SyncError, uses: tuple[Use, ...]) -> Damage:
        """Return the damage of an object that cannot be read while the store itself answers."""
        if isinstance(error, Interrupted):
            raise error
        self.retry(f"look for {keys.MARKER}", lambda: self.store.stat(keys.MARKER))
        return Damage("unreadable", key, str(error), uses)

    def _list(self, prefix: str) -> Iterator[ObjectInfo]:
        """List a prefix of any length; a page that fails is asked for again."""
        pages = _Pages(self.store, prefix)
        while page := self.retry(f"list {prefix}", pages.next):
            self._check_stop()
            yield from page

    def _each(self, items: Iterable[T], work: Callable[[T], None]) -> None:
        """Do `work` on every item, several at a time; the first error ends all."""
        source, lock, ended = iter(items), threading.Lock(), threading.Event()

        def labour() -> None:
            try:
                while not ended.is_set():
                    self._check_stop()
                    with lock:
                        item = next(source, None)
                    if item is None:
                        return
                    work(item)
            except BaseException:
                ended.set()
                raise

        with ThreadPoolExecutor(self.workers, thread_name_prefix="verify") as pool:
            for done in [pool.submit(labour) for _ in range(self.workers)]:
                done.result()

    def _check_stop(self) -> None:
        check_stop(self.stop)


@dataclass(slots=True)
class _Findings:
    """What was seen so far. A manifest is True when a current.json names it; `copies` are those
    that `deep` has to read."""

    deep: bool
    lock: threading.Lock = field(default_factory=threading.Lock)
    versions: set[_Name] = field(default_factory=set)
    pointers: list[_Name] = field(default_factory=list)
    trees: dict[_ManifestName, Tree] = field(default_factory=dict)
    manifests: dict[_ManifestName, bool] = field(default_factory=dict)
    uses: dict[Digest, dict[int, list[Use]]] = field(default_factory=dict)
    copies: list[Copy] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)
    hashed: int = 0

    def add(self, damage: Damage) -> None:
        """Note a damaged object."""
        with self.lock:
            self.damage.append(damage)

    def add_blob(
        self, kind: Kind, digest: Digest, message: str, *, size: int, actual: int | None = None
    ) -> None:
        """Note a damaged blob, for those who say that it has `size` bytes."""
        uses = tuple(sorted(self.uses[digest][size], key=_order))
        self.add(Damage(kind, keys.blob(digest), message, uses, size, actual))

    def users(self, digest: Digest) -> tuple[Use, ...]:
        """Return all who need a blob."""
        uses = (use for of_size in self.uses[digest].values() for use in of_size)
        return tuple(sorted(uses, key=_order))


class _Pages:
    """One listing in pages; after a failure it goes on behind the last whole page."""

    def __init__(self, store: ObjectStore, prefix: str) -> None:
        self._store, self._prefix, self._last = store, prefix, ""
        self._source = store.list(prefix)

    def next(self) -> list[ObjectInfo]:
        """Return the next objects; none at the end."""
        try:
            page = list(islice(self._source, _PAGE))
        except Unavailable:
            self._source = self._store.list(self._prefix, self._last)
            raise
        self._last = page[-1].key if page else self._last
        return page


def _order(use: Use) -> tuple[str, str, str, str]:
    return use.model, use.version, use.manifest or "", use.path or ""
