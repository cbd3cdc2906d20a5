"""Work B: nothing changed. Requests, seconds and memory of a run that finds nothing to move.

    python benchmarks/unchanged.py [--sizes 1000,3000,10000] [--minio] [--json FILE]

Each size is a number of repositories with one version each; half are pinned commits, half
follow a branch. The first run of a size stores what the smaller sizes have not; only its
seconds are told. The origin's requests are counted by the origin itself, the store's are what
the report says.
Promised: one origin request per followed repository, none per pin, one store read per version.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from mirror import Ran, Site, hub_origin, markdown, numbers, run, site
from rig import MIB, add_json, hit, save, workplace

from tests.support.hub import Hub, Repo


@dataclass(frozen=True, slots=True)
class Result:
    """What a run over `size` unchanged versions cost. `most`: store requests of the worst.

    `filled`: seconds of the run before, which stored `new` of them.
    """

    size: int
    new: int
    filled: float
    seconds: float
    rss: int
    branches: int
    pins: int
    store: int
    most: int


class LargeHub(Hub):
    """The double with an index of its repositories: it searches them one by one otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self._by_name: dict[tuple[str, str], Repo] = {}

    def add(self, name: str) -> Repo:
        """Make a model's repository."""
        made = self._by_name["model", name] = Repo(name, "model", license="apache-2.0")
        return made

    def find_repo(self, kind: str, name: str) -> Repo | None:
        return self._by_name.get((kind, name))


def add_repos(hub: LargeHub, first: int, last: int) -> list[dict[str, Any]]:
    """Make repositories of one small file and return their entries of mirror.yaml."""
    entries = []
    for number in range(first, last):
        kind = "pin" if number % 2 else "branch"
        repo = hub.add(f"{kind}/m{number}")
        commit = repo.commit({"config.json": json.dumps({"number": number}).encode()})
        entry: dict[str, Any] = {"name": f"m{number}", "repo": repo.name}
        if kind == "pin":
            entry["versions"] = [{"name": "1.0", "revision": commit}]
        entries.append(entry)
    return entries


def measure(hub: Hub, place: Site, entries: list[dict[str, Any]], new: int) -> Result:
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
        new=new,
        filled=filled.seconds,
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
            f"{r.filled:.1f} ({r.new})",
        )
        for r in results
    ]
    head = (
        "versions", "seconds", "ms per version", "origin requests per followed repository",
        "for all pins", "store requests per version (most)", "peak RSS",
        "seconds to store the new ones (how many)",
    )  # fmt: skip
    print(markdown(head, rows))
    steps = list(pairwise(results))
    each = [(b.seconds - a.seconds) / (b.size - a.size) * 1000 for a, b in steps]
    for (smaller, larger), cost in zip(steps, each, strict=True):
        print(f"\n{smaller.size} to {larger.size}: {cost:.2f} ms for each version more")
    if len(each) > 1:
        growth = each[-1] / each[0]
        print(f"\nlast / first, 1 is linear: {growth:.2f}x ({hit(growth, '<= 1.25')})")


def main() -> None:
    """Measure each size; a larger one keeps what the smaller one stored."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=numbers, default=(1000, 3000, 10000))
    parser.add_argument("--minio", action="store_true", help="into MinIO, not a directory")
    add_json(parser)
    args = parser.parse_args()
    entries: list[dict[str, Any]] = []
    results = []
    with workplace() as folder, LargeHub() as hub, site(folder, in_minio=args.minio) as place:
        for size in sorted(args.sizes):
            before = len(entries)
            entries += add_repos(hub, before, size)
            results.append(measure(hub, place, entries, size - before))
    show(results)
    save(args.json, {"minio": args.minio, "sizes": [asdict(result) for result in results]})


if __name__ == "__main__":
    main()
