"""Work B: nothing changed. Requests, seconds and memory of a run that finds nothing to move.

    python benchmarks/unchanged.py [--sizes 1000] [--minio]

Each size is a number of repositories with one version each; half are pinned commits, half
follow a branch. The first run of a size fills the store and is not measured. The origin's
requests are counted by the origin itself, the store's are what the report says.
Promised: one origin request per followed repository, none per pin, one store read per version.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from typing import Any

from mirror import Ran, Site, hub_origin, markdown, numbers, run, site
from rig import MIB, workplace

from tests.support.hub import Hub


@dataclass(frozen=True, slots=True)
class Result:
    """What a run over `size` unchanged versions cost. `most`: store requests of the worst."""

    size: int
    seconds: float
    rss: int
    branches: int
    pins: int
    store: int
    most: int


def add_repos(hub: Hub, first: int, last: int) -> list[dict[str, Any]]:
    """Make repositories of one small file and return their entries of mirror.yaml."""
    entries = []
    for number in range(first, last):
        kind = "pin" if number % 2 else "branch"
        repo = hub.repo(f"{kind}/m{number}")
        commit = repo.commit({"config.json": json.dumps({"number": number}).encode()})
        entry: dict[str, Any] = {"name": f"m{number}", "repo": repo.name}
        if kind == "pin":
            entry["versions"] = [{"name": "1.0", "revision": commit}]
        entries.append(entry)
    return entries


def measure(hub: Hub, place: Site, entries: list[dict[str, Any]]) -> Result:
    """Fill the store with what is new, then run again over what is all there."""
    daemon = place.daemon({"origins": hub_origin(hub.endpoint), "models": entries})
    filled = run(daemon)
    print(f"{len(entries)}: filled in {filled.seconds:.1f} s", file=sys.stderr)
    hub.clear()
    again = run(daemon)
    expect_unchanged(again)
    pins = hub.count(path="*/pin/*")
    return Result(
        size=len(entries),
        seconds=again.seconds,
        rss=again.rss,
        branches=hub.count() - pins,
        pins=pins,
        store=again.total("requests", "store"),
        most=max(one["requests"]["store"] for one in again.versions),
    )


def expect_unchanged(ran: Ran) -> None:
    """End the benchmark when anything moved."""
    found = {one["status"] for one in ran.versions}
    if found != {"unchanged"}:
        raise SystemExit(f"not everything was unchanged: {found}")


def show(results: list[Result]) -> None:
    """Print the table and how the cost of one version grows with their number."""
    rows = [
        (
            r.size,
            f"{r.seconds:.2f}",
            f"{r.seconds / r.size * 1000:.2f}",
            f"{r.branches / (r.size - r.size // 2):.2f}",
            r.pins,
            f"{r.store / r.size:.2f} ({r.most})",
            f"{r.rss // MIB} MiB",
        )
        for r in results
    ]
    head = (
        "versions", "seconds", "ms per version", "origin requests per followed repository",
        "for all pins", "store requests per version (most)", "peak RSS",
    )  # fmt: skip
    print(markdown(head, rows))
    first, last = results[0], results[-1]
    if first is not last:
        more = last.size / first.size
        longer = last.seconds / first.seconds
        print(f"\n{more:.1f} times the versions: {longer:.1f}x the seconds")


def main() -> None:
    """Measure each size; a larger one keeps what the smaller one stored."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=numbers, default=(1000,))
    parser.add_argument("--minio", action="store_true", help="into MinIO, not a directory")
    args = parser.parse_args()
    entries: list[dict[str, Any]] = []
    results = []
    with workplace() as folder, Hub() as hub, site(folder, in_minio=args.minio) as place:
        for size in sorted(args.sizes):
            entries += add_repos(hub, len(entries), size)
            results.append(measure(hub, place, entries))
    show(results)


if __name__ == "__main__":
    main()
