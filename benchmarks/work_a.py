"""Work A: shards of 256 MiB from HTTP into an empty S3 bucket, beside rclone.

    python benchmarks/work_a.py [--rounds 5] [--shards 8] [--memory 1GiB] [--part-size 32MiB]

Rounds alternate between the contestants, so that a busy minute hits all of them; the
ratios are medians over the rounds of this run. Only sync-daemon, and rclone's second
command in `PUT + hashsum`, prove the SHA-256 of what was stored.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from rig import KEY, MIB, SECRET, Buckets, Cost, add, measure, minio, nginx, ratio, table, workplace

SHARD = 256 * MIB
OURS = "sync-daemon"
DEFAULTS = "rclone, defaults"
ONE_PUT = "rclone, one PUT per file"
PROVEN = "rclone, one PUT, then hashsum SHA256 --download"


def make_shards(folder: Path, count: int) -> dict[str, str]:
    """Write random shards and return their digests."""
    digests = {}
    for number in range(count):
        name = f"model-{number:05}-of-{count:05}.safetensors"
        hasher = hashlib.sha256()
        with (folder / name).open("wb") as shard:
            for _ in range(SHARD // MIB):
                block = os.urandom(MIB)
                hasher.update(block)
                shard.write(block)
        digests[name] = hasher.hexdigest()
    return digests


def make_config(
    url: str, endpoint: str, bucket: str, digests: dict[str, str], args: argparse.Namespace
) -> str:
    """Return the mirror.yaml of our round."""
    files = "\n".join(f"      - {{path: {name}, sha256: {d}}}" for name, d in digests.items())
    return f"""
version: 1
store: {{url: "s3://{bucket}/hub", endpoint: "{endpoint}"}}
origins: {{web: {{type: http, url: "{url}"}}}}
models:
  - name: bench
    origin: web
    files:
{files}
transfer: {{connections: {args.connections}, part_size: {args.part_size}, memory: {args.memory}}}
"""


def contestants(
    folder: Path, url: str, endpoint: str, digests: dict[str, str], args: argparse.Namespace
) -> dict[str, Callable[[str], Cost]]:
    """Return a function per contestant that fills the bucket it is given."""
    binary = Path(sys.executable).parent
    rclone_binary = shutil.which("rclone") or str(binary / "rclone")
    conf = folder / "rclone.conf"
    conf.write_text(
        f"[h]\ntype = http\nurl = {url}\n[m]\ntype = s3\nprovider = Minio\nendpoint = {endpoint}\n"
        f"access_key_id = {KEY}\nsecret_access_key = {SECRET}\nregion = us-east-1\n"
    )
    rclone = [rclone_binary, "--config", str(conf)]
    one_put = ["--s3-upload-cutoff", "5G", "--multi-thread-streams", "0"]

    def ours(bucket: str) -> Cost:
        path = folder / "mirror.yaml"
        path.write_text(make_config(url, endpoint, bucket, digests, args))
        command = [str(binary / "sync-daemon"), "--config", str(path), "run-once"]
        return measure(command, AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET)

    def put(bucket: str) -> Cost:
        return measure([*rclone, "copy", "h:", f"m:{bucket}", *one_put])

    def proven(bucket: str) -> Cost:
        check = [*rclone, "hashsum", "SHA256", "--download", f"m:{bucket}"]
        return add(put(bucket), measure(check))

    return {
        OURS: ours,
        ONE_PUT: put,
        PROVEN: proven,
        DEFAULTS: lambda bucket: measure([*rclone, "copy", "h:", f"m:{bucket}"]),
    }


def main() -> None:
    """Run the rounds and print the table and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--part-size", default="32MiB")
    parser.add_argument("--memory", default="1GiB")
    parser.add_argument("--only", action="append", help="a contestant's name, e.g. sync-daemon")
    args = parser.parse_args()
    with workplace() as folder:
        shards = folder / "shards"
        shards.mkdir()
        digests = make_shards(shards, args.shards)
        size = args.shards * SHARD
        results: dict[str, list[Cost]] = {}
        with nginx(shards, folder) as url, minio(folder) as endpoint:
            buckets = Buckets(endpoint)
            chosen = contestants(folder, url, endpoint, digests, args)
            for number in range(args.rounds):
                for name, fill in chosen.items():
                    if args.only and name not in args.only:
                        continue
                    with buckets.fresh() as bucket:
                        cost = fill(bucket)
                    results.setdefault(name, []).append(cost)
                    print(
                        f"round {number + 1}: {name}: {size / MIB / cost.seconds:.0f} MiB/s",
                        file=sys.stderr,
                    )
    print(table(results, size))
    for theirs in (PROVEN, ONE_PUT, DEFAULTS):
        if {OURS, theirs} <= results.keys():
            print(f"\n{OURS} / {theirs}: {ratio(results, OURS, theirs):.2f}x")


if __name__ == "__main__":
    main()
