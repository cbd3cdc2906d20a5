"""Work F: SIGKILL at random moments of a run into MinIO. What is fetched twice, and is it right?

    python benchmarks/resume.py [--kills 10] [--size 192] [--rate 48] [--seed 1] [--json FILE]

For each kill a new file is mirrored from the tests' double of the Hub, which sends `--rate`
MiB/s in all; the process is killed, and a second run ends the work. The moments are drawn over
a whole life, from the first instruction to the last, as a run without a kill shows it. Kills
before any byte was sent, or after the end, are counted but do not count: it goes on until
`--kills` hit a process that had been sent bytes. Bytes are counted where they are sent, so that
what was on its way to the dead process counts as well. Promised of each kill: bytes fetched
twice <= connections x part size + 2 seconds of transfer (a journal is written every 2).
"""

from __future__ import annotations

import argparse
import hashlib
import random
import signal
import sys
import time
from dataclasses import asdict, dataclass
from itertools import count
from statistics import median
from typing import Any

import boto3
from botocore.config import Config
from mirror import Site, bucket, hub_origin, markdown, run
from rig import KEY, MIB, SECRET, Buckets, add_json, minio, save, workplace

from tests.support.hub import Hub, Synthetic

CONNECTIONS, PART = 4, 8 * MIB


@dataclass(frozen=True, slots=True)
class Kill:
    """`before`: bytes sent until the kill; `twice`: sent more than once in the end."""

    moment: float
    killed: bool
    before: int
    twice: int
    right: bool

    @property
    def counts(self) -> bool:
        """Whether it hit a process that had been sent bytes."""
        return self.killed and self.before > 0


def digest_of(endpoint: str, place: Site, sha256: str) -> str:
    """Return the SHA-256 of what the bucket holds under a blob's key, read back in full."""
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )
    name = place.store["url"].split("/")[2]
    key = f"hub/blobs/sha256/{sha256[:2]}/{sha256}"
    body = client.get_object(Bucket=name, Key=key)["Body"]
    hasher = hashlib.sha256()
    for chunk in body.iter_chunks(MIB):
        hasher.update(chunk)
    return hasher.hexdigest()


def document(hub: Hub) -> dict[str, Any]:
    """Return the mirror.yaml of every run, without its store."""
    return {
        "origins": hub_origin(hub.endpoint),
        "models": [{"name": "m", "repo": "org/m"}],
        "transfer": {
            "connections": CONNECTIONS,
            "part_size": f"{PART // MIB}MiB",
            "memory": f"{2 * CONNECTIONS * PART // MIB}MiB",
        },
    }


def kill_once(
    hub: Hub, endpoint: str, place: Site, content: Synthetic, *, moment: float, rate: int
) -> Kill:
    """Kill a run after `moment` seconds, run again, and look at what is stored."""
    daemon = place.daemon(document(hub))
    hub.clear()
    hub.rate_total = rate * MIB
    with daemon.start("run-once", "--json") as process:
        time.sleep(moment)
        process.kill()
        process.communicate()
    time.sleep(0.1)
    before = hub.bytes_sent("cdn")
    hub.rate_total = None
    run(daemon)
    return Kill(
        moment=moment,
        killed=process.returncode == -signal.SIGKILL,
        before=before,
        twice=max(0, hub.bytes_sent("cdn") - content.size),
        right=digest_of(endpoint, place, content.sha256) == content.sha256,
    )


def live_once(hub: Hub, place: Site, rate: int) -> float:
    """Return the seconds of a run that nobody kills, its start included."""
    hub.rate_total = rate * MIB
    return run(place.daemon(document(hub))).seconds


def kill_often(args: argparse.Namespace) -> list[Kill]:
    """Kill until enough kills count, each time another file into another bucket."""
    chance = random.Random(args.seed)
    kills: list[Kill] = []
    with workplace() as folder, Hub() as hub, minio(folder) as endpoint:
        buckets = Buckets(endpoint)
        repo = hub.repo("org/m")
        repo.commit({"model.bin": Synthetic(args.size * MIB)})
        with bucket(folder, endpoint, buckets) as place:
            life = live_once(hub, place, args.rate)
        for number in count(1):
            if sum(kill.counts for kill in kills) == args.kills:
                break
            content = Synthetic(args.size * MIB, seed=number)
            repo.commit({"model.bin": content})
            with bucket(folder, endpoint, buckets) as place:
                moment = chance.uniform(0, life)
                kill = kill_once(hub, endpoint, place, content, moment=moment, rate=args.rate)
            print(tell(number, kill), file=sys.stderr)
            kills.append(kill)
    return kills


def tell(number: int, kill: Kill) -> str:
    """Return a line about one kill."""
    if not kill.killed:
        return f"kill {number} after {kill.moment:.1f} s came too late: the run had ended"
    right = "right" if kill.right else "WRONG"
    return (
        f"kill {number} after {kill.moment:.1f} s: {kill.before / MIB:.0f} MiB were sent,"
        f" {kill.twice / MIB:.0f} MiB twice, {right}"
    )


def show(kills: list[Kill], args: argparse.Namespace) -> None:
    """Print what the kills cost beside what is promised."""
    bound = CONNECTIONS * PART + 2 * args.rate * MIB
    counted = [kill for kill in kills if kill.counts]
    twice = [kill.twice for kill in counted]
    early = sum(kill.killed and not kill.before for kill in kills)
    within = sum(kill.twice <= bound for kill in kills)
    rows = [
        ("kills after bytes were sent", len(counted)),
        ("kills before, all of the start", early),
        ("kills that came after the end", sum(not kill.killed for kill in kills)),
        ("final bytes right", f"{sum(k.right for k in kills)} of {len(kills)}"),
        ("fetched twice within what is promised", f"{within} of {len(kills)}"),
        ("fetched twice, median", f"{median(twice) / MIB:.1f} MiB"),
        ("fetched twice, most", f"{max(twice) / MIB:.1f} MiB"),
        ("promised at most", f"{bound / MIB:.0f} MiB"),
        ("sent before the kill, median", f"{median(k.before for k in counted) / MIB:.1f} MiB"),
    ]
    print(markdown((f"{args.size} MiB at {args.rate} MiB/s", ""), rows))
    lost = sum(twice) / sum(kill.before for kill in counted)
    print(f"\nmost / promised: {max(twice) / bound:.2f}x; fetched twice / sent: {lost:.2f}x")
    verdict = "met" if within == len(kills) == sum(kill.right for kill in kills) else "missed"
    print(f"\naim: right each time and within what is promised each time: {verdict}")


def main() -> None:
    """Kill, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--size", type=int, default=192, help="MiB")
    parser.add_argument("--rate", type=int, default=48, help="MiB/s")
    parser.add_argument("--seed", type=int, default=1)
    add_json(parser)
    args = parser.parse_args()
    kills = kill_often(args)
    show(kills, args)
    save(args.json, {"bytes": args.size * MIB, "kills": [asdict(kill) for kill in kills]})


if __name__ == "__main__":
    main()
