"""Compares a tree of plain copies with its manifest, by one listing: names and sizes.

What has the right size may still have other bytes: in a bucket a copy rots, or is overwritten,
by itself. `Copy` is such a one for who reads it. A hard link of a blob is the blob, and needs
no reading of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sync_daemon.domain.digests import Digest
from sync_daemon.domain.manifest import Manifest, Tree
from sync_daemon.engine.verification import Damage, Use
from sync_daemon.ports import ObjectInfo

_ADVICE = "`sync-daemon run-once --full` mends the tree"
_REPLACE = "delete this plain copy; then `sync-daemon run-once --full` makes it anew from its blob"


@dataclass(frozen=True, slots=True)
class Copy:
    """A plain copy of the right size, `digest` being what its bytes should hash to."""

    tree: Tree
    key: str
    etag: str
    size: int
    digest: Digest
    use: Use


def compare(
    manifest: Manifest, tree: Tree, place: Use, listed: Iterable[ObjectInfo]
) -> tuple[tuple[Damage, ...], tuple[Copy, ...]]:
    """Return the plain copies that are missing or cut, and the others; `place` is whose they
    are."""
    found = {info.key: info for info in listed}
    damage, sound = list[Damage](), list[Copy]()
    for entry in manifest.files:
        key = tree.key + entry.path
        use, info = replace(place, path=entry.path), found.get(key)
        if info is None:
            message = f"a plain copy is not there: {_ADVICE}"
            damage.append(Damage("missing", key, message, (use,), entry.size))
        elif info.size != entry.size:
            message = f"a plain copy has {info.size} bytes instead of {entry.size}: {_ADVICE}"
            damage.append(Damage("wrong_size", key, message, (use,), entry.size, info.size))
        else:
            sound.append(Copy(tree, key, info.etag, info.size, entry.sha256, use))
    return tuple(damage), tuple(sound)


def find_unproven(
    copies: Iterable[Copy], blobs: Mapping[Digest, ObjectInfo], *, shares: bool
) -> tuple[Copy, ...]:
    """Return the copies that are not proven by their blob; `shares`: a store of hard links."""

    def is_link(copy: Copy) -> bool:
        blob = blobs.get(copy.digest)
        return shares and blob is not None and blob.etag == copy.etag

    return tuple(sorted((one for one in copies if not is_link(one)), key=lambda one: one.key))


def tell(copy: Copy, damage: Damage) -> Damage:
    """Return what was found of a copy's bytes, with whose it is and what to do."""
    advice = _ADVICE if damage.kind == "missing" else _REPLACE
    return replace(damage, message=f"a plain copy: {damage.message}; {advice}", uses=(copy.use,))
