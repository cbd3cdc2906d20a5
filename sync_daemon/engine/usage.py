"""What takes the room of a store: one listing, counted by kind of object."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sync_daemon.domain import keys
from sync_daemon.ports import ObjectInfo

_FOLDERS = (
    *("blobs", "trees", "uploads", "staging", "quarantine", "condemned", "runs", "locks"),
    "tokens",
)
_NAMED = {"models": "manifests", "aliases": "aliases", "verdicts": "verdicts"}
KINDS = ("blobs", "manifests", *_FOLDERS[1:], *sorted(set(_NAMED.values()) - {"manifests"}))
"""What is counted by itself, in the order of the table; anything else is `other`."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Objects of one kind, and their bytes."""

    kind: str
    objects: int
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """Return the object of `store status --json`."""
        return {"kind": self.kind, "objects": self.objects, "bytes": self.bytes}


def count_usage(objects: Iterable[ObjectInfo]) -> tuple[Usage, ...]:
    """Count objects by kind. `models/` counts as manifests, with the pointers beside them."""
    counted: dict[str, list[int]] = {kind: [0, 0] for kind in (*KINDS, "other")}
    for info in objects:
        tally = counted[kind_of(info.key)]
        tally[0] += 1
        tally[1] += info.size
    return tuple(Usage(kind, count, size) for kind, (count, size) in counted.items())


def kind_of(key: str) -> str:
    """Return the kind of object that lies at a key."""
    folder, slash, _ = key.partition("/")
    if slash and folder in _FOLDERS:
        return folder
    if slash and folder in _NAMED:
        return _NAMED[folder]
    return "other"


def stored_bytes(usage: Iterable[Usage]) -> int:
    """Return the bytes of all kinds together."""
    return sum(one.bytes for one in usage)


def unfinished(usage: Iterable[Usage]) -> int:
    """Return how many journals of unfinished uploads there are."""
    folder = keys.UPLOADS.removesuffix("/")
    return sum(one.objects for one in usage if one.kind == folder)
