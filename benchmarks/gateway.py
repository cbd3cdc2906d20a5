"""Work G: the gateway beside nginx serving the same files, and beside olah with a warm cache.

    python benchmarks/gateway.py [--rounds 5] [--soak 60] [--json FILE]

Metadata answers and small files per second (wrk, 1 thread, 32 connections), one large file as a
single stream (curl), and 200 clients at once for a minute. Our server reads a directory, runs
with one process as it ships and writes its access log; nginx has one worker. Needs wrk, curl and
nginx (Debian), and for olah `make peers`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from mirror import markdown
from rig import MIB, add_json, free_port, hit, nginx, save, serving, workplace

OURS, NGINX, OLAH = "sync-daemon", "nginx, static files", "olah, warm cache"
LARGE = 256 * MIB
SMALL = 4096
INFO = "/api/models/org/m/revision/main"
FILE = "/org/m/resolve/main/"
OLAH_CLI = Path(sys.prefix) / "clients" / "olah" / "bin" / "olah-cli"
AIMS = {
    "metadata": (OLAH, ">= 5"),
    "small": (OLAH, ">= 100"),
    "stream": (OLAH, ">= 3"),
    "stream from a directory": (NGINX, ">= 0.5"),
}
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}
_MIX = """
local paths = {%s}
local n = 0
request = function()
  n = n + 1
  local one = paths[n %% #paths + 1]
  return wrk.format(one[1], one[2], one[3] and {Range = one[3]} or nil)
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw. Times in milliseconds."""

    rate: float
    p50: float
    p99: float
    errors: int


@dataclass(slots=True)
class Contestant:
    """A server and where it has things; None: it has no such thing."""

    url: str
    info: str | None
    small: str
    large: str
    seen: dict[str, list[float]] = field(default_factory=dict)
    p99: dict[str, list[float]] = field(default_factory=dict)


def make_files(folder: Path) -> None:
    """Write a repository: a config, a small file and a large one."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "small.bin").write_bytes(os.urandom(SMALL))
    with (folder / "large.bin").open("wb") as file:
        for _ in range(LARGE // MIB):
            file.write(os.urandom(MIB))


@contextmanager
def gateway(folder: Path) -> Iterator[str]:
    """Mirror the files into a directory and serve it."""
    port = free_port()
    config = folder / "mirror.yaml"
    document = {
        "version": 1,
        "store": {"url": f"file://{folder}/store"},
        "origins": {"disk": {"type": "directory", "path": str(folder / "disk")}},
        "models": [{"name": "org/m", "repo": "org/m"}],
        "gateway": {"listen": f"127.0.0.1:{port}", "anonymous": True},
    }
    config.write_text(json.dumps(document))
    command = [str(Path(sys.executable).parent / "sync-daemon"), "--config", str(config)]
    subprocess.run([*command, "run-once"], check=True, capture_output=True)
    with serving([*command, "gateway"], port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def olah(folder: Path, upstream: str) -> Iterator[str]:
    """Run olah in front of a Hub; it keeps what it was asked for once."""
    port = free_port()
    command = [
        str(OLAH_CLI), "--host", "127.0.0.1", "--port", str(port), "--hf-scheme", "http",
        "--hf-netloc", upstream.removeprefix("http://"), "--hf-lfs-netloc",
        upstream.removeprefix("http://"), "--mirror-netloc", f"127.0.0.1:{port}",
        "--repos-path", str(folder / "olah"), "--log-path", str(folder / "olah-logs"),
        "--metadata-cache-ttl", "3600",
    ]  # fmt: skip
    with serving(command, port):
        yield f"http://127.0.0.1:{port}"


def wrk(url: str, seconds: int, connections: int = 32, script: Path | None = None) -> Load:
    """Ask as fast as the server answers."""
    more = ["-s", str(script)] if script else []
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "30s"]
    said = subprocess.run([*command, *more, url], check=True, capture_output=True, text=True).stdout
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    socket = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    errors = int(failed[1]) if failed else 0
    errors += sum(map(int, socket.groups())) if socket else 0
    return Load(
        float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1]),  # type: ignore[index]
        _percentile(said, 50),
        _percentile(said, 99),
        errors,
    )


def _percentile(said: str, which: int) -> float:
    found = re.search(rf"{which}%\s+([\d.]+)(us|ms|s|m)\b", said)
    return float(found[1]) * _UNITS[found[2]] if found else float("nan")


def curl(url: str) -> float:
    """Return MB/s of one stream."""
    command = ["curl", "-sf", "-o", "/dev/null", "-w", "%{speed_download}", url]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1e6


