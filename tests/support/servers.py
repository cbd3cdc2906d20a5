"""Real S3 servers for the tests: started when first asked for, ended with the session.

Each listens on a free port of 127.0.0.1 and keeps its data in a directory of its own, so that
several test processes can run side by side. MinIO is found by $MINIO_BIN, on the PATH, or
where `go install` puts it; `python -m tests.support.servers --has-minio` tells whether.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from minio import MinioAdmin
from minio.credentials.providers import StaticProvider

BUCKET = "mirror"
ACCESS_KEY = "test-access"
SECRET_KEY = "test-secret-key"
_READY_SECONDS = 60.0


class ServerFailed(Exception):
    """A server did not start, or did not answer in time."""


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running server that has an empty bucket `BUCKET`."""

    name: str
    endpoint: str
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY


def find_minio() -> Path | None:
    """Return the MinIO server binary, or None."""
    named = os.environ.get("MINIO_BIN")
    if named:
        return Path(named) if os.access(named, os.X_OK) else None
    found = shutil.which("minio")
    candidates = [Path(found)] if found else []
    candidates += [Path(folder) / "bin" / "minio" for folder in _go_paths()]
    return next((path for path in candidates if os.access(path, os.X_OK)), None)


@contextmanager
def run_minio(binary: Path, folder: Path) -> Iterator[S3Server]:
    """Run MinIO with its data in `folder`."""
    port, console = free_ports(2)
    command = [
        str(binary), "server", "--quiet",
        "--address", f"127.0.0.1:{port}", "--console-address", f"127.0.0.1:{console}",
        str(folder / "data"),
    ]  # fmt: skip
    secrets = {
        "MINIO_ROOT_USER": ACCESS_KEY,
        "MINIO_ROOT_PASSWORD": SECRET_KEY,
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
    }
    with _run("minio", command, folder, f"http://127.0.0.1:{port}", secrets) as server:
        yield server


@contextmanager
def run_seaweedfs(folder: Path) -> Iterator[S3Server]:
    """Run SeaweedFS, all of its servers in one process, with its data in `folder`."""
    names = ("master", "volume", "filer", "s3")
    ports = free_ports(2 * len(names))
    keys = {"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}
    identity = {"name": "test", "credentials": [keys], "actions": ["Admin"]}
    config = folder / "identities.json"
    config.write_text(json.dumps({"identities": [identity]}))
    (folder / "data").mkdir()
    listen = [
        option
        for index, name in enumerate(names)
        for option in (
            f"-{name}.port={ports[2 * index]}",
            f"-{name}.port.grpc={ports[2 * index + 1]}",
        )
    ]
    command = [
        str(Path(sys.executable).with_name("weed")), "server", "-filer", "-s3",
        "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder / 'data'}", f"-s3.config={config}",
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false",
        f"-s3.localSocket={folder}/s3.sock", f"-filer.localSocket={folder}/filer.sock",
        "-master.telemetry=false", "-master.volumeSizeLimitMB=256",
        "-volume.max=16", *listen,
    ]  # fmt: skip
    endpoint = f"http://127.0.0.1:{ports[6]}"
    try:
        with _run("seaweedfs", command, folder, endpoint, {}) as server:
            yield server
    finally:
        for name, port in zip(names, ports[1::2], strict=True):
            Path(f"/tmp/seaweedfs-{name}-grpc-{port}.sock").unlink(missing_ok=True)


@contextmanager
def run_moto() -> Iterator[S3Server]:
    """Run moto's server inside this process: right in form, blind to rights and races."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - slow to import

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for every request
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    try:
        host, port = moto.get_host_and_port()
        server = S3Server("moto", f"http://{host}:{port}")
        make_client(server).create_bucket(Bucket=BUCKET)
        yield server
    finally:
        moto.stop()


NAMED = "SYNC_DAEMON_TEST_S3"
"""The variable that names a server for trials by its URL; its keys are those of AWS's variables."""


@contextmanager
def use_named() -> Iterator[S3Server]:
    """Make the bucket on the server that is named, and remove it with what the tests left."""
    keys = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    server = S3Server("named", os.environ[NAMED], *keys)
    client = make_client(server)
    client.create_bucket(Bucket=BUCKET)  # one that is there is somebody's
    try:
        yield server
    finally:
        for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=BUCKET):
            for upload in page.get("Uploads", ()):
                client.abort_multipart_upload(
                    Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"]
                )
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
            for entry in page.get("Contents", ()):
                client.delete_object(Bucket=BUCKET, Key=entry["Key"])
        client.delete_bucket(Bucket=BUCKET)


def make_client(server: S3Server) -> Any:
    """Return a plain boto3 client of a server, to arrange what a test needs."""
    import boto3  # noqa: PLC0415 - slow to import
    from botocore.config import Config  # noqa: PLC0415

    return boto3.session.Session().client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


def admin_of(server: S3Server) -> MinioAdmin:
    """Return what administers a MinIO."""
    provider = StaticProvider(server.access_key, server.secret_key)
    return MinioAdmin(endpoint=urlsplit(server.endpoint).netloc, credentials=provider, secure=False)


def keep_uploads_for_a_day(server: S3Server) -> None:
    """Set what a MinIO does by itself: `store init` of another test may have changed it."""
    admin_of(server).config_set(key="api", config={"stale_uploads_expiry": "24h"})


@contextmanager
def _run(
    name: str, command: list[str], folder: Path, endpoint: str, extra: Mapping[str, str]
) -> Iterator[S3Server]:
    server = S3Server(name, endpoint)
    with ExitStack() as stack:
        log = stack.enter_context((folder / "log").open("wb"))
        process = stack.enter_context(
            subprocess.Popen(
                tie_to_this_process(command),
                cwd=folder,
                env={**_plain_environment(), "HOME": str(folder), **extra},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        )
        stack.callback(process.kill)  # nobody needs its data any more
        _wait_until_ready(server, process, folder / "log")
        yield server


def _wait_until_ready(server: S3Server, process: subprocess.Popen[bytes], log: Path) -> None:
    client = make_client(server)
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            client.create_bucket(Bucket=BUCKET)
        except Exception as error:
            if process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            tail = log.read_text(errors="replace")[-2_000:]
            message = f"{server.name} did not start: {error}\n{tail}"
            raise ServerFailed(message) from error
        return


def tie_to_this_process(command: list[str]) -> list[str]:
    """Let the kernel end the server when the test run is killed and cannot do it."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", *command] if setpriv else command


def _plain_environment() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}


def _go_paths() -> list[str]:
    paths = [os.environ["GOPATH"]] if os.environ.get("GOPATH") else []
    if go := shutil.which("go"):
        asked = subprocess.run([go, "env", "GOPATH"], capture_output=True, text=True, check=False)
        paths.append(asked.stdout.strip())
    return [*filter(None, paths), str(Path.home() / "go")]


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on; all are held until the last one is found."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [int(free.getsockname()[1]) for free in sockets]


if __name__ == "__main__":
    sys.exit(0 if "--has-minio" in sys.argv[1:] and find_minio() else 1)
