"""How large the parts of an upload are, and whether it can be done at all: pure.

S3 numbers at most 10,000 parts, and a file of several parts needs four of them in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from sync_daemon.domain.names import RepoPath

MIB = 1024**2

LEAST_PIECE = 4 * 1024**2
"""Bytes of a range below which asking for it costs too much beside it."""

MAX_PARTS = 10_000
"""Parts of one upload, by S3."""

AT_ONCE = 4
"""Parts of one file that memory must hold."""


def part_size(size: int, least: int, max_parts: int = MAX_PARTS) -> int:
    """Return `least`, or as many whole MiB more as a file of `size` bytes needs."""
    needed = -(-size // max_parts)
    return least if needed <= least else -(-needed // MIB) * MIB


def memory_needed(size: int, least: int, max_parts: int = MAX_PARTS) -> int:
    """Return the bytes of memory that an upload of `size` bytes takes; one part is no upload."""
    return size if size <= least else AT_ONCE * part_size(size, least, max_parts)


def explain_memory(size: int, needed: int) -> tuple[str, str]:
    """Say why a file is too large for the memory, and what to do."""
    message = (
        f"a file of {size} bytes needs parts of {needed // AT_ONCE // MIB} MiB, four at a time"
    )
    return message, f"set transfer.memory to {needed // MIB}MiB"


def find_too_large(
    files: Mapping[RepoPath, int], least: int, memory: int, max_parts: int = MAX_PARTS
) -> tuple[str, ...]:
    """Return a reason for each of the files (path and bytes) that `memory` cannot move."""
    reasons = []
    for path, size in sorted(files.items()):
        needed = memory_needed(size, least, max_parts)
        if needed > memory:
            message, hint = explain_memory(size, needed)
            reasons.append(f"{path}: {message}; {hint}")
    return tuple(reasons)


def find_outlasting(
    files: Mapping[RepoPath, int], least: int, rate: float, life: timedelta
) -> tuple[RepoPath, ...]:
    """Return the paths of uploads that take longer than the store lets them live.

    `rate` is in bytes per second, all of it for one file: whoever shares it takes longer.
    """
    seconds = life.total_seconds()
    return tuple(
        path for path, size in sorted(files.items()) if size > least and size >= rate * seconds
    )


def piece_size(part: int) -> int:
    """Return the bytes that are asked for at once from a slow origin: a quarter of a part."""
    return min(part, max(LEAST_PIECE, part // 4))


def count_ranges(size: int, part: int) -> int:
    """Return how many requests a slow origin gets for a file of `size` bytes."""
    if size <= part:
        return 1
    piece = piece_size(part)
    whole, rest = divmod(size, part)
    return whole * -(-part // piece) + -(-rest // piece)
