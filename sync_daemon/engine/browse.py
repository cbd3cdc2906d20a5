"""What the store holds, for people and their scripts: read, put in order, and nothing written.

One listing of `models/` finds every published version; a pointer and a manifest are read
once for each, several at a time. Sizes come from manifests, never from the blobs
themselves. What cannot be read is told of its version and hides no other one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from sync_daemon.domain import keys
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.errors import StoreRefused
from sync_daemon.domain.manifest import Current, FileEntry, Manifest
from sync_daemon.domain.names import ModelName, VersionName
from sync_daemon.domain.versions import newest_tags
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.vault import Vault
from sync_daemon.ports import ObjectStore

READERS = 8
"""Versions that are read at once."""

_BATCH = 4 * READERS
"""Manifests that are held in memory at once; one may name 100,000 files."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A version with a pointer, or `problem`: why its pointer or manifest cannot be read."""

    model: ModelName
    version: VersionName
    pointer: Current | None = None
    manifest: Manifest | None = None
    problem: str | None = None

    def __str__(self) -> str:
        return f"{self.model}@{self.version}"

    @property
    def manifest_key(self) -> str | None:
        """Where the manifest lies in the store."""
        if self.pointer is None:
            return None
        return keys.manifest(self.model, self.version, self.pointer.manifest)


@dataclass(frozen=True, slots=True)
class Summary:
    """A version without its files. `files` is their number; `size` is in bytes."""

    model: ModelName
    version: VersionName
    pointer: Current | None
    manifest_key: str | None
    files: int
    size: int
    problem: str | None = None


@dataclass(slots=True)
class Tally:
    """Adds up versions: all bytes, and those of distinct content, which are what is stored."""

    versions: int = 0
    files: int = 0
    size: int = 0
    _blobs: dict[Digest, int] = field(default_factory=dict)

    def add(self, manifest: Manifest) -> None:
        """Count the files of one more version."""
        self.versions += 1
        self.files += len(manifest.files)
        self.size += manifest.size
        self._blobs.update((entry.sha256, entry.size) for entry in manifest.files)

    @property
    def distinct(self) -> int:
        """Bytes when every content is counted once."""
        return sum(self._blobs.values())

    def to_json(self) -> dict[str, int]:
        """Return the sums; `saved_bytes` is what sharing content saves."""
        distinct = self.distinct
        return {
            "versions": self.versions,
            "files": self.files,
            "bytes": self.size,
            "distinct_bytes": distinct,
            "saved_bytes": self.size - distinct,
        }


class Browser:
    """Reads published versions and run reports of one store."""

    def __init__(self, store: ObjectStore, retry: Retry) -> None:
        self._vault = Vault(store, retry)
        self._retry = retry

    def open(self) -> None:
        """Check the format marker. Raises StoreRefused for a format unknown here."""
        self._vault.open(create=False)

    def names(self, model: ModelName | None = None) -> tuple[tuple[ModelName, VersionName], ...]:
        """Return every published version, or those of one model, from one listing."""
        prefix = keys.versions_of(model) if model else keys.MODELS
        found = self._retry(f"list {prefix}", lambda: tuple(self._pointers(prefix)))
        return in_order(one for one in found if model is None or one[0] == model)

    def _pointers(self, prefix: str) -> Iterator[tuple[ModelName, VersionName]]:
        for info in self._vault.store.list(prefix):
            if (found := keys.parse_current(info.key)) is not None:
                yield found

    def read(self, model: ModelName, version: VersionName) -> Stored | None:
        """Return one version with its files, or None if it is not published."""
        pointer = None
        try:
            current = self._vault.current(model, version)
            if current is None:
                return None
            pointer = current[0]
            manifest = self._vault.manifest(model, version, pointer.manifest)
        except StoreRefused as error:
            return Stored(model, version, pointer, problem=str(error))
        except FileNotFoundError as error:
            problem = f"current.json names a manifest that is missing: {error}"
            return Stored(model, version, pointer, problem=problem)
        return Stored(model, version, pointer, manifest)

    def read_all(self, names: Sequence[tuple[ModelName, VersionName]]) -> Iterator[Stored]:
        """Yield these versions, in their order; one that has gone meanwhile is left out."""
        rest = iter(names)
        with ThreadPoolExecutor(READERS, thread_name_prefix="read") as pool:
            while batch := tuple(islice(rest, _BATCH)):
                for stored in pool.map(lambda name: self.read(*name), batch):
                    if stored is not None:
                        yield stored

    def survey(self, names: Sequence[tuple[ModelName, VersionName]], tally: Tally) -> list[Summary]:
        """Return these versions without their files, and add them to `tally`."""
        found = []
        for stored in self.read_all(names):
            if stored.manifest is not None:
                tally.add(stored.manifest)
            found.append(summarise(stored))
        return found

    def objects(self, prefix: str) -> tuple[str, ...]:
        """Return the keys below a prefix, in order."""
        store = self._vault.store
        return self._retry(f"list {prefix}", lambda: tuple(info.key for info in store.list(prefix)))

    def first(self, prefix: str, most: int) -> tuple[str, ...]:
        """Return the first `most` keys below a prefix, in order."""
        store = self._vault.store
        return self._retry(
            f"list {prefix}",
            lambda: tuple(info.key for info in islice(store.list(prefix), most)),
        )

    def fetch(self, key: str) -> bytes | None:
        """Return a small object, or None if it is not there."""
        try:
            return self._retry(f"read {key}", partial(self._vault.store.get, key)).data
        except FileNotFoundError:
            return None


