"""What a version is: the immutable manifest, and the pointer that says which manifest is current.

A manifest is built of `FileEntry` values, whose digest was computed from bytes that were
sent; a `RemoteFile` (listing.py) only carries what an origin promises. An unverified
digest therefore cannot be published (I1).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sync_daemon.domain import canonical, keys
from sync_daemon.domain.digests import CommitId, Digest, GitOid
from sync_daemon.domain.errors import StoreRefused
from sync_daemon.domain.names import ModelName, RepoPath, VersionName

_DAMAGED_POINTER = (
    "delete this current.json from the store; `sync-daemon run-once` then publishes the version"
    " again, from the blobs that are there"
)


@dataclass(frozen=True, slots=True, order=True)
class FileEntry:
    """A stored, proven file. `git_oid` is the origin's tree entry (of the pointer, if LFS)."""

    path: RepoPath
    size: int
    sha256: Digest
    git_oid: GitOid | None = None
    lfs: bool = False

    @property
    def hub_id(self) -> Digest | GitOid:
        """What the Hub's clients know it by: its SHA-256 if it is of LFS or has no git oid."""
        return self.sha256 if self.lfs or self.git_oid is None else self.git_oid


@dataclass(frozen=True, slots=True)
class Source:
    """Where a version came from."""

    type: str
    repo: str
    repo_type: str
    revision: str
    commit: CommitId


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the files themselves say; dtypes map to their number of parameters."""

    architecture: str | None = None
    parameters: int | None = None
    dtype: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """One version of one model, whole. `files` are sorted by path."""

    model: ModelName
    version: VersionName
    source: Source
    selection: Digest
    files: tuple[FileEntry, ...]
    licence: str | None = None
    facts: ModelFacts = ModelFacts()
    requires: tuple[tuple[str, str], ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files, shared blobs counted as often as they are named."""
        return sum(entry.size for entry in self.files)

    def encode(self) -> bytes:
        """Return the canonical bytes: no times, no hosts, the same everywhere."""
        facts = canonical.present(
            architecture=self.facts.architecture,
            parameters=self.facts.parameters,
            dtype=self.facts.dtype,
        )
        origin = {
            "type": self.source.type,
            "repo": self.source.repo,
            "repo_type": self.source.repo_type,
            "revision": self.source.revision,
            "commit": self.source.commit,
        }
        return canonical.encode(
            canonical.present(
                format=keys.FORMAT,
                model=self.model,
                version=self.version,
                origin=origin,
                selection=self.selection,
                files=[_encode_entry(entry) for entry in self.files],
                size=self.size,
                licence=self.licence,
                facts=facts or None,
                requires=dict(self.requires) or None,
            )
        )


def _encode_entry(entry: FileEntry) -> dict[str, Any]:
    return canonical.present(
        path=entry.path,
        size=entry.size,
        sha256=entry.sha256,
        git_oid=entry.git_oid,
        lfs=entry.lfs or None,
    )


def decode(data: bytes) -> Manifest:
    """Parse a manifest. Raises StoreRefused when it is not one of a format known here."""
    try:
        raw = json.loads(data)
        if raw["format"] != keys.FORMAT:
            message = f"manifest has format {raw['format']}, this program reads {keys.FORMAT}"
            raise StoreRefused(message, hint="upgrade sync-daemon")
        origin, facts = raw["origin"], raw.get("facts", {})
        return Manifest(
            model=ModelName(raw["model"]),
            version=VersionName(raw["version"]),
            source=Source(**{**origin, "commit": CommitId(origin["commit"])}),
            selection=Digest(raw["selection"]),
            files=tuple(_decode_entry(entry) for entry in raw["files"]),
            licence=raw.get("licence"),
            facts=ModelFacts(**facts),
            requires=tuple(sorted(raw.get("requires", {}).items())),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"not a manifest: {_explain(error)}"
        raise StoreRefused(message, hint="run `sync-daemon verify --deep`") from error


def _decode_entry(raw: dict[str, Any]) -> FileEntry:
    return FileEntry(
        path=RepoPath(raw["path"]),
        size=raw["size"],
        sha256=Digest(raw["sha256"]),
        git_oid=GitOid(raw["git_oid"]) if "git_oid" in raw else None,
        lfs=raw.get("lfs", False),
    )


@dataclass(frozen=True, slots=True)
class Tree:
    """A folder of plain copies. `key` ends with a slash.

    It holds the files of `manifest` and nothing else; where it is not `whole`, each of its
    files is either of that manifest or of the one that is current.
    """

    key: str
    manifest: Digest
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Current:
    """Which manifest a version is now. `pin`: it was a commit or a tag when published (I3)."""

    commit: CommitId
    selection: Digest
    manifest: Digest
    published_at: datetime
    previous: Digest | None = None
    hold: bool = False
    pin: bool = False
    tree: Tree | None = None

    def matches(self, commit: CommitId, selection: Digest) -> bool:
        """Tell whether the version already is what is asked for."""
        return self.commit == commit and self.selection == selection

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return canonical.encode(
            canonical.present(
                commit=self.commit,
                selection=self.selection,
                manifest=self.manifest,
                previous=self.previous,
                published_at=self.published_at.isoformat(timespec="seconds"),
                hold=self.hold,
                pin=self.pin,
                tree=_encode_tree(self.tree) if self.tree else None,
            )
        )


def _encode_tree(tree: Tree) -> dict[str, Any]:
    return {"key": tree.key, "manifest": tree.manifest, "whole": tree.whole}


def _decode_tree(raw: dict[str, Any]) -> Tree:
    return Tree(str(raw["key"]), Digest(raw["manifest"]), whole=raw["whole"] is True)


def decode_current(data: bytes) -> Current:
    """Parse a `current.json`. Raises StoreRefused when it is not one."""
    try:
        raw = json.loads(data)
        return Current(
            commit=CommitId(raw["commit"]),
            selection=Digest(raw["selection"]),
            manifest=Digest(raw["manifest"]),
            published_at=datetime.fromisoformat(raw["published_at"]),
            previous=Digest(raw["previous"]) if "previous" in raw else None,
            hold=raw.get("hold", False),
            pin=raw.get("pin", False),
            tree=_decode_tree(raw["tree"]) if "tree" in raw else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"not a current.json: {_explain(error)}"
        raise StoreRefused(message, hint=_DAMAGED_POINTER) from error


def _explain(error: Exception) -> str:
    """Say what is wrong with a document in words, without its content."""
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return "it is not JSON, but empty" if _is_empty(error) else "it is not JSON"
    if isinstance(error, KeyError):
        return f"`{error.args[0]}` is missing"
    return f"a value is not what it must be ({error})"


def _is_empty(error: json.JSONDecodeError | UnicodeDecodeError) -> bool:
    return isinstance(error, json.JSONDecodeError) and not error.doc.strip()
