"""What the benchmarks share: nginx as the origin, MinIO as the store, and honest measuring.

Everything runs on 127.0.0.1 in a temporary directory and ends with the script. Needs nginx
(Debian: nginx-light), a MinIO binary (`make minio`) and, for the peers, the packages of
requirements/bench.txt and aria2 (Debian: aria2); for TLS the openssl command.
"""

from __future__ import annotations

import argparse
import compileall
import json
import operator
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import boto3
from botocore.config import Config

import sync_daemon

MIB = 1024**2
KEY, SECRET = "benchkey", "benchsecret"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one command cost. CPU is the client's own, user and system."""

    seconds: float
    cpu: float
    rss: int


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of an authority made for one run and of the certificate it gave to 127.0.0.1."""

    authority: Path
    certificate: Path
    key: Path


def make_tls(folder: Path) -> Tls:
    """Make an authority and a certificate that are good for two days."""
    folder.mkdir()
    made = Tls(folder / "authority.pem", folder / "public.crt", folder / "private.key")
    request = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-nodes", "-days", "2",
    ]  # fmt: skip
    signing = folder / "authority.key"
    root = ["-addext", "keyUsage=critical,keyCertSign", "-subj", "/CN=benchmark authority"]
    leaf = [
        "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
        "-addext", "basicConstraints=critical,CA:FALSE",
        "-CA", str(made.authority), "-CAkey", str(signing),
    ]  # fmt: skip
    for more, key, out in (
        (root, signing, made.authority),
        (leaf, made.key, made.certificate),
    ):
        command = [*request, *more, "-keyout", str(key), "-out", str(out)]
        subprocess.run(command, check=True, capture_output=True)
    return made


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(command: Sequence[str], port: int, **env: str) -> Iterator[None]:
    """Run a server until the block ends; it is ended by its own process id."""
    server = subprocess.Popen(
        command,
        env=os.environ | env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if time.monotonic() > deadline or server.poll() is not None:
                sys.exit(f"{command[0]} did not start")
            time.sleep(0.05)
        yield
    finally:
        server.terminate()
        server.wait()


@contextmanager
def nginx(
    root: Path, folder: Path, *, limit_rate: str = "0", tls: Tls | None = None
) -> Iterator[str]:
    """Serve `root` as an origin and yield its URL. `limit_rate` is per connection."""
    rules = f"root {root}; autoindex on; limit_rate {limit_rate};"
    with nginx_with(rules, root, folder, tls=tls) as url:
        yield url


@contextmanager
def nginx_with(rules: str, root: Path, folder: Path, *, tls: Tls | None = None) -> Iterator[str]:
    """Serve files of `root` by rules in nginx's words and yield the URL; its own go to `folder`."""
    port = free_port()
    secure = f"ssl_certificate {tls.certificate}; ssl_certificate_key {tls.key};" if tls else ""
    conf = folder / "nginx.conf"
    conf.write_text(
        f"""
        daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
        events {{ worker_connections 1024; }}
        http {{
          access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000;
          client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
          fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
          default_type application/octet-stream;
          server {{ listen 127.0.0.1:{port}{" ssl" if tls else ""}; {secure} {rules} }}
        }}
        """
    )
    root.chmod(0o755)
    folder.chmod(0o755)
    command = shutil.which("nginx") or "/usr/sbin/nginx"
    with serving([command, "-c", str(conf), "-g", "user root;"], port):
        yield f"http{'s' if tls else ''}://127.0.0.1:{port}"


@contextmanager
def minio(folder: Path, *, tls: Tls | None = None) -> Iterator[str]:
    """Run a MinIO on a directory of its own and yield its URL."""
    port, console = free_port(), free_port()
    go = Path(os.environ.get("GOPATH", Path.home() / "go")) / "bin" / "minio"
    binary = os.environ.get("MINIO_BIN") or shutil.which("minio") or str(go)
    data = folder / "minio"
    data.mkdir()
    command = [
        binary, "server", "--address", f"127.0.0.1:{port}",
        "--console-address", f"127.0.0.1:{console}", str(data),
        *(("--certs-dir", str(tls.certificate.parent)) if tls else ()),
    ]  # fmt: skip
    with serving(command, port, MINIO_ROOT_USER=KEY, MINIO_ROOT_PASSWORD=SECRET):
        yield f"http{'s' if tls else ''}://127.0.0.1:{port}"


