"""What was asked for last, kept in memory as far as its room goes.

What was used least lately goes first. There is no lock: where threads share one, they hold one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Values by key, which `room` and `cost` measure alike. `fewest` stay whatever they cost."""

    def __init__(self, room: int, cost: Callable[[K, V], int], *, fewest: int = 0) -> None:
        self._room = room
        self._cost = cost
        self._fewest = fewest
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._held = 0

    def get(self, key: K) -> V | None:
        """Return what is kept, which then counts as just used; or None."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: K, value: V) -> None:
        """Keep a value, in the place of what the key had."""
        former = self._kept.pop(key, None)
        if former is not None:
            self._held -= self._cost(key, former)
        self._kept[key] = value
        self._held += self._cost(key, value)
        while self._held > self._room and len(self._kept) > self._fewest:
            self._held -= self._cost(*self._kept.popitem(last=False))

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._held = 0
