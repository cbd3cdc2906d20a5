"""Memory for bytes in flight: one budget for all transfers, whatever the files' sizes.

Buffers of a size that was used before are reused, because a fresh one costs a page fault
for each 4 KiB (a tenth of the whole transfer). Not thread-safe by itself: the transfer's
own lock guards it.
"""

from __future__ import annotations

import mmap

Buffer = bytearray | mmap.mmap

_MAPPED = 1024**2
"""Bytes from which a buffer is mapped: a bytearray is filled with zeros at once, while the
lock of the transfer and that of the interpreter are held."""


class Buffers:
    """Hands out buffers of at most `memory` bytes together."""

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._taken = 0
        self._idle: dict[int, list[Buffer]] = {}
        self._idle_bytes = 0

    def fits(self, size: int) -> bool:
        """Tell whether `size` bytes can be taken; one buffer always can."""
        return self._taken + size <= self._memory or self._taken == 0

    def take(self, size: int) -> Buffer:
        """Take a buffer of exactly `size` bytes; call `fits` before."""
        self._taken += size
        if idle := self._idle.get(size):
            self._idle_bytes -= size
            return idle.pop()
        self._shed(self._taken + self._idle_bytes - self._memory)
        if size < _MAPPED:
            return bytearray(size)
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

    def give(self, buffer: Buffer, *, keep: bool) -> None:
        """Give a buffer back; with `keep` it is reused, else its memory is freed."""
        size = len(buffer)
        self._taken -= size
        if keep:
            self._idle.setdefault(size, []).append(buffer)
            self._idle_bytes += size

    def _shed(self, excess: int) -> None:
        for size in sorted(self._idle, reverse=True):
            while excess > 0 and self._idle[size]:
                self._idle[size].pop()
                self._idle_bytes -= size
                excess -= size
