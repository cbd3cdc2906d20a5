"""Work E: the peak RSS is the same whatever the size of the file.

    python benchmarks/memory.py [--sizes 4,16] [--memory 128MiB] [--part-size 8MiB]

One made-up file of each size (GiB) comes from the tests' double of the Hub and goes into a
store that forgets what it is given, so that no disk and no page cache is measured. The engine
runs in a process of its own. Promised: flat within 10 %.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from mirror import Discarding, apart, hub_origin, markdown, numbers, peak_rss, sync_into
from rig import MIB

from tests.support.hub import Hub, Synthetic

GIB = 1024**3


def transfer(document: dict[str, Any]) -> tuple[int, int]:
    """Run once; return the resident size before and the peak, in bytes."""
    before = peak_rss()
    sync_into(Discarding(), document, lambda _: None)
    return before, peak_rss()


def measure(size: int, args: argparse.Namespace) -> tuple[int, int, float]:
    """Mirror a file of `size` GiB; return RSS before and at its peak, and the seconds."""
    with Hub() as hub:
        content = Synthetic(size * GIB, seed=size)
        print(f"{size} GiB: {content.sha256}", file=sys.stderr)
        repo = hub.repo("org/m")
        repo.commit({"model.bin": content})
        document = {
            "origins": hub_origin(hub.endpoint),
            "models": [{"name": "m", "repo": repo.name}],
            "transfer": {"memory": args.memory, "part_size": args.part_size},
        }
        began = time.monotonic()
        before, peak = apart(transfer, document)
        return before, peak, time.monotonic() - began


def main() -> None:
    """Measure each size and print how flat the peaks are."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=numbers, default=(4, 16), help="GiB")
    parser.add_argument("--memory", default="128MiB")
    parser.add_argument("--part-size", default="8MiB")
    args = parser.parse_args()
    found = {size: measure(size, args) for size in args.sizes}
    rows = [
        (f"{size} GiB", f"{before / MIB:.0f} MiB", f"{peak / MIB:.0f} MiB", f"{seconds:.0f}")
        for size, (before, peak, seconds) in found.items()
    ]
    print(markdown((f"file, at {args.memory}", "RSS before", "peak RSS", "seconds"), rows))
    peaks = [peak for _, peak, _ in found.values()]
    print(f"\nlargest peak / smallest: {max(peaks) / min(peaks):.3f}x")


if __name__ == "__main__":
    main()
