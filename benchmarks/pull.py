"""`sync-daemon pull` beside `hf download` and aria2c, from a fast origin and from a slow one.

    python benchmarks/pull.py [--rounds 3] [--size 1024] [--slow-size 256] [--json FILE]

One repository of `--shards` files, served by nginx with the few static answers of the Hub's API
that the clients ask for. The slow origin gives each connection 2 MiB/s; all may use 16 of them.
Each run begins with empty folders and an empty cache, on disk, and with memory that was in use
just before (rig.touch_pages): otherwise the one after the slowest pays for all. pull proves every
file by SHA-256; `hf download` does not; aria2c does when it is told the digests, so it runs both
ways.
Aim: no slower than the best of the others, and verified.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rig import (
    MIB,
    Cost,
    add_json,
    hit,
    measure,
    nginx_with,
    ratio,
    save,
    table,
    touch_pages,
    workplace,
)
from slow_origin import make_file

COMMIT = "5" * 40
REPO = "org/bench"
OURS = "sync-daemon pull (verified)"
ARIA2, ARIA2_PROVEN = "aria2c -x16 -s16", "aria2c -x16 -s16, verified"
HF = "hf download"


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of the repository."""

    name: str
    size: int
    sha256: str


def make_repo(root: Path, size: int, shards: int) -> tuple[Shard, ...]:
    """Write the files and the answers of the API."""
    root.mkdir()
    made = []
    for number in range(shards):
        name = f"model-{number:05}.safetensors"
        length = size // shards
        made.append(Shard(name, length, make_file(root / name, length)))
    siblings = [{"rfilename": shard.name} for shard in made]
    info = {"id": REPO, "sha": COMMIT, "siblings": siblings, "tags": [], "private": False}
    tree = [
        {
            "type": "file", "path": one.name, "size": one.size, "oid": one.sha256[:40],
            "lfs": {"oid": one.sha256, "size": one.size, "pointerSize": 134},
        }
        for one in made
    ]  # fmt: skip
    (root / "info.json").write_text(json.dumps(info))
    (root / "tree.json").write_text(json.dumps(tree))
    return tuple(made)


@contextmanager
def hub(root: Path, folder: Path, shards: tuple[Shard, ...], limit_rate: str) -> Iterator[str]:
    """Serve the repository as a Hub would, and yield its URL."""
    api = f"/api/models/{REPO}"
    answers = {
        api: "info.json",
        f"{api}/revision/main": "info.json",
        f"{api}/revision/{COMMIT}": "info.json",
        f"{api}/tree/{COMMIT}": "tree.json",
    }
    places = [
        f"location = {path} {{ default_type application/json; alias {root}/{name}; }}"
        for path, name in answers.items()
    ]
    places += [
        f"location = /{REPO}/resolve/{COMMIT}/{one.name} {{ alias {root}/{one.name};"
        f" limit_rate {limit_rate}; add_header X-Repo-Commit {COMMIT};"
        f" add_header X-Linked-Etag '\"{one.sha256}\"'; add_header X-Linked-Size {one.size}; }}"
        for one in shards
    ]
    with nginx_with(" ".join(places), root, folder) as url:
        yield url


def contestants(
    folder: Path, url: str, shards: tuple[Shard, ...]
) -> Mapping[str, Callable[[], Cost]]:
    """Return what each of them runs; its folders are new each time."""
    place = folder / "got"
    bin_of = Path(sys.executable).parent

    def ours() -> Cost:
        command = [str(bin_of / "sync-daemon"), "pull", REPO, "--output", str(place / "out")]
        return measure([*command, "--mirror", url, "--cache", str(place / "cache")])

    def hf() -> Cost:
        command = [str(bin_of / "hf"), "download", REPO, "--local-dir", str(place / "out")]
        env = {"HF_HOME": str(place / "home"), "HF_ENDPOINT": url}
        return measure(command, HF_HUB_DISABLE_XET="1", HF_HUB_DISABLE_UPDATE_CHECK="1", **env)

    def aria2(*, proven: bool) -> Cost:
        listing = folder / "aria2.txt"
        listing.write_text(
            "".join(
                f"{url}/{REPO}/resolve/{COMMIT}/{one.name}\n out={one.name}\n"
                + (f" checksum=sha-256={one.sha256}\n" if proven else "")
                for one in shards
            )
        )
        options = ["-x16", "-s16", "-k1M", "-j1", "--file-allocation=none", "-q"]
        return measure(["aria2c", *options, "-i", str(listing), "-d", str(place / "out")])

    runs = {
        OURS: ours,
        HF: hf,
        ARIA2: lambda: aria2(proven=False),
        ARIA2_PROVEN: lambda: aria2(proven=True),
    }

    def fresh(run: Callable[[], Cost]) -> Callable[[], Cost]:
        def begin() -> Cost:
            touch_pages(folder, 2 * sum(one.size for one in shards))
            place.mkdir()
            try:
                return run()
            finally:
                shutil.rmtree(place)

        return begin

    return {name: fresh(run) for name, run in runs.items()}


def compete(size: int, limit_rate: str, args: argparse.Namespace) -> dict[str, list[Cost]]:
    """Run the rounds for one origin, all contestants in turn."""
    results: dict[str, list[Cost]] = {}
    with workplace() as folder:
        shards = make_repo(folder / "files", size, args.shards)
        with hub(folder / "files", folder, shards, limit_rate) as url:
            for number in range(args.rounds):
                runs = list(contestants(folder, url, shards).items())
                for name, run in runs if number % 2 else reversed(runs):
                    cost = run()
                    results.setdefault(name, []).append(cost)
                    print(f"round {number + 1}: {name}: {cost.seconds:.2f} s", file=sys.stderr)
    return results


def main() -> None:
    """Run the rounds and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=1024, help="MiB, from the fast origin")
    parser.add_argument("--slow-size", type=int, default=256, help="MiB, from the slow one")
    parser.add_argument("--shards", type=int, default=2)
    add_json(parser)
    args = parser.parse_args()
    raw = {}
    for title, size, limit in (("fast", args.size, "0"), ("2 MiB/s", args.slow_size, "2m")):
        if not size:
            continue
        results = compete(size * MIB, limit, args)
        print(f"\n### {title} a connection\n\n{table(results, size * MIB)}\n")
        for other in (HF, ARIA2, ARIA2_PROVEN):
            gain = ratio(results, OURS, other)
            print(f"pull / {other}: {gain:.2f}x ({hit(gain, '>= 1.0')})")
        raw[title] = {name: [asdict(cost) for cost in costs] for name, costs in results.items()}
    save(args.json, raw)


if __name__ == "__main__":
    main()
