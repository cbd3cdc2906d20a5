"""Keeps what is published in memory: a `Shelf`, and the files of what was asked for last.

One listing of `models/` tells which pointers have changed and which manifests exist; only what
has changed is read. The outcome is a new `Shelf`, an immutable view that is swapped as a whole,
so that a request sees one state from its beginning to its end (I4). Files are kept in memory
for the versions that were asked for last; the rest of a manifest is a few hundred bytes.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

from sync_daemon.domain import keys
from sync_daemon.domain.digests import CommitId, Digest
from sync_daemon.domain.errors import StoreRefused
from sync_daemon.domain.manifest import Manifest
from sync_daemon.domain.names import ModelName, VersionName
from sync_daemon.domain.versions import newest_tags
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.vault import Vault
from sync_daemon.gateway.published.marker import expect_marker
from sync_daemon.gateway.published.shelf import (
    FORMATS,
    Edition,
    Model,
    Repository,
    Shelf,
    Snapshot,
    Version,
    find_repositories,
    fold,
)
from sync_daemon.gateway.recent import Recent
from sync_daemon.ports import ObjectStore

READERS = 8
"""Manifests that are read at once."""

FILES_IN_MEMORY = 250_000
"""File entries of manifests that are kept; one takes about 500 bytes. The newest manifest stays,
whatever its size."""

K = TypeVar("K")


class Library:
    """Keeps a `Shelf` of one store fresh, and the files of what was asked for last in memory."""

    def __init__(
        self,
        store: ObjectStore,
        retry: Retry,
        *,
        order: Sequence[ModelName] = (),
        files_in_memory: int = FILES_IN_MEMORY,
    ) -> None:
        """`order` are the models as the YAML has them: who is first answers by repo id."""
        self._vault = Vault(store, retry)
        self._order = self._arranged = _places(order)
        self._lock = threading.Lock()
        self._refreshing = threading.Lock()
        self._shelf = Shelf()
        self._found: _Found | None = None
        self._pointers: dict[Version, tuple[str, Edition]] = {}
        self._aliases: dict[str, tuple[str, VersionName]] = {}
        self._former: dict[Digest, Edition | None] = {}
        self._snapshots: Recent[Digest, Snapshot] = Recent(files_in_memory, _count, fewest=1)

    @property
    def shelf(self) -> Shelf:
        """What was published at the last `refresh`."""
        return self._shelf

    def check(self) -> None:
        """Prove that the store can be reached and is a mirror's.

        Raises StoreUnavailable, StoreRefused.
        """
        self._vault.open(create=False)

    def refresh(self) -> bool:
        """Read what has changed in the store; return whether anything did.

        Raises StoreUnavailable, StoreRefused; the shelf then stays as it was. Costs one page of
        listing for each 1,000 manifests and pointers, and two reads for each version that moved.
        """
        with self._refreshing:
            found = _look(self._vault)
            if self._shelf.models and not found.pointers:
                expect_marker(self._vault.store, self._vault.retry)
            same = found == self._found and self._arranged is self._order
            if same and not self._shelf.problems:
                return False
            problems: dict[str, str] = {}
            pointers = self._read_pointers(found.pointers, problems)
            aliases = self._read_aliases(found.aliases)
            self._pointers, self._aliases, self._found = pointers, aliases, found
            self._forget_removed(found)
            shelf = self._arrange(found, problems)
            if shelf == self._shelf:
                return False
            self._shelf = shelf
            return True

    def arrange(self, order: Sequence[ModelName]) -> None:
        """Follow another order of the models: at once, or from the next look on while one is
        under way."""
        self._order = _places(order)
        if not self._refreshing.acquire(blocking=False):
            return
        try:
            if self._found is not None:
                self._shelf = self._arrange(self._found, self._shelf.problems)
        finally:
            self._refreshing.release()

    def snapshot(self, edition: Edition) -> Snapshot:
        """Return an edition with its files. Reads the store unless it was asked for lately.

        Raises FileNotFoundError when it was removed meanwhile, StoreRefused, StoreUnavailable.
        """
        if (held := self.held(edition)) is not None:
            return held
        manifest = self._vault.manifest(edition.model, edition.version, edition.manifest)
        return self._keep(edition, manifest)

    def held(self, edition: Edition) -> Snapshot | None:
        """Return an edition with its files if they are in memory; never waits for the store."""
        with self._lock:
            found = self._snapshots.get(edition.manifest)
        if found is None or found.edition is edition:
            return found
        return replace(found, edition=edition)

    def manifest_bytes(self, edition: Edition) -> bytes:
        """Return the stored bytes of a manifest, proven to hash to its name.

        Raises as `snapshot` does.
        """
        key = keys.manifest(edition.model, edition.version, edition.manifest)
        data = self._vault.retry(f"read {key}", lambda: self._vault.store.get(key)).data
        if Digest.of(data) != edition.manifest:
            message = f"{key}: its bytes do not hash to its name"
            raise StoreRefused(message, hint="run `sync-daemon verify --deep`")
        return data

    def find_former(self, repository: Repository, commit: str) -> Edition | None:
        """Return the edition of a full commit that is not current any more, or None.

        Clients go on with the commit that they learnt before a version moved. Reads manifests
        that were not read before.
        """
        found = (one for model in repository.models for one in self._formers(model.name))
        for one in found:
            if one.source.repo_type == repository.kind and one.answers(commit):
                own = one.commit != commit
                return replace(one, alias=CommitId(commit)) if own else one
        return None

    def formers(self, edition: Edition) -> tuple[Edition, ...]:
        """Return the former editions of the version of `edition`, the newest first.

        Reads manifests that were not read before.
        """
        version = edition.model, edition.version
        known = self._shelf.former.get(version, {})
        found = (self._read_former(version, digest, at) for digest, at in known.items())
        return tuple(sorted(filter(None, found), key=_stored_at, reverse=True))

    def _formers(self, model: ModelName) -> Iterable[Edition]:
        for version, digests in self._shelf.former.items():
            if version[0] != model:
                continue
            for digest, at in digests.items():
                if (found := self._read_former(version, digest, at)) is not None:
                    yield found

    def _read_former(self, version: Version, digest: Digest, at: datetime) -> Edition | None:
        known = self._former  # another thread may put another in its place
        if digest not in known:
            try:
                manifest = self._vault.manifest(*version, digest)
            except (StoreRefused, FileNotFoundError):  # damaged, or pruned: asked once only
                expect_marker(self._vault.store, self._vault.retry)  # or all is gone
                known[digest] = None
            else:
                known[digest] = _describe(manifest, digest, at)
        return known[digest]

    def _forget_removed(self, found: _Found) -> None:
        there = {digest for digests in found.manifests.values() for digest in digests}
        self._former = {key: one for key, one in self._former.items() if key in there and one}

    def _keep(self, edition: Edition, manifest: Manifest) -> Snapshot:
        files = MappingProxyType({entry.path: entry for entry in manifest.files})
        snapshot = Snapshot(edition, files, _entries(files))
        with self._lock:
            self._snapshots.put(edition.manifest, snapshot)
        return snapshot

    def _read_pointers(
        self, listed: Mapping[Version, str], problems: dict[str, str]
    ) -> dict[Version, tuple[str, Edition]]:
        known = self._pointers
        same = {name: known[name] for name, etag in listed.items() if _is(known, name, etag)}
        changed = [name for name in listed if name not in same]
        if not changed:
            return same
        with ThreadPoolExecutor(READERS, thread_name_prefix="library") as pool:
            for name, read in zip(changed, pool.map(self._read, changed), strict=True):
                if isinstance(read, str):
                    problems["@".join(name)] = read
                    if name in known:  # what was read before is still whole (I3)
                        same[name] = ("", known[name][1])
                elif read is not None:
                    same[name] = (listed[name], read)
        return same

    def _read(self, name: Version) -> Edition | str | None:
        try:
            current = self._vault.current(*name)
            if current is None:
                return None
            pointer, _ = current
            manifest = self._vault.manifest(*name, pointer.manifest)
        except StoreRefused as error:
            return str(error)
        except FileNotFoundError as error:
            return f"current.json names a manifest that is missing: {error}"
        described = _describe(manifest, pointer.manifest, pointer.published_at)
        edition = replace(described, pointer=pointer)
        self._keep(edition, manifest)
        return edition

    def _read_aliases(self, listed: Mapping[str, str]) -> dict[str, tuple[str, VersionName]]:
        found = {}
        for key, etag in listed.items():
            if _is(self._aliases, key, etag):
                found[key] = self._aliases[key]
                continue
            with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
                data = self._vault.retry(f"read {key}", partial(self._vault.store.get, key)).data
                found[key] = (etag, VersionName(json.loads(data)["version"]))
        return found

    def _arrange(self, found: _Found, problems: Mapping[str, str]) -> Shelf:
        editions: dict[ModelName, dict[str, Edition]] = {}
        for (model, version), (_, edition) in self._pointers.items():
            editions.setdefault(model, {})[version] = edition
        order = self._arranged = self._order
        names = sorted(editions, key=lambda name: (order.get(name, len(order)), name))
        models = {name: self._describe_model(name, editions[name]) for name in names}
        repositories = find_repositories(models.values())
        return Shelf(models, repositories, fold(repositories), self._find_former(found), problems)

    def _describe_model(self, name: ModelName, editions: Mapping[str, Edition]) -> Model:
        newest = newest_tags(editions, "*", None)
        return Model(name, tuple(editions[one] for one in newest), self._aliases_of(name))

    def _find_former(self, found: _Found) -> dict[Version, Mapping[Digest, datetime]]:
        current = {edition.manifest for _, edition in self._pointers.values()}
        return {
            version: {digest: at for digest, at in digests.items() if digest not in current}
            for version, digests in found.manifests.items()
            if version in self._pointers
        }

    def _aliases_of(self, model: ModelName) -> Mapping[str, VersionName]:
        prefix = f"{keys.ALIASES}{model}/"
        return {
            key.removeprefix(prefix).removesuffix(".json"): version
            for key, (_, version) in self._aliases.items()
            if key.startswith(prefix) and "/" not in key.removeprefix(prefix)
        }


@dataclass(frozen=True, slots=True)
class _Found:
    """What one listing found: pointers and aliases with their etags, manifests with their age."""

    pointers: Mapping[Version, str]
    manifests: Mapping[Version, Mapping[Digest, datetime]]
    aliases: Mapping[str, str]


def _look(vault: Vault) -> _Found:
    store = vault.store
    listed = vault.retry(f"list {keys.MODELS}", lambda: tuple(store.list(keys.MODELS)))
    aliases = vault.retry(f"list {keys.ALIASES}", lambda: tuple(store.list(keys.ALIASES)))
    pointers = {}
    manifests: dict[Version, dict[Digest, datetime]] = {}
    for info in listed:
        if (name := keys.parse_current(info.key)) is not None:
            pointers[name] = info.etag
        elif (named := keys.parse_manifest(info.key)) is not None:
            manifests.setdefault(named[:2], {})[named[2]] = info.modified
    return _Found(pointers, manifests, {info.key: info.etag for info in aliases})


def _describe(manifest: Manifest, digest: Digest, stored_at: datetime) -> Edition:
    endings = {f".{entry.path.rpartition('.')[2]}" for entry in manifest.files}
    return Edition(
        model=manifest.model,
        version=manifest.version,
        manifest=digest,
        source=manifest.source,
        files=len(manifest.files),
        size=manifest.size,
        licence=manifest.licence,
        facts=manifest.facts,
        requires=manifest.requires,
        formats=tuple(tag for ending, tag in FORMATS.items() if ending in endings),
        stored_at=stored_at,
    )


def _entries(files: Iterable[str]) -> tuple[str, ...]:
    """Return the paths of files and of the folders that they are in, sorted."""
    found: set[str] = set()
    for path in files:
        found.add(path)
        folder = path.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return tuple(sorted(found))


def _places(order: Sequence[ModelName]) -> Mapping[ModelName, int]:
    return {name: place for place, name in enumerate(order)}


def _count(_: Digest, snapshot: Snapshot) -> int:
    return len(snapshot.files)


def _stored_at(edition: Edition) -> float:
    return edition.stored_at.timestamp() if edition.stored_at else 0.0


def _is(known: Mapping[K, tuple[str, Any]], key: K, etag: str) -> bool:
    return key in known and known[key][0] == etag
