"""What is published at one moment, as immutable values: who has which models, versions, files.

A repo id leads to a `Repository`, a revision in it to an `Edition`, and that, with its files,
is a `Snapshot`. Nothing here reads a store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import cast

from sync_daemon.domain.digests import CommitId, Digest
from sync_daemon.domain.manifest import Current, FileEntry, ModelFacts, Source
from sync_daemon.domain.names import ModelName, RepoPath, VersionName

DEFAULT_REVISION = "main"
SHORT_COMMIT = 7
"""Fewest hex digits that name a commit."""

FORMATS: Mapping[str, str] = {
    ".safetensors": "safetensors",
    ".gguf": "gguf",
    ".onnx": "onnx",
}
"""Endings of files, and the tags that say that a repository has such files."""

_HEX = frozenset("0123456789abcdef")
_COMMIT_DIGITS = 40
Version = tuple[ModelName, VersionName]


@dataclass(frozen=True, slots=True)
class Edition:
    """One manifest of a version, without its files. `size` is in bytes.

    `pointer` is None for a former one, which is served by its commit only. `stored_at` is when
    the manifest was written. `alias` stands for the commit where another edition has it first.
    """

    model: ModelName
    version: VersionName
    manifest: Digest
    source: Source
    files: int
    size: int
    licence: str | None
    facts: ModelFacts
    requires: tuple[tuple[str, str], ...] = ()
    formats: tuple[str, ...] = ()
    stored_at: datetime | None = None
    pointer: Current | None = None
    alias: CommitId | None = None

    def __str__(self) -> str:
        return f"{self.model}@{self.version}"

    @property
    def commit(self) -> CommitId:
        """The commit that readers know it by: the origin's, or what stands for one."""
        return self.alias or self.source.commit

    @property
    def published_at(self) -> datetime | None:
        """When it became current; of a former one, when it was stored."""
        return self.pointer.published_at if self.pointer else self.stored_at

    @property
    def own_commit(self) -> CommitId:
        """What stands for the commit where several editions share it: of the manifest's digest."""
        return CommitId(self.manifest[:_COMMIT_DIGITS])

    def answers(self, commit: str) -> bool:
        """Tell whether a full commit means this edition."""
        return commit in {self.commit, self.own_commit}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An edition with its files, by path. `entries` are the paths of all files and folders,
    sorted."""

    edition: Edition
    files: Mapping[RepoPath, FileEntry]
    entries: tuple[str, ...] = ()

    def find(self, path: str) -> FileEntry | None:
        """Return the file at `path`, or None."""
        return self.files.get(cast("RepoPath", path))


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

    def visible(self, may_read: Callable[[ModelName], bool]) -> Repository | None:
        """Return what is left for a reader; None where that is nothing."""
        models = tuple(model for model in self.models if may_read(model.name))
        if len(models) == len(self.models):
            return self
        return replace(self, models=models) if models else None

    def find(self, revision: str) -> Edition | None:
        """Return the current edition that a revision means, or None.

        In this order: a full commit, a version's name, an alias, a ref of the origin, a commit's
        beginning. `main` means the newest version where nothing follows `main`, because that is
        what clients ask for whose user named no revision.
        """
        editions, version, refs = self.editions, _as_version(revision), _refs(revision)
        found = (
            next((one for one in editions if one.commit == revision), None)
            or next((one for one in editions if one.version == version), None)
            or self._alias(revision)
            or next((one for one in editions if one.source.revision in refs), None)
            or next((one for one in editions if one.own_commit == revision), None)
            or self._short(revision)
        )
        if found is None and DEFAULT_REVISION in refs:
            return next(iter(editions), None)
        return found

    def _alias(self, revision: str) -> Edition | None:
        for model in self.models:
            version = model.aliases.get(revision)
            for one in model.editions:
                if one.version == version and one.source.repo_type == self.kind:
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

    `folded` leads from a kind and a repo id without regard to case to the ids as they are
    written. `former` are the manifests of each version that are not current, with the time at
    which they were stored; `problems` say which versions cannot be read, and why.
    """

    models: Mapping[ModelName, Model] = field(default_factory=dict)
    repositories: Mapping[tuple[str, str], Repository] = field(default_factory=dict)
    folded: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    former: Mapping[Version, Mapping[Digest, datetime]] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)

    def repository(self, kind: str, name: str) -> Repository | None:
        """Return what a repo id of `kind` (model, dataset, space) leads to; case matters."""
        return self.repositories.get((kind, name))

    def spelt(self, kind: str, name: str) -> tuple[str, ...]:
        """Return the repo ids that differ from `name` in nothing but case."""
        return self.folded.get((kind, name.casefold()), ())


def find_repositories(models: Iterable[Model]) -> dict[tuple[str, str], Repository]:
    """Return which models every repo id leads to, the origin's and the model's own."""
    found: dict[tuple[str, str], dict[ModelName, Model]] = {}
    for model in models:
        for edition in model.editions:
            for name in (edition.source.repo, model.name):
                found.setdefault((edition.source.repo_type, name), {})[model.name] = model
    return {
        (kind, name): Repository(kind, name, _distinct(_own_first(name, named.values())))
        for (kind, name), named in found.items()
    }


def fold(repositories: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the repo ids by what is left of them without regard to case."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for kind, name in repositories:
        key = kind, name.casefold()
        found[key] = (*found.get(key, ()), name)
    return found


def _own_first(name: str, models: Iterable[Model]) -> tuple[Model, ...]:
    """Put the model that itself has the name before those that come from such a repository."""
    return tuple(sorted(models, key=lambda model: model.name != name))


def _distinct(models: tuple[Model, ...]) -> tuple[Model, ...]:
    """Let no two editions with different files have the same commit.

    Clients turn a revision into its commit first and ask by that from then on. Two versions of
    one commit that select different files would otherwise show the files of the first.
    """
    seen: dict[tuple[str, str], Digest] = {}

    def tell(edition: Edition) -> Edition:
        selected = edition.pointer.selection if edition.pointer else edition.manifest
        key = edition.source.repo_type, edition.source.commit
        if seen.setdefault(key, selected) == selected:
            return edition
        return replace(edition, alias=edition.own_commit)

    return tuple(replace(model, editions=tuple(map(tell, model.editions))) for model in models)


def _refs(revision: str) -> tuple[str, str]:
    return revision, revision.removeprefix("refs/heads/").removeprefix("refs/tags/")


def _as_version(revision: str) -> str:
    bare = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
    return bare.replace("/", "%2F")
