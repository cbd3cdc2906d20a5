"""SHA-256 whose state can be kept, beside hashlib, on one thread and on four.

    python benchmarks/hashing.py [--rounds 5] [--size 512] [--slice 512]

Each thread hashes `--size` MiB out of a buffer of 32 MiB in slices of `--slice` KiB, as the
engine does. Rounds alternate; ratios are medians over the rounds of this run.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import time
from collections.abc import Callable
from statistics import median
from threading import Thread
from typing import Protocol

from mirror import markdown
from rig import MIB

from sync_daemon.engine.sha256 import new_sha256

BUFFER = 32 * MIB


class Hash(Protocol):
    """What is compared."""

    def update(self, data: memoryview, /) -> None: ...


def hash_all(new: Callable[[], Hash], view: memoryview, size: int, step: int) -> None:
    """Hash `size` bytes out of `view`, again and again from its front."""
    hasher = new()
    for at in range(0, size, step):
        start = at % BUFFER
        hasher.update(view[start : start + step])


def measure(new: Callable[[], Hash], threads: int, size: int, step: int) -> float:
    """Return bytes per second of all threads together, each with a buffer of its own."""
    views = [memoryview(bytearray(os.urandom(MIB) * (BUFFER // MIB))) for _ in range(threads)]
    work = [Thread(target=hash_all, args=(new, view, size, step)) for view in views]
    began = time.monotonic()
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    return threads * size / (time.monotonic() - began)


def main() -> None:
    """Run the rounds and print the table and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=512, help="MiB per thread")
    parser.add_argument("--slice", type=int, default=512, help="KiB per update")
    args = parser.parse_args()
    contestants: dict[str, Callable[[], Hash]] = {
        "sync-daemon": new_sha256,
        "hashlib": hashlib.sha256,
    }
    found: dict[tuple[str, int], list[float]] = {}
    for _ in range(args.rounds):
        for threads in (1, 4):
            for name, new in contestants.items():
                rate = measure(new, threads, args.size * MIB, args.slice * 1024)
                found.setdefault((name, threads), []).append(rate)
    rows = [
        (name, threads, f"{median(rates) / MIB:.0f}", ", ".join(f"{r / MIB:.0f}" for r in rates))
        for (name, threads), rates in found.items()
    ]
    print(markdown(("what", "threads", "MiB/s, median", "rounds"), rows))
    for threads in (1, 4):
        pairs = zip(found["sync-daemon", threads], found["hashlib", threads], strict=True)
        ratio = median(ours / theirs for ours, theirs in pairs)
        print(f"\nsync-daemon / hashlib, {threads} threads: {ratio:.2f}x")


if __name__ == "__main__":
    main()
