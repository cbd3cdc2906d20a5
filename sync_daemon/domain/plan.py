"""The difference between what is wanted and what is held: pure, and the same for a dry run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sync_daemon.domain.digests import Digest, GitOid
from sync_daemon.domain.listing import RemoteFile
from sync_daemon.domain.manifest import FileEntry
from sync_daemon.domain.names import RepoPath
from sync_daemon.domain.trees import TreePlan


@dataclass(frozen=True, slots=True)
class Held:
    """What the store holds that this version may reuse.

    `digests` are blobs proven present, with their sizes; `oids` leads from a git oid of the
    same origin repository to the digest that was once computed for it.
    """

    digests: Mapping[Digest, int]
    oids: Mapping[GitOid, Digest]


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One wanted file. `held` is the digest of the stored blob, or None: it must be fetched."""

    remote: RemoteFile
    held: Digest | None


@dataclass(frozen=True, slots=True)
class Cost:
    """What the rest of the run will take when nothing has to be retried.

    `origin` and `store` are requests; `staged` is the temporary space in the store, in
    bytes, for large files whose digest is not known beforehand.
    """

    origin: int = 0
    store: int = 0
    staged: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.origin + other.origin, self.store + other.store, self.staged + other.staged
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do for one version. Paths are sorted; sizes are bytes."""

    files: tuple[PlannedFile, ...]
    added: tuple[RepoPath, ...]
    changed: tuple[RepoPath, ...]
    removed: tuple[RepoPath, ...]
    cost: Cost
    tree: TreePlan | None = None

    @property
    def fetches(self) -> tuple[RemoteFile, ...]:
        """The files to be moved, one for each distinct content, smallest path first."""
        first: dict[object, RemoteFile] = {}
        for file in self.files:
            if file.held is None:
                first.setdefault(content_key(file.remote), file.remote)
        return tuple(first.values())

    @property
    def reused(self) -> tuple[PlannedFile, ...]:
        """The files whose blob is there already."""
        return tuple(file for file in self.files if file.held is not None)

    @property
    def total_bytes(self) -> int:
        """Size of the version."""
        return sum(file.remote.size for file in self.files)

    @property
    def fetch_bytes(self) -> int:
        """Bytes to read from the origin."""
        return sum(file.size for file in self.fetches)


def content_key(file: RemoteFile) -> object:
    """Identity of a listed file's content within its repository."""
    return file.sha256 or file.git_oid or file.path


def known_digest(file: RemoteFile, oids: Mapping[GitOid, Digest]) -> Digest | None:
    """Return the digest that `file` must have, as far as it is known before reading it."""
    if file.sha256 is not None:
        return file.sha256
    return oids.get(file.git_oid) if file.git_oid is not None and not file.lfs else None


def make_plan(
    wanted: tuple[RemoteFile, ...],
    current: tuple[FileEntry, ...],
    held: Held,
    cost: Callable[[RemoteFile], Cost],
) -> Plan:
    """Decide what to fetch and what to reuse. `cost` is the price of moving one file."""
    files = tuple(PlannedFile(file, _find(file, held)) for file in wanted)
    before = {entry.path: entry for entry in current}
    after = {file.remote.path for file in files}
    plan = Plan(
        files=files,
        added=tuple(path for path in sorted(after) if path not in before),
        changed=tuple(
            file.remote.path
            for file in files
            if (entry := before.get(file.remote.path)) and not _same(file, entry)
        ),
        removed=tuple(path for path in sorted(before) if path not in after),
        cost=Cost(),
    )
    return replace(plan, cost=sum((cost(file) for file in plan.fetches), Cost()))


def with_tree(plan: Plan, tree: TreePlan) -> Plan:
    """Add what plain copies will take."""
    return replace(plan, tree=tree, cost=plan.cost + Cost(0, tree.requests))


def _find(file: RemoteFile, held: Held) -> Digest | None:
    digest = known_digest(file, held.oids)
    if digest is None or held.digests.get(digest) != file.size:
        return None
    return digest


def _same(file: PlannedFile, entry: FileEntry) -> bool:
    digest = file.held or file.remote.sha256
    if digest is not None:
        return digest == entry.sha256
    return file.remote.git_oid is not None and file.remote.git_oid == entry.git_oid
