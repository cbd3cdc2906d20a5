"""Work F: SIGKILL at random moments of a run into MinIO. What is fetched twice, and is it right?

    python benchmarks/resume.py [--kills 10] [--size 192] [--rate 48] [--seed 1]

For each kill a new file is mirrored from the tests' double of the Hub, which sends `--rate`
MiB/s in all; the process is killed, and a second run ends the work. Bytes are counted where
they are sent, so that what was on its way to the dead process counts as well. Promised: bytes
fetched twice <= connections x part size + 2 seconds of transfer (a journal is written every 2).
"""

from __future__ import annotations

import argparse
import hashlib
import random
import signal
import sys
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

import boto3
from botocore.config import Config
from mirror import Site, bucket, hub_origin, markdown, run
from rig import KEY, MIB, SECRET, Buckets, minio, workplace

from tests.support.hub import Hub, Synthetic

CONNECTIONS, PART = 4, 8 * MIB
STARTING = 0.5


@dataclass(frozen=True, slots=True)
class Kill:
    """`before`: bytes sent until the kill; `twice`: sent more than once in the end."""

    moment: float
    killed: bool
    before: int
    twice: int
    right: bool


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


def kill_once(
    hub: Hub, endpoint: str, place: Site, content: Synthetic, *, moment: float, rate: int
) -> Kill:
    """Kill a run after `moment` seconds, run again, and look at what is stored."""
    document: dict[str, Any] = {
        "origins": hub_origin(hub.endpoint),
        "models": [{"name": "m", "repo": "org/m"}],
        "transfer": {
            "connections": CONNECTIONS,
            "part_size": f"{PART // MIB}MiB",
            "memory": f"{2 * CONNECTIONS * PART // MIB}MiB",
        },
    }
    daemon = place.daemon(document)
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


def kill_often(args: argparse.Namespace) -> list[Kill]:
    """Kill as often as was asked for, each time another file into another bucket."""
    chance = random.Random(args.seed)
    longest = STARTING + args.size / args.rate
    kills = []
    with workplace() as folder, Hub() as hub, minio(folder) as endpoint:
        buckets = Buckets(endpoint)
        repo = hub.repo("org/m")
        for number in range(args.kills):
            content = Synthetic(args.size * MIB, seed=number)
            repo.commit({"model.bin": content})
            with bucket(folder, endpoint, buckets) as place:
                moment = chance.uniform(STARTING, longest)
                kill = kill_once(hub, endpoint, place, content, moment=moment, rate=args.rate)
            print(
                f"kill {number + 1} after {moment:.1f} s: {kill.before / MIB:.0f} MiB were sent,"
                f" {kill.twice / MIB:.0f} MiB twice, {'right' if kill.right else 'WRONG'}",
                file=sys.stderr,
            )
            kills.append(kill)
    return kills


def main() -> None:
    """Print what the kills cost beside what is promised."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--size", type=int, default=192, help="MiB")
    parser.add_argument("--rate", type=int, default=48, help="MiB/s")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    kills = kill_often(args)
    bound = CONNECTIONS * PART + 2 * args.rate * MIB
    twice = [kill.twice for kill in kills]
    rows = [
        ("kills that hit a running process", f"{sum(k.killed for k in kills)} of {len(kills)}"),
        ("of these, after bytes were sent", sum(k.killed and k.before > 0 for k in kills)),
        ("final bytes right", f"{sum(k.right for k in kills)} of {len(kills)}"),
        ("fetched twice, median", f"{median(twice) / MIB:.1f} MiB"),
        ("fetched twice, most", f"{max(twice) / MIB:.1f} MiB"),
        ("promised at most", f"{bound / MIB:.0f} MiB"),
        ("sent before the kill, median", f"{median(k.before for k in kills) / MIB:.1f} MiB"),
    ]
    print(markdown((f"{args.size} MiB at {args.rate} MiB/s", ""), rows))
    lost = sum(twice) / max(1, sum(kill.before for kill in kills))
    print(f"\nmost / promised: {max(twice) / bound:.2f}x; fetched twice / sent: {lost:.2f}x")


if __name__ == "__main__":
    main()
