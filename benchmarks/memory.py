"""Work E: the peak RSS is the same whatever the size of the file.

    python benchmarks/memory.py [--sizes 4,16,64] [--memory 128MiB] [--json FILE]

One made-up file of each size (GiB) comes from the tests' double of the Hub and goes into a
store that forgets what it is given, so that no disk and no page cache is measured. The engine
runs in a process of its own. The digests of the usual sizes are written down here, because
to hash 64 GiB for them takes as long as to mirror them. Promised: flat within 10 %.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

from mirror import Discarding, apart, hub_origin, markdown, numbers, peak_rss, sync_into
from rig import MIB, add_json, hit, save

from tests.support.hub import Hub, Synthetic

GIB = 1024**3
DIGESTS = {
    1: "8a6c16353e905f01c78e45200019807841c9d1a820543a084935e4ba731e749b",
    4: "315cf95e98c2b5e4552af8ec94c6a58c7e129611e195a423972110193c955ea1",
    16: "d91647c60d93cf1c7c1ae10553dfa2c107127f065f68b239d05f9712a99c2638",
    64: "a1d92dac37f494b7c9e7eb2b0375b74fefabc15502e09907eee6a922b9824902",
}


@dataclass(frozen=True)
class Known(Synthetic):
    """Made-up content whose digest need not be computed; the engine proves it anyway."""

    @property
    def sha256(self) -> str:
        return DIGESTS.get(self.size // GIB) or super().sha256


def transfer(document: dict[str, Any]) -> tuple[int, int]:
    """Run once; return the resident size before and the peak, in bytes."""
    before = peak_rss()
    sync_into(Discarding(), document, lambda _: None)
    return before, peak_rss()


def measure(size: int, args: argparse.Namespace) -> tuple[int, int, float]:
    """Mirror a file of `size` GiB; return RSS before and at its peak, and the seconds."""
    with Hub() as hub:
        repo = hub.repo("org/m")
        repo.commit({"model.bin": Known(size * GIB)})
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
    parser.add_argument("--sizes", type=numbers, default=(4, 16, 64), help="GiB")
    parser.add_argument("--memory", default="128MiB")
    parser.add_argument("--part-size", default="8MiB")
    add_json(parser)
    args = parser.parse_args()
    found = {size: measure(size, args) for size in args.sizes}
    rows = [
        (
            f"{size} GiB",
            f"{before / MIB:.0f} MiB",
            f"{peak / MIB:.0f} MiB",
            f"{seconds:.0f}",
            f"{size / seconds:.2f}",
        )
        for size, (before, peak, seconds) in found.items()
    ]
    print(markdown((f"file, at {args.memory}", "RSS before", "peak RSS", "seconds", "GiB/s"), rows))
    peaks = [peak for _, peak, _ in found.values()]
    flat = max(peaks) / min(peaks)
    print(f"\nlargest peak / smallest: {flat:.3f}x ({hit(flat, '<= 1.1')})")
    names = ("before", "peak", "seconds")
    sizes = {size: dict(zip(names, each, strict=True)) for size, each in found.items()}
    save(args.json, {"memory": args.memory, "part_size": args.part_size, "sizes": sizes})


if __name__ == "__main__":
    main()
