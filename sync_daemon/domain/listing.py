"""What an origin says it holds: refs, commits and files, with what it promises of each file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sync_daemon.domain.digests import CommitId, Digest, GitOid
from sync_daemon.domain.names import RepoPath

RefKind = Literal["commit", "tag", "branch"]


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository as its origin names it. `kind` is model, dataset or space."""

    name: str
    kind: str = "model"


@dataclass(frozen=True, slots=True)
class Refs:
    """All names of a repository, from one request."""

    branches: Mapping[str, CommitId]
    tags: Mapping[str, CommitId]


@dataclass(frozen=True, slots=True)
class Resolved:
    """A revision, and the commit that it means now. A branch is followed, the rest are pins.

    `paths` are the files at it, where the origin says so in the same breath.
    """

    revision: str
    commit: CommitId
    kind: RefKind
    paths: frozenset[str] | None = field(default=None, compare=False)

    @property
    def pin(self) -> bool:
        """Tell whether the revision is meant never to move."""
        return self.kind != "branch"


@dataclass(frozen=True, slots=True, order=True)
class RemoteFile:
    """A file as the origin lists it: its *expected* identity, not yet proven.

    `token` is the origin's own idea of the content (an ETag, an mtime) where there is no
    digest; it only tells whether the file changed while it was read. `ranges` is False when
    the origin can only send the file from its beginning. `declared`: it is the configuration
    that names the digest, and not the origin; the file is the same either way.
    """

    path: RepoPath
    size: int
    sha256: Digest | None = None
    git_oid: GitOid | None = None
    lfs: bool = False
    token: str | None = None
    ranges: bool = True
    declared: bool = field(default=False, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class RawFile:
    """A listed file whose name was not looked at yet; admission turns it into a RemoteFile."""

    path: str
    size: int
    sha256: str | None = None
    git_oid: str | None = None
    lfs: bool = False
    token: str | None = None
    ranges: bool = True
    declared: bool = field(default=False, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything in a repository at one commit, as listed: nothing selected, nothing refused."""

    commit: CommitId
    files: tuple[RawFile, ...]
    licence: str | None = None