def check(contestant: Contestant, disk: Path) -> None:
    """Ask for everything once: what comes must be right, and caches are warm afterwards."""
    for path, name in ((contestant.small, "small.bin"), (contestant.large, "large.bin")):
        with subprocess.Popen(
            ["curl", "-sfL", contestant.url + path], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            found = hashlib.file_digest(process.stdout, "sha256")  # type: ignore[arg-type]
        with (disk / name).open("rb") as file:
            wanted = hashlib.file_digest(file, "sha256")
        if found.digest() != wanted.digest():
            sys.exit(f"{contestant.url}{path}: wrong bytes")
    if contestant.info:
        subprocess.run(["curl", "-sf", contestant.url + contestant.info], check=True, stdout=-3)


def measure(contestant: Contestant, seconds: int) -> None:
    """One round."""
    works: Mapping[str, Callable[[], Load | float] | None] = {
        "metadata": contestant.info and (lambda: wrk(contestant.url + contestant.info, seconds)),  # type: ignore[dict-item, operator]
        "small": lambda: wrk(contestant.url + contestant.small, seconds),
        "stream": lambda: curl(contestant.url + contestant.large),
    }
    for name, work in works.items():
        if not work:
            continue
        found = work()
        value = found.rate if isinstance(found, Load) else found
        contestant.seen.setdefault(name, []).append(value)
        if isinstance(found, Load):
            if found.errors:
                print(f"{contestant.url}: {found.errors} errors in {name}", file=sys.stderr)
            contestant.p99.setdefault(name, []).append(found.p99)


def soak(url: str, seconds: int, folder: Path) -> Load:
    """200 clients at once, each doing what clients do: metadata, small files, ranges of large ones.

    No HEAD: wrk waits for its body.
    """
    paths = [
        f'{{"GET", "{INFO}"}}',
        f'{{"GET", "{FILE}small.bin"}}',
        f'{{"GET", "{FILE}config.json"}}',
        f'{{"GET", "{FILE}large.bin", "bytes=1048576-1310719"}}',
    ]
    script = folder / "mix.lua"
    script.write_text(_MIX % ", ".join(paths))
    return wrk(url, seconds, connections=200, script=script)


def main() -> None:
    """Compare, and print tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each load")
    parser.add_argument("--soak", type=int, default=60, help="seconds of 200 clients at once")
    add_json(parser)
    args = parser.parse_args()
    with workplace() as folder, ExitStack() as stack:
        disk = folder / "disk/org/m"
        make_files(disk)
        ours = stack.enter_context(gateway(folder))
        field = {
            OURS: Contestant(ours, INFO, f"{FILE}small.bin", f"{FILE}large.bin"),
            NGINX: Contestant(
                stack.enter_context(nginx(folder / "disk", folder)),
                None,
                "/org/m/small.bin",
                "/org/m/large.bin",
            ),
        }
        if OLAH_CLI.exists():
            url = stack.enter_context(olah(folder, ours))
            field[OLAH] = Contestant(url, INFO, f"{FILE}small.bin", f"{FILE}large.bin")
        else:
            print("olah is not installed (make peers): left out", file=sys.stderr)
        for one in field.values():
            check(one, disk)
        for number in range(args.rounds):
            for name, one in field.items():
                measure(one, args.seconds)
                last = {what: round(values[-1]) for what, values in one.seen.items()}
                print(f"round {number + 1}: {name}: {last}", file=sys.stderr)
        crowd = soak(ours, args.soak, folder) if args.soak else None
    report(field, crowd, args)


def report(field: Mapping[str, Contestant], crowd: Load | None, args: argparse.Namespace) -> None:
    """Print medians, ratios and what became of the aims."""
    rows = []
    for name, one in field.items():
        p99 = {what: f"{median(values):.1f} ms" for what, values in one.p99.items()}
        values = {what: f"{median(found):,.0f}" for what, found in one.seen.items()}
        rows.append(
            (
                name,
                values.get("metadata", "-"),
                p99.get("metadata", "-"),
                values["small"],
                p99["small"],
                values["stream"],
            )
        )
    head = ["what", "metadata/s", "p99", "small files/s", "p99", "one stream, MB/s"]
    print(markdown(head, rows))
    for work, (peer, aim) in AIMS.items():
        if peer in field:
            what = work.split()[0]
            pairs = zip(field[OURS].seen[what], field[peer].seen[what], strict=True)
            least = 1 / args.seconds  # a peer that gave no answer in time might have given one
            value = median(our / max(their, least) for our, their in pairs)
            print(f"\n{work}: {value:.2f}x {peer} ({hit(value, aim)})")
    if crowd:
        print(
            f"\n200 clients for {args.soak} s: {crowd.rate:,.0f} answers/s, median {crowd.p50:.0f}"
            f" ms, p99 {crowd.p99:.0f} ms, {crowd.errors} errors"
        )
    seen: dict[str, Any] = {name: one.seen for name, one in field.items()}
    save(args.json, {"contestants": seen, "crowd": crowd and vars_of(crowd)})


def vars_of(load: Load) -> dict[str, float]:
    """Return what wrk saw as JSON."""
    return {"rate": load.rate, "p50": load.p50, "p99": load.p99, "errors": load.errors}


if __name__ == "__main__":
    main()
