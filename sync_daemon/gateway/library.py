"""Everything that is published, as a reader asks for it: by repository and revision.

One listing of `models/` tells which pointers have changed and which manifests exist; only what
has changed is read. The outcome is a `Shelf`, an immutable view that is swapped as a whole, so
that a request sees one state from its beginning to its end (I4). Files are kept in memory for
the versions that were asked for last; the rest of a manifest is a few hundred bytes.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

from sync_daemon.domain import keys
from sync_daemon.domain.digests import CommitId, Digest
from sync_daemon.domain.errors import StoreRefused
from sync_daemon.domain.manifest import Current, FileEntry, Manifest, ModelFacts, Source
from sync_daemon.domain.names import ModelName, RepoPath, VersionName
from sync_daemon.domain.versions import newest_tags
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.vault import Vault
from sync_daemon.ports import ObjectStore

READERS = 8
"""Manifests that are read at once."""

FILES_IN_MEMORY = 250_000
"""File entries of manifests that are kept; one takes about 500 bytes. The newest manifest stays,
whatever its size."""

DEFAULT_REVISION = "main"
SHORT_COMMIT = 7
"""Fewest hex digits that name a commit."""

_HEX = frozenset("0123456789abcdef")
K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Edition:
    """One manifest of a version, without its files. `size` is in bytes.

    `pointer` is None for a former one, which is served by its commit only.
    """

    model: ModelName
    version: VersionName
    manifest: Digest
    source: Source
    files: int
    size: int
    licence: str | None
    facts: ModelFacts
    pointer: Current | None = None

    def __str__(self) -> str:
        return f"{self.model}@{self.version}"

    @property
    def commit(self) -> CommitId:
        """The origin's commit, or what stands for one."""
        return self.source.commit

    @property
    def published_at(self) -> datetime | None:
        """When it became current."""
        return self.pointer.published_at if self.pointer else None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An edition with its files, sorted by path."""

    edition: Edition
    files: Mapping[RepoPath, FileEntry]


@dataclass(frozen=True, slots=True)
class Model:
    """A model, its current editions (newest first, by version order) and its aliases."""

    name: ModelName
    editions: tuple[Edition, ...]
    aliases: Mapping[str, VersionName] = field(default_factory=dict)

    @property
    def newest(self) -> Edition:
        """The edition that a reader means who does not say which."""
        return self.editions[0]


@dataclass(frozen=True, slots=True)
class Repository:
    """What one repo id leads to. `name` is as the Hub would write it; the first model wins."""

    kind: str
    name: str
    models: tuple[Model, ...]

    @property
    def editions(self) -> tuple[Edition, ...]:
        """All current editions, in the order in which they answer."""
        return tuple(
            one
            for model in self.models
            for one in model.editions
            if one.source.repo_type == self.kind
        )

    def find(self, revision: str) -> Edition | None:
        """Return the current edition that a revision means, or None.

        In this order: a full commit, a version's name, an alias, a ref of the origin, a commit's
        beginning. `main` means the newest version where nothing follows `main`, because that is
        what clients ask for whose user named no revision.
        """
        found = (
            self._first(lambda one: one.commit == revision)
            or self._first(lambda one: one.version == _as_version(revision))
            or self._alias(revision)
            or self._first(lambda one: one.source.revision in _refs(revision))
            or self._short(revision)
        )
        if found is None and revision == DEFAULT_REVISION:
            return next(iter(self.editions), None)
        return found

    def _first(self, fits: Callable[[Edition], bool]) -> Edition | None:
        return next((one for one in self.editions if fits(one)), None)

    def _alias(self, revision: str) -> Edition | None:
        for model in self.models:
            version = model.aliases.get(revision)
            for one in model.editions:
                if one.version == version:
                    return one
        return None

    def _short(self, revision: str) -> Edition | None:
        if len(revision) < SHORT_COMMIT or not _HEX.issuperset(revision):
            return None
        found = {one.commit: one for one in self.editions if one.commit.startswith(revision)}
        return next(iter(found.values())) if len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class Shelf:
    """Everything that is published, at one moment.

    `former` are the manifests of each version that are not current, by digest; `problems` say
    which versions cannot be read, and why.
    """

    models: Mapping[ModelName, Model] = field(default_factory=dict)
    repositories: Mapping[tuple[str, str], Repository] = field(default_factory=dict)
    former: Mapping[tuple[ModelName, VersionName], tuple[Digest, ...]] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)

    def repository(self, kind: str, name: str) -> Repository | None:
        """Return what a repo id of `kind` (model, dataset, space) leads to; case matters."""
        return self.repositories.get((kind, name))


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
        self._order = {name: place for place, name in enumerate(order)}
        self._limit = files_in_memory
        self._lock = threading.Lock()
        self._refreshing = threading.Lock()
        self._shelf = Shelf()
        self._pointers: dict[tuple[ModelName, VersionName], tuple[str, Edition]] = {}
        self._aliases: dict[str, tuple[str, VersionName]] = {}
        self._commits: dict[Digest, Edition] = {}
        self._snapshots: OrderedDict[Digest, Snapshot] = OrderedDict()

    @property
    def shelf(self) -> Shelf:
        """What was published at the last `refresh`."""
        return self._shelf

    def refresh(self) -> bool:
        """Read what has changed in the store; return whether anything did.

        Raises StoreUnavailable, StoreRefused; the shelf then stays as it was. Costs one page of
        listing for each 1,000 manifests and pointers, and two reads for each version that moved.
        """
        with self._refreshing:
            found = _look(self._vault)
            problems: dict[str, str] = {}
            pointers = self._read_pointers(found.pointers, problems)
            aliases = self._read_aliases(found.aliases)
            before = self._shelf
            self._pointers, self._aliases = pointers, aliases
            self._shelf = self._arrange(found, problems)
            return self._shelf != before

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
            if (found := self._snapshots.get(edition.manifest)) is not None:
                self._snapshots.move_to_end(edition.manifest)
        return found

    def find_former(self, repository: Repository, commit: str) -> Edition | None:
        """Return the edition of a full commit that is not current any more, or None.

        Reads manifests that were not read before: clients go on with the commit that they
        learnt before a version moved.
        """
        for model in repository.models:
            for (name, version), digests in self._shelf.former.items():
                if name != model.name:
                    continue
                for digest in digests:
                    found = self._former(name, version, digest)
                    if (
                        found
                        and found.commit == commit
                        and found.source.repo_type == repository.kind
                    ):
                        return found
        return None

    def _former(self, model: ModelName, version: VersionName, digest: Digest) -> Edition | None:
        if (known := self._commits.get(digest)) is None:
            try:
                manifest = self._vault.manifest(model, version, digest)
            except (StoreRefused, FileNotFoundError):
                return None
            known = self._commits[digest] = _describe(manifest, digest)
        return known

    def _keep(self, edition: Edition, manifest: Manifest) -> Snapshot:
        files = MappingProxyType({entry.path: entry for entry in manifest.files})
        snapshot = Snapshot(edition, files)
        with self._lock:
            self._snapshots[edition.manifest] = snapshot
            held = sum(len(one.files) for one in self._snapshots.values())
            while held > self._limit and len(self._snapshots) > 1:
                held -= len(self._snapshots.popitem(last=False)[1].files)
        return snapshot

    def _read_pointers(
        self, listed: Mapping[tuple[ModelName, VersionName], str], problems: dict[str, str]
    ) -> dict[tuple[ModelName, VersionName], tuple[str, Edition]]:
        known = self._pointers
        same = {name: known[name] for name, etag in listed.items() if _is(known, name, etag)}
        with ThreadPoolExecutor(READERS, thread_name_prefix="library") as pool:
            changed = [name for name in listed if name not in same]
            for name, read in zip(changed, pool.map(self._read, changed), strict=True):
                if isinstance(read, str):
                    problems["@".join(name)] = read
                elif read is not None:
                    same[name] = (listed[name], read)
        return same

    def _read(self, name: tuple[ModelName, VersionName]) -> Edition | str | None:
        try:
            current = self._vault.current(*name)
            if current is None:
                return None
            manifest = self._vault.manifest(*name, current[0].manifest)
        except StoreRefused as error:
            return str(error)
        except FileNotFoundError as error:
            return f"current.json names a manifest that is missing: {error}"
        edition = replace(_describe(manifest, current[0].manifest), pointer=current[0])
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
        models = {
            name: Model(
                name,
                tuple(editions[name][one] for one in newest_tags(editions[name], "*", None)),
                self._aliases_of(name),
            )
            for name in sorted(
                editions, key=lambda name: (self._order.get(name, len(self._order)), name)
            )
        }
        current = {edition.manifest for _, edition in self._pointers.values()}
        former = {
            name: tuple(digest for digest in digests if digest not in current)
            for name, digests in found.manifests.items()
        }
        return Shelf(models, _by_repository(models.values()), former, problems)

    def _aliases_of(self, model: ModelName) -> Mapping[str, VersionName]:
        prefix = f"{keys.ALIASES}{model}/"
        return {
            key.removeprefix(prefix).removesuffix(".json"): version
            for key, (_, version) in self._aliases.items()
            if key.startswith(prefix) and "/" not in key.removeprefix(prefix)
        }


@dataclass(frozen=True, slots=True)
class _Found:
    """What one listing found: pointers and aliases with their etags, and manifests."""

    pointers: Mapping[tuple[ModelName, VersionName], str]
    manifests: Mapping[tuple[ModelName, VersionName], Sequence[Digest]]
    aliases: Mapping[str, str]


def _look(vault: Vault) -> _Found:
    store = vault.store
    listed = vault.retry(f"list {keys.MODELS}", lambda: tuple(store.list(keys.MODELS)))
    aliases = vault.retry(f"list {keys.ALIASES}", lambda: tuple(store.list(keys.ALIASES)))
    pointers = {}
    manifests: dict[tuple[ModelName, VersionName], list[Digest]] = {}
    for info in listed:
        if (name := keys.parse_current(info.key)) is not None:
            pointers[name] = info.etag
        elif (named := keys.parse_manifest(info.key)) is not None:
            manifests.setdefault(named[:2], []).append(named[2])
    return _Found(pointers, manifests, {info.key: info.etag for info in aliases})


def _by_repository(models: Iterable[Model]) -> dict[tuple[str, str], Repository]:
    found: dict[tuple[str, str], dict[ModelName, Model]] = {}
    for model in models:
        for edition in model.editions:
            for name in (edition.source.repo, model.name):
                found.setdefault((edition.source.repo_type, name), {})[model.name] = model
    return {
        (kind, name): Repository(kind, name, _own_first(name, named.values()))
        for (kind, name), named in found.items()
    }


def _own_first(name: str, models: Iterable[Model]) -> tuple[Model, ...]:
    """Put the model that itself has the name before those that come from such a repository."""
    return tuple(sorted(models, key=lambda model: model.name != name))


def _describe(manifest: Manifest, digest: Digest) -> Edition:
    return Edition(
        model=manifest.model,
        version=manifest.version,
        manifest=digest,
        source=manifest.source,
        files=len(manifest.files),
        size=manifest.size,
        licence=manifest.licence,
        facts=manifest.facts,
    )


def _is(known: Mapping[K, tuple[str, Any]], key: K, etag: str) -> bool:
    return key in known and known[key][0] == etag


def _refs(revision: str) -> tuple[str, str]:
    return revision, revision.removeprefix("refs/heads/").removeprefix("refs/tags/")


def _as_version(revision: str) -> str:
    return revision.replace("/", "%2F")
