"""Work D: an origin that gives each connection 2 MiB/s. 16 connections beside one.

    python benchmarks/slow_origin.py [--rounds 3] [--size 512] [--single 32] [--aria2] [--json FILE]

One random file of `--size` MiB by 16 connections, one of `--single` MiB by one connection,
because that takes half a second per MiB; speeds are compared, not times. As both take about
as long, the start of the process weighs the same on both sides; it is part of the figures.
nginx sends the first second of each request without waiting, so that a request for a part of
32 MiB takes 15 seconds, not 16: the same for both sides. Medians over alternating rounds.
Promised: at least 15 times one connection.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from mirror import markdown, run, site
from rig import MIB, add_json, hit, measure, nginx, save, workplace

ONE, MANY = "sync-daemon, 1 connection", "sync-daemon, 16 connections"


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of a transfer, and without the start of the process; MiB it moved."""

    mib: int
    seconds: float
    inner: float

    @property
    def rate(self) -> float:
        """MiB per second, the start included."""
        return self.mib / self.seconds

    @property
    def inner_rate(self) -> float:
        """MiB per second without the start."""
        return self.mib / self.inner


def make_file(path: Path, size: int) -> str:
    """Write `size` random bytes and return their digest."""
    hasher = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(size // MIB):
            block = os.urandom(MIB)
            hasher.update(block)
            file.write(block)
    return hasher.hexdigest()


def sync(folder: Path, url: str, path: Path, digest: str, args: argparse.Namespace) -> Took:
    """Mirror one file with as many connections as its name says."""
    transfer = {
        "connections": int(path.stem), "part_size": args.part_size, "memory": args.memory,
    }  # fmt: skip
    model = {"name": "m", "origin": "web", "files": [{"path": path.name, "sha256": digest}]}
    origins = {"web": {"type": "http", "url": url}}
    with site(folder, in_minio=False) as place:
        ran = run(place.daemon({"origins": origins, "models": [model], "transfer": transfer}))
    shutil.rmtree(folder / "store")
    return Took(path.stat().st_size // MIB, ran.seconds, ran.inner_seconds())


def aria2(folder: Path, url: str, path: Path) -> Took:
    """Fetch the file with aria2 and 16 connections, to disk."""
    target = folder / "aria2"
    options = ["-x16", "-s16", "-k1M", "--file-allocation=none", "-q"]
    cost = measure(["aria2c", *options, "-d", str(target), f"{url}/{path.name}"])
    shutil.rmtree(target)
    return Took(path.stat().st_size // MIB, cost.seconds, cost.seconds)


def compete(folder: Path, args: argparse.Namespace) -> dict[str, list[Took]]:
    """Run the rounds; the files are written once."""
    root = folder / "files"
    root.mkdir()
    one, many = root / "1.bin", root / "16.bin"
    digests = {one: make_file(one, args.single * MIB), many: make_file(many, args.size * MIB)}
    results: dict[str, list[Took]] = {}
    with nginx(root, folder, limit_rate="2m") as url:
        chosen: dict[str, Callable[[], Took]] = {
            ONE: lambda: sync(folder, url, one, digests[one], args),
            MANY: lambda: sync(folder, url, many, digests[many], args),
        }
        if args.aria2:
            chosen["aria2c -x16 -s16 -k1M, to disk"] = lambda: aria2(folder, url, many)
        for number in range(args.rounds):
            for name, fetch in chosen.items():
                took = fetch()
                results.setdefault(name, []).append(took)
                print(f"round {number + 1}: {name}: {took.rate:.2f} MiB/s", file=sys.stderr)
    return results


def show(results: dict[str, list[Took]]) -> None:
    """Print the table and the ratios."""
    rows = [
        (
            name,
            all_of[0].mib,
            f"{median(took.rate for took in all_of):.2f}",
            ", ".join(f"{took.rate:.2f}" for took in all_of),
            f"{median(took.inner_rate for took in all_of):.2f}",
        )
        for name, all_of in results.items()
    ]
    print(markdown(("what", "MiB", "MiB/s, median", "rounds", "without the start"), rows))
    pairs = list(zip(results[MANY], results[ONE], strict=True))
    whole = median(many.rate / one.rate for many, one in pairs)
    inner = median(many.inner_rate / one.inner_rate for many, one in pairs)
    print(f"\n16 connections / 1: {whole:.1f}x ({hit(whole, '>= 15')}),", end=" ")
    print(f"without the start of the process {inner:.1f}x")


def main() -> None:
    """Run the rounds and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=512, help="MiB, for 16 connections")
    parser.add_argument("--single", type=int, default=32, help="MiB, for one connection")
    parser.add_argument("--part-size", default="32MiB")
    parser.add_argument("--memory", default="1GiB")
    parser.add_argument("--aria2", action="store_true", help="let aria2c fetch it, too")
    add_json(parser)
    args = parser.parse_args()
    with workplace() as folder:
        results = compete(folder, args)
    show(results)
    raw = {name: [asdict(took) for took in all_of] for name, all_of in results.items()}
    save(args.json, {"contestants": raw})


if __name__ == "__main__":
    main()
