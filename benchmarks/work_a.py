"""Work A: shards of 256 MiB from HTTP into an empty S3 bucket, beside rclone, aria2 and s5cmd.

    python benchmarks/work_a.py [--rounds 5] [--shards 8] [--tls] [--json FILE] [--only NAME]

Rounds alternate between the contestants, so that a busy minute hits all of them; the
ratios are medians over the rounds of this run. Only sync-daemon, and rclone's second
command in `PUT + hashsum`, prove the SHA-256 of what was stored. With `--tls` nginx and
MinIO speak https with certificates of an authority made for the run. A contestant that is
not installed is left out.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median

from rig import (
    KEY,
    MIB,
    SECRET,
    Buckets,
    Cost,
    Tls,
    add,
    add_json,
    hit,
    make_tls,
    measure,
    minio,
    nginx,
    ratio,
    save,
    table,
    workplace,
)

SHARD = 256 * MIB
OURS = "sync-daemon"
DEFAULTS = "rclone, defaults"
ONE_PUT = "rclone, one PUT per file"
PROVEN = "rclone, one PUT, then hashsum SHA256 --download"
ARIA2 = "aria2c -x16 -s16 -k1M to disk, then s5cmd cp"
AIMS = {PROVEN: ">= 1.15", ONE_PUT: ">= 0.85", DEFAULTS: ">= 1.4", ARIA2: ">= 2.2"}
TLS_AIMS = {PROVEN: ">= 1"}
CPU_AIM = "<= 1.6"
KEYS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}


@dataclass(frozen=True, slots=True)
class Stage:
    """What every contestant is given: an origin, a store, and a folder for its files."""

    folder: Path
    url: str
    endpoint: str
    digests: Mapping[str, str]
    tls: Tls | None

    @property
    def env(self) -> dict[str, str]:
        """Keys of the store, and the authority by the variables that the SDKs know."""
        names = ("AWS_CA_BUNDLE", "SSL_CERT_FILE") if self.tls else ()
        return KEYS | {name: str(self.tls.authority) for name in names if self.tls}


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


def find(command: str) -> str | None:
    """Return a peer's program, from the path or beside this interpreter."""
    own = Path(sys.executable).parent / command
    return shutil.which(command) or (str(own) if own.exists() else None)


def make_config(stage: Stage, bucket: str, args: argparse.Namespace) -> str:
    """Return the mirror.yaml of our round."""
    files = "\n".join(f"      - {{path: {name}, sha256: {d}}}" for name, d in stage.digests.items())
    return f"""
version: 1
store: {{url: "s3://{bucket}/hub", endpoint: "{stage.endpoint}"}}
origins: {{web: {{type: http, url: "{stage.url}"}}}}
models:
  - name: bench
    origin: web
    files:
{files}
transfer: {{connections: {args.connections}, part_size: {args.part_size}, memory: {args.memory}}}
"""


def run_ours(stage: Stage, args: argparse.Namespace, bucket: str) -> Cost:
    """Mirror the shards with sync-daemon."""
    path = stage.folder / "mirror.yaml"
    path.write_text(make_config(stage, bucket, args))
    command = [str(Path(sys.executable).parent / "sync-daemon"), "--config", str(path), "run-once"]
    return measure(command, **stage.env)


def rclone(stage: Stage, binary: str) -> list[str]:
    """Write rclone's configuration and return the beginning of its commands."""
    conf = stage.folder / "rclone.conf"
    conf.write_text(
        f"[h]\ntype = http\nurl = {stage.url}\n[m]\ntype = s3\nprovider = Minio\n"
        f"endpoint = {stage.endpoint}\naccess_key_id = {KEY}\nsecret_access_key = {SECRET}\n"
        "region = us-east-1\n"
    )
    secure = ["--ca-cert", str(stage.tls.authority)] if stage.tls else []
    return [binary, "--config", str(conf), *secure]


def copy(command: Sequence[str], bucket: str) -> Cost:
    """Copy with rclone as it is installed."""
    return measure([*command, "copy", "h:", f"m:{bucket}"])


def put(command: Sequence[str], bucket: str) -> Cost:
    """Copy with rclone, each file in one PUT; over TLS it is fastest without its read-ahead."""
    one_put = ["--s3-upload-cutoff", "5G", "--multi-thread-streams", "0"]
    no_buffer = ["--buffer-size", "0"] if "--ca-cert" in command else []
    return measure([*command, "copy", "h:", f"m:{bucket}", *one_put, *no_buffer])


