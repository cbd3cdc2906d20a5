"""What becomes of one version of a model in a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sync_daemon.domain.events.base import Event, Level


@dataclass(frozen=True, slots=True)
class VersionPlanned(Event):
    """The difference is known; transfer begins. Sizes in bytes."""

    name: ClassVar[str] = "version.planned"
    model: str
    version: str
    commit: str
    files: int
    fetch_files: int
    fetch_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class TreePublished(Event):
    """A version's plain copies are whole; so many were made and removed for it."""

    name: ClassVar[str] = "tree.published"
    model: str
    version: str
    commit: str
    key: str
    files: int
    copied: int
    removed: int
    copied_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class VersionWarning(Event):
    """Something about a version that a person should look at; the sync goes on."""

    name: ClassVar[str] = "version.warning"
    level: ClassVar[Level] = "warning"
    model: str
    version: str
    message: str


@dataclass(frozen=True, slots=True)
class VersionPublished(Event):
    """A version's `current.json` names a new manifest."""

    name: ClassVar[str] = "version.published"
    model: str
    version: str
    commit: str
    manifest: str
    files: int
    fetched_bytes: int
    uploaded_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class VersionUnchanged(Event):
    """A version is as declared already."""

    name: ClassVar[str] = "version.unchanged"
    level: ClassVar[Level] = "debug"
    model: str
    version: str
    commit: str


@dataclass(frozen=True, slots=True)
class VersionRefused(Event):
    """A version was not let through; the old manifest stays current."""

    name: ClassVar[str] = "version.refused"
    level: ClassVar[Level] = "warning"
    model: str
    version: str
    reasons: tuple[str, ...]
    commit: str | None = None


@dataclass(frozen=True, slots=True)
class VersionFailed(Event):
    """A version could not be mirrored; the others go on."""

    name: ClassVar[str] = "version.failed"
    level: ClassVar[Level] = "error"
    model: str
    version: str
    kind: str
    error: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class VersionPassed(Event):
    """Nothing was done for a version: it is held, locked by another, or was interrupted."""

    name: ClassVar[str] = "version.passed"
    model: str
    version: str
    status: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InternalError(Event):
    """A fault of the program itself; `version.failed` follows. `trace` has several lines."""

    name: ClassVar[str] = "internal.error"
    level: ClassVar[Level] = "error"
    model: str
    version: str
    trace: str
