"""SHA-256 whose state can be kept, beside hashlib, and how many cores hashing uses.

    python benchmarks/hashing.py [--rounds 5] [--size 512] [--slice 512] [--file 1024] [--json FILE]

Each thread hashes `--size` MiB out of a buffer of 32 MiB in slices of `--slice` KiB, as the
engine does; rounds alternate, ratios are medians over the rounds of this run. Then the whole
engine mirrors four files of `--file` MiB, and one, out of memory into a store that forgets
them, so that it does little besides hashing: with four files it is to use more than one core.
Cores are CPU seconds of the process by seconds on the clock.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import repeat
from statistics import median
from threading import Thread
from typing import Any, Protocol, Self

from mirror import Discarding, apart, markdown, sync_into
from rig import MIB, add_json, hit, save

from sync_daemon.domain.digests import CommitId, Digest
from sync_daemon.domain.listing import Listing, RawFile, RemoteFile, Repository
from sync_daemon.engine.sha256 import new_sha256
from tests.support.fakes import BytesReader, FakeOrigin

BUFFER = 32 * MIB
OURS, HASHLIB, ENGINE = "sync-daemon", "hashlib", "sync-daemon, the whole engine"


class Hash(Protocol):
    """What is compared."""

    def update(self, data: memoryview, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Speed:
    """Bytes per second of all threads together, and how many cores they used."""

    rate: float
    cores: float


@dataclass(slots=True)
class Watch:
    """Takes the speed of a block that handles `size` bytes."""

    size: int
    clock: float = 0.0
    cpu: float = 0.0

    def __enter__(self) -> Self:
        self.clock, self.cpu = time.monotonic(), time.process_time()
        return self

    def __exit__(self, *exc: object) -> None:
        self.clock = time.monotonic() - self.clock
        self.cpu = time.process_time() - self.cpu

    def speed(self) -> Speed:
        """Return what was measured, after the block."""
        return Speed(self.size / self.clock, self.cpu / self.clock)


def hash_all(new: Callable[[], Hash], view: memoryview, size: int, step: int) -> None:
    """Hash `size` bytes out of `view`, again and again from its front."""
    hasher = new()
    for at in range(0, size, step):
        start = at % BUFFER
        hasher.update(view[start : start + step])


def measure(new: Callable[[], Hash], threads: int, size: int, step: int) -> Speed:
    """Hash in some threads at once, each with a buffer of its own."""
    views = [memoryview(bytearray(os.urandom(MIB) * (BUFFER // MIB))) for _ in range(threads)]
    work = [Thread(target=hash_all, args=(new, view, size, step)) for view in views]
    with Watch(threads * size) as watch:
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()
    return watch.speed()


class MemoryOrigin(FakeOrigin):
    """A repository of files that are one block of 1 MiB again and again: reading is copying."""

    def __init__(self, files: int, blocks: int) -> None:
        super().__init__()
        self._size = blocks * MIB
        self._blocks = {f"{number}.bin": os.urandom(MIB) for number in range(files)}
        self._digests = {path: hash_blocks(block, blocks) for path, block in self._blocks.items()}
        self.commit("org/m", {})

    def list(self, repository: Repository, commit: CommitId) -> Listing:
        """List the files with the digests that the engine is to find."""
        del repository
        files = (RawFile(path, self._size, digest) for path, digest in self._digests.items())
        return Listing(commit, tuple(files), "apache-2.0")

    def open(
        self, repository: Repository, commit: CommitId, file: RemoteFile, start: int, stop: int
    ) -> BytesReader:
        """Read a part; parts begin and end with a block."""
        del repository, commit
        return BlockReader(self._blocks[str(file.path)], stop - start)


class BlockReader(BytesReader):
    """Reads one block again and again."""

    def __init__(self, block: bytes, size: int) -> None:
        super().__init__(b"")
        self._block, self._size, self._at = memoryview(block), size, 0

    def readinto(self, buffer: memoryview, /) -> int:
        """Copy up to the end of a block, or of the part."""
        place = self._at % MIB
        count = min(len(buffer), MIB - place, self._size - self._at)
        buffer[:count] = self._block[place : place + count]
        self._at += count
        return count


def hash_blocks(block: bytes, count: int) -> Digest:
    """Return the digest of a block that is repeated."""
    hasher = hashlib.sha256()
    for each in repeat(block, count):
        hasher.update(each)
    return Digest(hasher.hexdigest())


def mirror(files: int, blocks: int) -> Speed:
    """Let the engine mirror some files at once; return its speed, the start left out."""
    origin = MemoryOrigin(files, blocks)
    document: Mapping[str, Any] = {
        "origins": {"hf": {"type": "huggingface"}},
        "models": [{"name": "m", "repo": "org/m"}],
    }
    with Watch(files * blocks * MIB) as watch:
        sync_into(Discarding(), document, lambda _: None, {"hf": origin})
    return watch.speed()


def compete(args: argparse.Namespace) -> dict[tuple[str, int], list[Speed]]:
    """Run the rounds of threads, and of the engine with as many files at once."""
    contestants: dict[str, Callable[[], Hash]] = {OURS: new_sha256, HASHLIB: hashlib.sha256}
    found: dict[tuple[str, int], list[Speed]] = {}
    for _ in range(args.rounds):
        for count in (1, 4):
            for name, new in contestants.items():
                speed = measure(new, count, args.size * MIB, args.slice * 1024)
                found.setdefault((name, count), []).append(speed)
            found.setdefault((ENGINE, count), []).append(apart(mirror, count, args.file))
    return found


def judge(found: Mapping[tuple[str, int], list[Speed]]) -> None:
    """Print the ratios, and how many cores are used."""

    def ratio(ours: tuple[str, int], theirs: tuple[str, int]) -> float:
        pairs = zip(found[ours], found[theirs], strict=True)
        return median(our.rate / their.rate for our, their in pairs)

    for count in (1, 4):
        both = ratio((OURS, count), (HASHLIB, count))
        print(f"\nsync-daemon / hashlib, {count} at once: {both:.2f}x")
    threads = median(speed.cores for speed in found[OURS, 4])
    print(f"\ncores used by 4 threads: {threads:.2f} of {os.cpu_count()}")
    engine = median(speed.cores for speed in found[ENGINE, 4])
    verdict = hit(engine, "> 1")
    print(f"\ncores used by the engine with 4 files: {engine:.2f} of {os.cpu_count()} ({verdict})")
    hashing = ratio((ENGINE, 4), (HASHLIB, 1))
    print(f"\nengine with 4 files / one thread of hashlib: {hashing:.2f}x")


def main() -> None:
    """Run the rounds and print the table and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=512, help="MiB per thread")
    parser.add_argument("--slice", type=int, default=512, help="KiB per update")
    parser.add_argument("--file", type=int, default=1024, help="MiB per file of the engine")
    add_json(parser)
    args = parser.parse_args()
    found = compete(args)
    rows = [
        (
            name,
            count,
            f"{median(speed.rate for speed in speeds) / MIB:.0f}",
            ", ".join(f"{speed.rate / MIB:.0f}" for speed in speeds),
            f"{median(speed.cores for speed in speeds):.2f}",
        )
        for (name, count), speeds in found.items()
    ]
    print(markdown(("what", "at once", "MiB/s, median", "rounds", "cores used"), rows))
    judge(found)
    raw = {
        f"{name}, {count}": [asdict(one) for one in each] for (name, count), each in found.items()
    }
    save(args.json, {"contestants": raw})


if __name__ == "__main__":
    main()
