"""Compares a tree of plain copies with its manifest, by one listing: names and sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from sync_daemon.domain.manifest import Manifest, Tree
from sync_daemon.engine.verification import Damage, Use
from sync_daemon.ports import ObjectInfo

_ADVICE = "`sync-daemon run-once --full` mends the tree"


def find_tree_damage(
    manifest: Manifest, tree: Tree, place: Use, listed: Iterable[ObjectInfo]
) -> Iterator[Damage]:
    """Yield the plain copies that are missing or cut; `place` is whose they are."""
    found = {info.key: info.size for info in listed}
    for entry in manifest.files:
        key = tree.key + entry.path
        use, size = replace(place, path=entry.path), found.get(key)
        if size is None:
            message = f"a plain copy is not there: {_ADVICE}"
            yield Damage("missing", key, message, (use,), entry.size)
        elif size != entry.size:
            message = f"a plain copy has {size} bytes instead of {entry.size}: {_ADVICE}"
            yield Damage("wrong_size", key, message, (use,), entry.size, size)