def prove(command: Sequence[str], bucket: str) -> Cost:
    """Copy with rclone, each file in one PUT, and read all of it back to hash it."""
    check = [*command, "hashsum", "SHA256", "--download", f"m:{bucket}"]
    return add(put(command, bucket), measure(check))


def fetch_and_send(stage: Stage, fetcher: str, sender: str, bucket: str) -> Cost:
    """Fetch with aria2 to disk, then copy from there with s5cmd; the files are removed."""
    target = stage.folder / "aria2"
    options = ["-x16", "-s16", "-k1M", "--file-allocation=none", "-q", "-Z", "-d", str(target)]
    secure = [f"--ca-certificate={stage.tls.authority}"] if stage.tls else []
    urls = [f"{stage.url}/{name}" for name in stage.digests]
    send = [sender, "--endpoint-url", stage.endpoint, "cp", f"{target}/*", f"s3://{bucket}/"]
    try:
        return add(measure([fetcher, *options, *secure, *urls]), measure(send, **stage.env))
    finally:
        shutil.rmtree(target, ignore_errors=True)


def contestants(stage: Stage, args: argparse.Namespace) -> dict[str, Callable[[str], Cost]]:
    """Return a function per installed contestant that fills the bucket it is given."""
    found: dict[str, Callable[[str], Cost]] = {OURS: partial(run_ours, stage, args)}
    if binary := find("rclone"):
        command = rclone(stage, binary)
        found |= {
            ONE_PUT: partial(put, command),
            PROVEN: partial(prove, command),
            DEFAULTS: partial(copy, command),
        }
    if (fetcher := find("aria2c")) and (sender := find("s5cmd")):
        found[ARIA2] = partial(fetch_and_send, stage, fetcher, sender)
    for name in {OURS, *AIMS} - found.keys():
        print(f"not installed, left out: {name}", file=sys.stderr)
    return {name: fill for name, fill in found.items() if not args.only or name in args.only}


def compete(
    chosen: Mapping[str, Callable[[str], Cost]], buckets: Buckets, rounds: int, size: int
) -> dict[str, list[Cost]]:
    """Let each contestant fill a bucket of its own in every round; no two at once."""
    results: dict[str, list[Cost]] = {name: [] for name in chosen}
    for number in range(rounds):
        order = chosen.items() if number % 2 else reversed(chosen.items())
        for name, fill in order:
            with buckets.fresh() as bucket:
                os.sync()  # what the one before left to be written is not this one's to pay
                cost = fill(bucket)
            results[name].append(cost)
            rate = size / MIB / cost.seconds
            print(f"round {number + 1}: {name}: {rate:.0f} MiB/s", file=sys.stderr)
    return results


def judge(results: Mapping[str, Sequence[Cost]], size: int, aims: Mapping[str, str]) -> None:
    """Print the ratios to the peers beside what is aimed at."""
    for theirs in AIMS:
        if {OURS, theirs} <= results.keys():
            found = ratio(results, OURS, theirs)
            verdict = f" ({hit(found, aims[theirs])})" if theirs in aims else ""
            print(f"\n{OURS} / {theirs}: {found:.2f}x{verdict}")
    if OURS in results and aims is AIMS:
        cpu = median(cost.cpu for cost in results[OURS]) / (size / 1024**3)
        print(f"\n{OURS}, client CPU: {cpu:.2f} s/GiB ({hit(cpu, CPU_AIM)})")


def read_arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--part-size", default="32MiB")
    parser.add_argument("--memory", default="1GiB")
    parser.add_argument("--tls", action="store_true", help="https to the origin and to the store")
    parser.add_argument("--only", action="append", help="a contestant's name, e.g. sync-daemon")
    add_json(parser)
    return parser.parse_args()


def main() -> None:
    """Run the rounds and print the table and the ratios."""
    args = read_arguments()
    size = args.shards * SHARD
    with workplace() as folder:
        shards = folder / "shards"
        shards.mkdir()
        tls = make_tls(folder / "tls") if args.tls else None
        digests = make_shards(shards, args.shards)
        with nginx(shards, folder, tls=tls) as url, minio(folder, tls=tls) as endpoint:
            chosen = contestants(Stage(folder, url, endpoint, digests, tls), args)
            results = compete(chosen, Buckets(endpoint, tls=tls), args.rounds, size)
    print(table(results, size))
    judge(results, size, TLS_AIMS if args.tls else AIMS)
    costs = {name: [asdict(cost) for cost in found] for name, found in results.items()}
    save(args.json, {"bytes": size, "tls": args.tls, "contestants": costs})


if __name__ == "__main__":
    main()