def summarise(stored: Stored) -> Summary:
    """Return a version without its files."""
    manifest = stored.manifest
    return Summary(
        stored.model,
        stored.version,
        stored.pointer,
        stored.manifest_key,
        len(manifest.files) if manifest else 0,
        manifest.size if manifest else 0,
        stored.problem,
    )


def version_json(summary: Summary | None) -> dict[str, Any]:
    """Return what the reading commands tell of a version; nothing is known of None."""
    pointer = summary.pointer if summary else None
    return {
        "commit": pointer.commit if pointer else None,
        "manifest": summary.manifest_key if summary else None,
        "published_at": pointer.published_at.isoformat() if pointer else None,
        "pin": pointer.pin if pointer else None,
        "hold": pointer.hold if pointer else None,
        "tree": pointer.tree.key if pointer and pointer.tree and pointer.tree.whole else None,
        "files": summary.files if summary else 0,
        "bytes": summary.size if summary else 0,
        "problem": summary.problem if summary else None,
    }


def in_order(
    names: Iterable[tuple[ModelName, VersionName]],
) -> tuple[tuple[ModelName, VersionName], ...]:
    """Return versions by model, and of each model the newest first, by version order."""
    versions: dict[ModelName, list[VersionName]] = {}
    for model, version in names:
        versions.setdefault(model, []).append(version)
    return tuple(
        (model, VersionName(version))
        for model in sorted(versions)
        for version in newest_tags(versions[model], "*", None)
    )


@dataclass(frozen=True, slots=True)
class Difference:
    """What leads from one version to another, each by path.

    `changed` are pairs of before and after; `new_bytes` is the size of content, counted
    once, that the first version has under no path at all.
    """

    added: tuple[FileEntry, ...]
    changed: tuple[tuple[FileEntry, FileEntry], ...]
    removed: tuple[FileEntry, ...]
    same: tuple[FileEntry, ...]
    new_bytes: int


def compare(before: Manifest, after: Manifest) -> Difference:
    """Return the difference of two versions, of the same model or not."""
    old = {entry.path: entry for entry in before.files}
    new = {entry.path: entry for entry in after.files}
    both = [(old[path], new[path]) for path in sorted(old.keys() & new.keys())]
    known = {entry.sha256 for entry in before.files}
    fresh = {entry.sha256: entry.size for entry in after.files if entry.sha256 not in known}
    return Difference(
        added=tuple(new[path] for path in sorted(new.keys() - old.keys())),
        changed=tuple((a, b) for a, b in both if a.sha256 != b.sha256),
        removed=tuple(old[path] for path in sorted(old.keys() - new.keys())),
        same=tuple(b for a, b in both if a.sha256 == b.sha256),
        new_bytes=sum(fresh.values()),
    )


def file_json(entry: FileEntry) -> Mapping[str, Any]:
    """Return a file as every reading command shows it."""
    return {
        "path": entry.path,
        "size": entry.size,
        "sha256": entry.sha256,
        "git_oid": entry.git_oid,
        "lfs": entry.lfs,
    }
