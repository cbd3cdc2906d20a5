"""The daemon for many minutes: do its memory, its threads, files and sockets grow?

    python benchmarks/soak.py [--minutes 30] [--models 200] [--store minio|directory]

A double of the Hub is the origin. One model changes twice a minute, an incremental run comes
twice a minute, a full one every five minutes, a verification every two: far more than a
mirror does in a day, of everything that might leave something behind. One line of the table
is one minute. At the end the daemon gets SIGTERM, and has to exit with 0.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import boto3
from rig import KEY, SECRET, add_json, free_port, minio, save, workplace

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.hub import Content, Hub, Synthetic

BUCKET = "soak"
SETTLED = 5
"""Minutes until everything was done once; growth is measured from there."""

TIMES = {"incremental": "30s", "full": "5m", "verify": "2m"}
BLOB = 48 * 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process has at one moment: RSS in MiB, CPU in seconds, and what it has done."""

    minute: int
    rss: float
    threads: int
    files: int
    sockets: int
    cpu: float
    runs: int
    verifications: int


def files_of(model: int, version: int) -> dict[str, Content]:
    """Return what the repository of a model holds after so many changes."""
    config = json.dumps({"model": model, "version": version}).encode()
    return {"config.json": config, "weights.bin": Synthetic(BLOB, seed=model)}


def take(minute: int, pid: int, port: int, told: Path) -> Sample:
    """Look at the process, its endpoint of metrics, and its log."""
    proc = Path("/proc") / str(pid)
    (rss,) = re.findall(r"VmRSS:\s+(\d+)", (proc / "status").read_text())
    open_files = [str(link.readlink()) for link in (proc / "fd").iterdir()]
    sockets = sum(name.startswith("socket:") for name in open_files)
    ticks = sum(map(int, (proc / "stat").read_text().rpartition(")")[2].split()[11:13]))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    runs = re.findall(r"^sync_daemon_runs_total\{.*\} ([\d.]+)$", text, re.MULTILINE)
    return Sample(
        minute=minute,
        rss=round(int(rss) / 1024, 1),
        threads=len(list((proc / "task").iterdir())),
        files=len(open_files) - sockets,
        sockets=sockets,
        cpu=ticks / os.sysconf("SC_CLK_TCK"),
        runs=sum(int(float(number)) for number in runs),
        verifications=told.read_text().count('"event": "verify.finished"'),
    )


@contextmanager
def a_store(kind: str, folder: Path) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """Give the section `store` of the YAML, and the environment that goes with it."""
    if kind == "directory":
        yield {"url": (folder / "store").as_uri()}, {}
        return
    with minio(folder) as endpoint:
        keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET}
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)
        client.create_bucket(Bucket=BUCKET)
        env = {name.upper(): value for name, value in keys.items()}
        yield {"url": f"s3://{BUCKET}/mirror", "endpoint": endpoint}, env


def soak(kind: str, models: int, minutes: int) -> tuple[list[Sample], int]:
    """Run the daemon so long; return a sample of each minute, and its exit code."""
    port = free_port()
    with workplace() as folder, a_store(kind, folder) as (store, env), Hub() as hub:
        repos = [hub.repo(f"org/m{n}") for n in range(models)]
        for n, repo in enumerate(repos):
            repo.commit(files_of(n, 0))
        config, log = folder / "mirror.yaml", folder / "log"
        document = {
            "version": 1,
            "store": store,
            "origins": {"hf": {"type": "huggingface", "endpoints": [hub.endpoint]}},
            "models": [{"name": f"m{n}", "repo": f"org/m{n}"} for n in range(models)],
            "schedule": TIMES,
            "metrics": {"listen": f"127.0.0.1:{port}"},
        }
        config.write_text(json.dumps(document))
        command = [sys.executable, "-m", "sync_daemon", "-c", str(config), "--log-format", "json"]
        with (
            log.open("wb") as target,
            subprocess.Popen([*command, "run"], env=os.environ | env, stderr=target) as daemon,
        ):
            try:
                samples = list(watch(daemon, hub, port, minutes, log))
            finally:
                daemon.terminate()
            return samples, daemon.wait(30)


def watch(
    daemon: subprocess.Popen[bytes], hub: Hub, port: int, minutes: int, log: Path
) -> Iterator[Sample]:
    """Change a model twice a minute, and take a sample each minute."""
    began = time.monotonic()
    for half in count(1):
        time.sleep(max(0.0, began + 30 * half - time.monotonic()))
        if daemon.poll() is not None:
            sys.exit(f"the daemon ended with {daemon.returncode}:\n{log.read_text()[-2000:]}")
        model = half % len(hub.repos)
        hub.repos[model].commit(files_of(model, half))
        hub.clear()
        if half % 2 == 0:
            sample = take(half // 2, daemon.pid, port, log)
            print(row(sample), flush=True)
            yield sample
        if half >= 2 * minutes:
            return


def row(sample: Sample) -> str:
    """Return a line of the table."""
    return "| " + " | ".join(str(value) for value in asdict(sample).values()) + " |"


def main() -> None:
    """Print the table as it grows, and what has grown in the end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--store", choices=["minio", "directory"], default="minio")
    add_json(parser)
    options = parser.parse_args()
    print(f"{options.models} models, store: {options.store}, RSS in MiB, CPU in seconds")
    print("| minute | RSS | threads | files | sockets | CPU | runs | verifications |")
    print("|---|---|---|---|---|---|---|---|")
    samples, code = soak(options.store, options.models, options.minutes)
    print(f"exit code after SIGTERM: {code}")
    settled = samples[SETTLED - 1 :]
    if settled:
        print(f"from minute {settled[0].minute} to {settled[-1].minute}:")
        for name in ("rss", "threads", "files", "sockets"):
            values = [getattr(one, name) for one in settled]
            print(f"{name}: {values[0]} -> {values[-1]}, at most {max(values)}")
    save(options.json, {"exit": code, "samples": [asdict(one) for one in samples]})
    sys.exit(code)


if __name__ == "__main__":
    main()
