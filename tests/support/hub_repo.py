"""Repositories of the Hub double: commits, branches, tags and the files behind them.

Commit ids are computed from the content, the parent and the message, so that a test that runs
twice sees the same ids. Old commits stay reachable by id after branches and tags have moved on.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from .hub_content import Blob, Bytes, Content, Stored, Synthetic, as_content, synthetic_safetensors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = [
    "Blob",
    "Bytes",
    "Commit",
    "Content",
    "Repo",
    "Stored",
    "Synthetic",
    "as_content",
    "synthetic_safetensors",
]

FIRST_COMMIT = datetime(2024, 1, 1, tzinfo=UTC)
FULL_SHA = 40
FIRST_PRINTABLE = 0x20


@dataclass(frozen=True)
class Commit:
    """One state of a repository; `extra` are tree items that no checked commit could hold."""

    sha: str
    parent: str | None
    message: str
    number: int
    files: Mapping[str, Blob]
    card: Mapping[str, Any]
    extra: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def date(self) -> str:
        """Time of the commit as the Hub writes it; commits are one hour apart."""
        moment = FIRST_COMMIT + timedelta(hours=self.number)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


@dataclass
class Repo:
    """One repository; change its attributes at any time, requests see them at once.

    `readers` are the tokens that may read a private repository (None: every good token),
    `granted` the tokens that passed the gate of a gated one.
    """

    name: str
    kind: str = "model"
    private: bool = False
    gated: bool | str = False
    disabled: bool = False
    license: str | None = "apache-2.0"
    tags: tuple[str, ...] = ()
    lfs_threshold: int = 1 << 20
    readers: set[str] | None = None
    granted: set[str] = field(default_factory=set)
    unsafe_files: dict[str, str] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    renamed: list[str] = field(default_factory=list)
    origin_name: str = ""

    def __post_init__(self) -> None:
        self.origin_name = self.origin_name or self.name

    def commit(
        self,
        files: Mapping[str, bytes | str | Path | Content] | None = None,
        *,
        message: str = "update",
        branch: str = "main",
        delete: Iterable[str] = (),
        lfs: bool | Iterable[str] | None = None,
        card: Mapping[str, Any] | None = None,
        unchecked: bool = False,
    ) -> str:
        """Add a commit on top of `branch` (made if missing) and return its 40 hex digits.

        `branch` may be a full reference such as refs/pr/1. `lfs` says which of these files are
        large: all, none, those matching patterns, or by size. Names that git would refuse
        raise ValueError unless `unchecked`.
        """
        ref = _full_ref(branch)
        parent = self.commits.get(self.refs.get(ref, ""))
        tree = dict(parent.files) if parent else {}
        for path in delete:
            del tree[path]
        for path, value in (files or {}).items():
            content = as_content(value)
            tree[path] = Blob(content, self._is_lfs(path, content, lfs=lfs))
        if not unchecked:
            check_paths(tree)
        made = self._make(parent, message, tree, card)
        self.commits.setdefault(made.sha, made)
        self.refs[ref] = made.sha
        return made.sha

    def branch(self, name: str, commit: str) -> None:
        """Make or move a branch."""
        self.ref(f"refs/heads/{name}", commit)

    def tag(self, name: str, commit: str) -> None:
        """Make or move a tag; the Hub does not stop anyone from moving one."""
        self.ref(f"refs/tags/{name}", commit)

    def ref(self, full_name: str, commit: str) -> None:
        """Make or move any reference: refs/heads/x, refs/tags/x, refs/convert/x, refs/pr/1."""
        if commit not in self.commits:
            message = f"{self.name} has no commit {commit}"
            raise KeyError(message)
        self.refs[full_name] = commit

    def rename(self, name: str) -> None:
        """Give the repository a new name; the old one answers with a redirect from now on."""
        self.renamed.append(self.name)
        self.name = name

    def raw_tree_item(self, item: Mapping[str, Any], revision: str = "main") -> None:
        """Show `item` in tree listings of a revision as it is, however hostile."""
        commit = self.find(revision)
        if commit is None:
            message = f"{self.name} has no revision {revision}"
            raise KeyError(message)
        commit.extra.append(item)

    def head(self, revision: str = "main") -> str:
        """Return the commit id of a revision; raises KeyError when there is none."""
        commit = self.find(revision)
        if commit is None:
            raise KeyError(revision)
        return commit.sha

    def blob(self, path: str, revision: str = "main") -> Blob:
        """Return a file of a revision; raises KeyError when there is none."""
        return self.commits[self.head(revision)].files[path]

    def find(self, revision: str) -> Commit | None:
        """Look a revision up as the Hub does: branch, tag, full reference, full commit id."""
        for name in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if name in self.refs:
                return self.commits[self.refs[name]]
        return self.commits.get(revision) if len(revision) == FULL_SHA else None

    def history(self, commit: Commit) -> list[Commit]:
        """Return a commit and its ancestors, newest first."""
        found = [commit]
        while found[-1].parent is not None:
            found.append(self.commits[found[-1].parent])
        return found

    def _is_lfs(self, path: str, content: Content, *, lfs: bool | Iterable[str] | None) -> bool:
        if lfs is None:
            return content.size >= self.lfs_threshold
        if isinstance(lfs, bool):
            return lfs
        return any(fnmatchcase(path, pattern) for pattern in lfs)

    def _make(
        self,
        parent: Commit | None,
        message: str,
        tree: dict[str, Blob],
        card: Mapping[str, Any] | None,
    ) -> Commit:
        if card is None:
            card = parent.card if parent else {"license": self.license} if self.license else {}
        parts = [self.kind, self.origin_name, parent.sha if parent else "", message, repr(card)]
        for path in sorted(tree):
            parts += [path, tree[path].content.identity, str(tree[path].lfs)]
        text = "\0".join(parts).encode("utf-8", "surrogatepass")
        sha = hashlib.sha1(text, usedforsecurity=False).hexdigest()
        number = parent.number + 1 if parent else 0
        return Commit(sha, parent.sha if parent else None, message, number, tree, card)


def check_paths(paths: Iterable[str]) -> None:
    """Raise ValueError for a name that git or the Hub would not hold."""
    names = set(paths)
    for path in names:
        segments = path.split("/")
        control = any(ord(letter) < FIRST_PRINTABLE or letter in "\x7f\\" for letter in path)
        if control or {"", ".", ".."} & set(segments):
            message = f"{path!r} cannot be in a repository; say unchecked=True to put it there"
            raise ValueError(message)
        for depth in range(1, len(segments)):
            if "/".join(segments[:depth]) in names:
                message = f"{path!r} needs a folder where there is a file"
                raise ValueError(message)


def _full_ref(branch: str) -> str:
    return branch if branch.startswith("refs/") else f"refs/heads/{branch}"
