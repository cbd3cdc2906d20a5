"""Work D: an origin that gives each connection 2 MiB/s. 16 connections beside one.

    python benchmarks/slow_origin.py [--size 512] [--single 32] [--part-size 32MiB] [--aria2]

One random file of `--size` MiB by 16 connections, one of `--single` MiB by one connection,
because that takes half a second per MiB; speeds are compared, not times. nginx sends the
first second of each request without waiting, so that a request for a part of 32 MiB takes 15
seconds, not 16: the same for both sides. Promised: at least 15 times one connection.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
from pathlib import Path

from mirror import markdown, run, site
from rig import MIB, measure, nginx, workplace

Row = tuple[str, int, float, float]


def make_file(path: Path, size: int) -> str:
    """Write `size` random bytes and return their digest."""
    hasher = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(size // MIB):
            block = os.urandom(MIB)
            hasher.update(block)
            file.write(block)
    return hasher.hexdigest()


def sync(folder: Path, url: str, path: Path, args: argparse.Namespace, connections: int) -> Row:
    """Mirror one file; return what, MiB, seconds in all and without the start of the process."""
    digest = make_file(path, (args.single if connections == 1 else args.size) * MIB)
    size = path.stat().st_size // MIB
    transfer = {
        "connections": connections, "part_size": args.part_size, "memory": args.memory,
    }  # fmt: skip
    model = {"name": "m", "origin": "web", "files": [{"path": path.name, "sha256": digest}]}
    origins = {"web": {"type": "http", "url": url}}
    with site(folder, in_minio=False) as place:
        ran = run(place.daemon({"origins": origins, "models": [model], "transfer": transfer}))
    shutil.rmtree(folder / "store")
    what = f"sync-daemon, {connections} connection{'s' if connections > 1 else ''}"
    return what, size, ran.seconds, ran.inner_seconds()


def aria2(folder: Path, url: str, path: Path) -> Row:
    """Fetch the file with aria2 and 16 connections, to disk."""
    target = folder / "aria2"
    options = ["-x16", "-s16", "-k1M", "--file-allocation=none", "-q"]
    cost = measure(["aria2c", *options, "-d", str(target), f"{url}/{path.name}"])
    shutil.rmtree(target)
    return "aria2c -x16 -s16 -k1M, to disk", path.stat().st_size // MIB, cost.seconds, cost.seconds


def main() -> None:
    """Run each side once: the origin's limit makes the figures steady."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=512, help="MiB, for 16 connections")
    parser.add_argument("--single", type=int, default=32, help="MiB, for one connection")
    parser.add_argument("--part-size", default="32MiB")
    parser.add_argument("--memory", default="1GiB")
    parser.add_argument("--aria2", action="store_true", help="let aria2c fetch it, too")
    args = parser.parse_args()
    with workplace() as folder:
        root = folder / "files"
        root.mkdir()
        path = root / "model.bin"
        with nginx(root, folder, limit_rate="2m") as url:
            one = sync(folder, url, path, args, 1)
            many = sync(folder, url, path, args, 16)
            rows = [one, many, *([aria2(folder, url, path)] if args.aria2 else [])]
    head = ("what", "MiB", "seconds", "without the start", "MiB/s", "MiB/s without the start")
    print(
        markdown(
            head,
            [(w, m, f"{s:.1f}", f"{i:.1f}", f"{m / s:.2f}", f"{m / i:.2f}") for w, m, s, i in rows],
        )
    )
    whole = (many[1] / many[2]) / (one[1] / one[2])
    inner = (many[1] / many[3]) / (one[1] / one[3])
    print(f"\n16 connections / 1: {whole:.1f}x, without the start of the process {inner:.1f}x")


if __name__ == "__main__":
    main()
