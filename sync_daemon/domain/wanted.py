"""What the YAML asks for, in the engine's terms."""

from __future__ import annotations

from dataclasses import dataclass

from sync_daemon.domain.listing import Repository
from sync_daemon.domain.names import GroupName, ModelName, VersionName
from sync_daemon.domain.selection import Selection


@dataclass(frozen=True, slots=True)
class Wanted:
    """One version of one model. `origin` is the name of the origin in the YAML.

    `trees` asks for plain copies, below the folder `group` if there is one. `requires` are pairs
    of a name and a version that a machine needs to run it.
    """

    model: ModelName
    version: VersionName
    origin: str
    repository: Repository
    revision: str
    selection: Selection
    trees: bool = False
    group: GroupName | None = None
    requires: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.model}@{self.version}"


@dataclass(frozen=True, slots=True)
class WantedTags:
    """A version for each tag that matches, the newest `latest` of them (None: all)."""

    model: ModelName
    origin: str
    repository: Repository
    pattern: str
    latest: int | None
    selection: Selection
    trees: bool = False
    group: GroupName | None = None
    requires: tuple[tuple[str, str], ...] = ()

    @property
    def label(self) -> str:
        """How the entry is called when it fails as one."""
        return f"tags:{self.pattern}"
