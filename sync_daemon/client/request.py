"""What is to be pulled, and where to: one frozen value, checked before anything is touched."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sync_daemon.domain.digests import Digest
from sync_daemon.domain.errors import ConfigurationError, InvalidName
from sync_daemon.domain.listing import Repository
from sync_daemon.domain.names import ModelName, VersionName
from sync_daemon.domain.selection import Selection
from sync_daemon.domain.wanted import Wanted

ORIGIN = "mirror"
"""The name that the mirror sites have together, as an origin of the engine."""

EVERYTHING = Selection()
"""All files."""

_REPOSITORY = re.compile(r"[A-Za-z0-9._-]{1,96}(?:/[A-Za-z0-9._-]{1,96})?")
_REVISION = re.compile(r"[^\x00-\x20\x7f]{1,255}")
_KINDS = ("model", "dataset", "space")
_SHORT = 16
_HASHED = 40


@dataclass(frozen=True, slots=True)
class Request:
    """One version of one model. None of `output`, `hub_cache`, `torch_home`: only the cache.

    `offline`: ask nobody. `verify`: hash everything again. `copy`: no links to the cache.
    `force`: replace files that somebody else put where ours belong. `unpack`: archives as well.
    """

    model: str
    version: str = "main"
    repo_type: str = "model"
    selection: Selection = EVERYTHING
    output: Path | None = None
    hub_cache: Path | None = None
    torch_home: Path | None = None
    offline: bool = False
    dry_run: bool = False
    verify: bool = False
    copy: bool = False
    force: bool = False
    unpack: bool = False

    def __post_init__(self) -> None:
        """Raise ConfigurationError for what no mirror can have."""
        parts = self.model.split("/")
        if not _REPOSITORY.fullmatch(self.model) or {".", ".."} & set(parts):
            message = f"{self.model!r} is no name of a model"
            raise ConfigurationError(message, hint="write NAME, ORG/NAME or NAME@VERSION")
        if not _REVISION.fullmatch(self.version):
            message = f"{self.version!r} is no version"
            raise ConfigurationError(message, hint="write a version, alias, branch, tag or commit")
        if self.repo_type not in _KINDS:
            message = f"{self.repo_type!r} is no kind of repository"
            raise ConfigurationError(message, hint=f"one of {', '.join(_KINDS)}")

    def __str__(self) -> str:
        return f"{self.model}@{self.version}"

    @property
    def repository(self) -> Repository:
        """The repository, as a mirror knows it."""
        return Repository(self.model, self.repo_type)

    @property
    def wanted(self) -> Wanted:
        """The version in the engine's terms; its names are those in the local cache."""
        return Wanted(
            cache_model(self.repository),
            cache_version(self.version, self.selection),
            ORIGIN,
            self.repository,
            self.version,
            self.selection,
        )


def split_version(text: str) -> tuple[str, str | None]:
    """Split `MODEL@VERSION`; no version gives None, an empty one raises ConfigurationError."""
    model, at, version = text.partition("@")
    if at and not version:
        raise ConfigurationError(f"{text}: names no version", hint="write MODEL@VERSION")
    return model, version if at else None


def cache_model(repository: Repository) -> ModelName:
    """Return the name of a repository in the cache: its own wherever that is possible."""
    name = repository.name
    if repository.kind != "model":  # no repository's name holds two dashes
        name = f"{repository.kind}s--{name.replace('/', '--')}"
    try:
        return ModelName(name)
    except InvalidName:
        return ModelName(f"x--{_hash(f'{repository.kind}/{repository.name}')}")


def cache_version(revision: str, selection: Selection) -> VersionName:
    """Return the name of a revision in the cache; each selection of its files has its own.

    No ref of git has two slashes in a row, so that nothing can be confused with it.
    """
    rules = f"//{selection.digest[:_SHORT]}" if selection != EVERYTHING else ""
    try:
        return VersionName.of_tag(f"{revision}{rules}")
    except InvalidName:
        return VersionName.of_tag(f"x//{_hash(revision)}{rules}")


def _hash(text: str) -> str:
    return Digest.of(text.encode())[:_HASHED]
