"""Work C: one shard of many changed. The bytes moved are that shard, to the byte.

    python benchmarks/changed.py [--shards 8,32,128] [--shard-size 4] [--minio] [--json FILE]

The first commit is mirrored, then a second one with one other shard. Bytes and requests of
the second run are counted by the origin itself, the store's requests are what the report says.
Promised: requests grow with what changed, not with what exists.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

from mirror import Site, hub_origin, markdown, numbers, run, site
from rig import MIB, add_json, save, workplace

from tests.support.hub import Hub, Synthetic


@dataclass(frozen=True, slots=True)
class Result:
    """What the second run moved; sizes in bytes."""

    shards: int
    shard: int
    sent: int
    fetched: int
    first_requests: int
    requests: int
    store: int
    seconds: float


def measure(place: Site, count: int, size: int) -> Result:
    """Mirror a model of `count` shards, change one, mirror again."""
    names = [f"model-{number:05}-of-{count:05}.safetensors" for number in range(count)]
    with Hub() as hub:
        repo = hub.repo(f"org/m{count}")
        content = {name: Synthetic(size, seed=1000 * count + n) for n, name in enumerate(names)}
        repo.commit(content)
        models = [{"name": f"m{count}", "repo": repo.name}]
        daemon = place.daemon({"origins": hub_origin(hub.endpoint), "models": models})
        first = run(daemon)
        if first.total("bytes", "fetched") != count * size:
            raise SystemExit(f"the first run fetched {first.total('bytes', 'fetched')} bytes")
        first_requests = hub.count()
        hub.clear()
        repo.commit({names[count // 2]: Synthetic(size, seed=1000 * count + count)})
        second = run(daemon)
        return Result(
            shards=count,
            shard=size,
            sent=hub.bytes_sent("cdn"),
            fetched=second.total("bytes", "fetched"),
            first_requests=first_requests,
            requests=hub.count(),
            store=second.total("requests", "store"),
            seconds=second.seconds,
        )


def show(results: list[Result], where: str) -> None:
    """Print the table and the ratio of bytes moved to bytes changed."""
    rows = [
        (
            f"1 of {r.shards}",
            f"{r.fetched:,}",
            f"{r.fetched - r.shard:+,}",
            r.first_requests,
            r.requests,
            r.store,
            f"{r.seconds:.2f}",
        )
        for r in results
    ]
    head = (
        f"changed ({where})", "bytes fetched", "more than the shard",
        "origin requests of the first run", "of the second", "store requests of the second",
        "seconds",
    )  # fmt: skip
    print(markdown(head, rows))
    moved = max(max(r.fetched, r.sent) / r.shard for r in results)
    print(f"\nbytes moved / bytes changed, at most: {moved:.4f}x")


def measure_all(folder: Path, args: argparse.Namespace) -> list[Result]:
    """Measure each number of shards in one store."""
    with site(folder, in_minio=args.minio) as place:
        return [measure(place, count, args.shard_size * MIB) for count in args.shards]


def main() -> None:
    """Print what each number of shards costs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shards", type=numbers, default=(8, 32, 128))
    parser.add_argument("--shard-size", type=int, default=4, help="MiB")
    parser.add_argument("--minio", action="store_true", help="into MinIO, not a directory")
    add_json(parser)
    args = parser.parse_args()
    with workplace() as folder:
        results = measure_all(folder, args)
    show(results, "MinIO" if args.minio else "directory")
    save(args.json, {"minio": args.minio, "shards": [asdict(result) for result in results]})


if __name__ == "__main__":
    main()
