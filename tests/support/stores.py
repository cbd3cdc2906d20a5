"""Stores in memory that tell what was asked of them, or that are down."""

from __future__ import annotations

from collections.abc import Iterator

from sync_daemon.ports import Content, ObjectInfo, StoreCapacity
from sync_daemon.stores.memory import MemoryStore


class CountingStore(MemoryStore):
    """Notes what is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.listed: list[str] = []
        self.got: list[str] = []

    def list(self, prefix: str, start_after: str = "") -> Iterator[ObjectInfo]:
        self.listed.append(prefix)
        return super().list(prefix, start_after)

    def get(self, key: str) -> Content:
        self.got.append(key)
        return super().get(key)


class StoreThatMayBeDown(MemoryStore):
    """A store that answers with `down` while it is set, to questions about `part` of a key."""

    def __init__(self, down: Exception | None = None, part: str = "") -> None:
        super().__init__()
        self.down = down
        self.reads = 0
        self._part = part

    def _break(self, key: str = "") -> None:
        if self.down is not None and self._part in key:
            raise self.down

    def list(self, prefix: str, start_after: str = "") -> Iterator[ObjectInfo]:
        self._break(prefix)
        return super().list(prefix, start_after)

    def get(self, key: str) -> Content:
        self.reads += 1
        self._break(key)
        return super().get(key)

    def stat(self, key: str) -> ObjectInfo | None:
        self._break(key)
        return super().stat(key)

    def capacity(self) -> StoreCapacity | None:
        self._break()
        return super().capacity()
