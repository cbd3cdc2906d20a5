"""Plain copies of versions, for whoever reads a bucket by paths: where they lie, what to copy.

A pinned version has one folder; a followed one has a folder for each commit, so that a
reader's files never change under it. Nothing but the files of one manifest lies in a folder:
that it is whole is said elsewhere, by the version's pointer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from sync_daemon.domain import keys
from sync_daemon.domain.digests import CommitId, Digest
from sync_daemon.domain.manifest import Current, Tree
from sync_daemon.domain.names import RepoPath
from sync_daemon.domain.wanted import Wanted

SEGMENT_BYTES = 255
"""Longest name of a file or folder on the disks that trees are read to."""

_SINGLE = 5 * 1024**3
_PART = 1024**3
"""S3 copies up to 5 GiB by one request, more in parts."""


@dataclass(frozen=True, slots=True)
class TreeFile:
    """A file that a tree is to hold; its digest may not be known before it is fetched."""

    path: RepoPath
    size: int
    digest: Digest | None = None


@dataclass(frozen=True, slots=True)
class TreePlan:
    """What makes a folder whole. `removes` are whole keys; `space` is in bytes."""

    key: str
    copies: tuple[TreeFile, ...]
    removes: tuple[str, ...]
    kept: tuple[TreeFile, ...] = ()
    shares: bool = False

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.copies or self.removes)

    @property
    def space(self) -> int:
        """Room that the copies take: none in a store where they share that of the blobs."""
        return 0 if self.shares else sum(file.size for file in self.copies)

    @property
    def requests(self) -> int:
        """Requests to the store: copies, deletions, and the pointer that says it is whole."""
        copies = sum(1 if self.shares else _requests(file.size) for file in self.copies)
        return copies + len(self.removes) + 1


def _requests(size: int) -> int:
    if size <= _SINGLE:
        return 1
    return 3 + -(-size // _PART)  # drop what is unfinished, begin, end


def find_folder(wanted: Wanted, commit: CommitId, *, pin: bool) -> str:
    """Return the key of the folder, with a slash at its end."""
    return keys.tree(wanted.model, wanted.version, None if pin else commit, wanted.group)


def is_whole(pointer: Current, folder: str) -> bool:
    """Tell whether the folder holds what the version is now, by the pointer alone."""
    tree = pointer.tree
    return tree is not None and tree == Tree(folder, pointer.manifest)


def carry(tree: Tree | None, folder: str | None) -> Tree | None:
    """Return what a new pointer says of the tree that the former named.

    `folder` is the one that is to be made next, None if none is: a folder that will change is
    not whole from now on, and of one that was not whole nothing is known any more.
    """
    if tree is None or not tree.whole:
        return None
    return replace(tree, whole=False) if tree.key == folder else tree


def plan_tree(
    folder: str,
    files: Iterable[TreeFile],
    found: Mapping[str, int],
    trusted: Callable[[TreeFile], bool],
    *,
    shares: bool,
) -> TreePlan:
    """Decide what to copy and what to remove.

    `found` are the keys in the folder with their sizes; `trusted` tells whether one that has
    the right size has the right content.
    """
    copies, kept, rest = list[TreeFile](), list[TreeFile](), dict(found)
    for file in files:
        size = rest.pop(folder + file.path, None)
        (kept if size == file.size and trusted(file) else copies).append(file)
    return TreePlan(folder, tuple(copies), tuple(sorted(rest)), tuple(kept), shares=shares)


def find_problems(folder: str, paths: Iterable[RepoPath], key_bytes: int) -> tuple[str, ...]:
    """Return why files cannot lie in the folder; `key_bytes` are those of a store's keys."""
    advice = "exclude it, or set `trees: false`"
    room = key_bytes - len(folder.encode())
    problems = []
    for path in paths:
        size = len(path.encode())
        if size > room:
            problems.append(
                f"{path}: below {folder} its key has {size - room} bytes too many: {advice}"
            )
        elif any(len(part.encode()) > SEGMENT_BYTES for part in path.split("/")):
            problems.append(f"{path}: a name in it is longer than {SEGMENT_BYTES} bytes: {advice}")
    return tuple(problems)