class Buckets:
    """Fresh buckets, emptied after each use: a full page cache makes everything slow."""

    def __init__(self, endpoint: str, *, tls: Tls | None = None) -> None:
        self._client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
            verify=str(tls.authority) if tls else None,
            config=Config(s3={"addressing_style": "path"}),
        )
        self._count = 0

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """Yield the name of a new bucket and remove it afterwards."""
        self._count += 1
        name = f"bench-{self._count}"
        self._client.create_bucket(Bucket=name)
        try:
            yield name
        finally:
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=name):
                for entry in page.get("Contents", ()):
                    self._client.delete_object(Bucket=name, Key=entry["Key"])
            self._client.delete_bucket(Bucket=name)


def measure(command: Sequence[str], **env: str) -> Cost:
    """Run a command to its end and return what it cost; a failing one ends the benchmark."""
    began = time.monotonic()
    process = subprocess.Popen(
        command, env=os.environ | env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    errors = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command[:4])} ... failed:\n{errors.decode(errors='replace')[-2000:]}")
    return Cost(time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def touch_pages(folder: Path, size: int) -> None:
    """Write and remove so many bytes, so that whoever is measured next need not do it first.

    A virtual machine gives the memory that it does not use back to its host, and the first touch
    of a page that comes from there again is dear: 3.3 s of CPU per GiB of files where 0.2 are
    usual, for whoever happens to run after a quiet minute.
    """
    block, path = os.urandom(MIB), folder / "pages"
    with path.open("wb", buffering=0) as file:
        for _ in range(size // MIB):
            file.write(block)
    path.unlink()
    os.sync()


def add(*costs: Cost) -> Cost:
    """Return the cost of commands that ran one after the other."""
    return Cost(sum(c.seconds for c in costs), sum(c.cpu for c in costs), max(c.rss for c in costs))


def table(results: Mapping[str, Sequence[Cost]], size: int) -> str:
    """Return medians as a Markdown table; `size` is what each round moved, in bytes."""
    lines = [
        "| what | MiB/s, median | rounds | client CPU s/GiB | peak RSS |",
        "|---|---|---|---|---|",
    ]
    for what, costs in results.items():
        rates = sorted(size / MIB / cost.seconds for cost in costs)
        cpu = median(cost.cpu for cost in costs) / (size / 1024**3)
        rounds = ", ".join(f"{rate:.0f}" for rate in rates)
        rss = max(cost.rss for cost in costs) // MIB
        lines.append(f"| {what} | {median(rates):.0f} | {rounds} | {cpu:.2f} | {rss} MiB |")
    return "\n".join(lines)


def hit(value: float, aim: str) -> str:
    """Judge a figure by an aim such as `>= 1.15`, `<= 1.6` or `> 1`."""
    relation, _, limit = aim.partition(" ")
    reach = {">=": operator.ge, "<=": operator.le, ">": operator.gt}[relation]
    good = reach(value, float(limit))
    return f"aim {aim}: {'met' if good else 'missed'}"


def add_json(parser: argparse.ArgumentParser) -> None:
    """Let the command line name a file for the raw results."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw results here")


def save(path: Path | None, results: Mapping[str, Any]) -> None:
    """Write raw results, with when and where they were measured, unless no file was named."""
    if path is None:
        return
    cores = f"{os.cpu_count()} cores, {platform.machine()}"
    told = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": cores, **results}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=1) + "\n")


def ratio(results: Mapping[str, Sequence[Cost]], ours: str, theirs: str) -> float:
    """Return how many times faster we are: the median over rounds of one run."""
    pairs = zip(results[ours], results[theirs], strict=True)
    return median(their.seconds / our.seconds for our, their in pairs)


@contextmanager
def workplace() -> Iterator[Path]:
    """Yield a temporary directory on disk (not in memory) and remove it afterwards.

    What is installed has its bytecode, as the peers have; a source tree gets it now, also where
    PYTHONDONTWRITEBYTECODE keeps each start from writing it.
    """
    compileall.compile_dir(Path(sync_daemon.__file__).parent, quiet=1)
    base = os.environ.get("BENCH_DIR") or ("/var/tmp" if Path("/var/tmp").is_dir() else None)
    with tempfile.TemporaryDirectory(prefix="sync-daemon-bench-", dir=base) as name:
        yield Path(name)
