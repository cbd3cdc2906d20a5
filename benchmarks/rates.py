"""The bandwidth limit: what is set beside what arrives.

    python benchmarks/rates.py [--rates 4,16,64] [--seconds 30] [--json FILE]

One file per rate, from the tests' double of the Hub into a store that forgets it; the bytes
are counted as the engine reads them, in a process of its own. Promised: within 5 %.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from mirror import Discarding, apart, hub_origin, markdown, numbers, sync_into
from rig import MIB, add_json, hit, save

from sync_daemon.domain.events import BytesMoved, Event
from tests.support.hub import Hub, Synthetic

Arrival = tuple[float, int]


def arrivals(document: dict[str, Any]) -> list[Arrival]:
    """Run once; return when bytes came, and how many."""
    found: list[Arrival] = []

    def note(event: Event) -> None:
        if isinstance(event, BytesMoved):
            found.append((time.monotonic(), event.bytes))

    sync_into(Discarding(), document, note)
    return sorted(found)


def measure(rate: int, seconds: int) -> tuple[float, float, float]:
    """Return the mean rate and those of the slowest and fastest second, in MiB/s."""
    with Hub() as hub:
        repo = hub.repo("org/m")
        repo.commit({"model.bin": Synthetic(rate * seconds * MIB)})
        found = apart(
            arrivals,
            {
                "origins": hub_origin(hub.endpoint),
                "models": [{"name": "m", "repo": repo.name}],
                "transfer": {"bandwidth": f"{rate}MiB", "part_size": "8MiB", "memory": "256MiB"},
            },
        )
    began, ended = found[0][0], found[-1][0]
    mean = sum(count for _, count in found[1:]) / (ended - began)
    each = [0] * int(ended - began)
    for moment, count in found[1:]:
        if (second := int(moment - began)) < len(each):
            each[second] += count
    return mean / MIB, min(each) / MIB, max(each) / MIB


def main() -> None:
    """Measure each rate and print how far off the worst one is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rates", type=numbers, default=(4, 16, 64), help="MiB/s")
    parser.add_argument("--seconds", type=int, default=30)
    add_json(parser)
    args = parser.parse_args()
    found = {rate: measure(rate, args.seconds) for rate in args.rates}
    rows = [
        (
            f"{rate} MiB/s",
            f"{mean:.2f} MiB/s",
            f"{mean / rate - 1:+.1%}",
            f"{low:.1f} to {high:.1f}",
        )
        for rate, (mean, low, high) in found.items()
    ]
    head = ("bandwidth", f"measured over {args.seconds} s", "off by", "single seconds")
    print(markdown(head, rows))
    worst = max(abs(mean / rate - 1) for rate, (mean, *_) in found.items())
    print(f"\nfurthest off: {worst:.1%} ({hit(100 * worst, '<= 5')})")
    names = ("mean", "slowest", "fastest")
    rates = {rate: dict(zip(names, each, strict=True)) for rate, each in found.items()}
    save(args.json, {"seconds": args.seconds, "unit": "MiB/s", "rates": rates})


if __name__ == "__main__":
    main()
