"""A real nginx with the files of config/nginx, on ports and in a folder of its own."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path

import pytest

from tests.support.servers import free_ports, tie_to_this_process
from tests.support.web import Reply

SHIPPED = Path(__file__).parents[2] / "config" / "nginx"
REQUIRE = "SYNC_DAEMON_REQUIRE_NGINX"
SLICE = 64 * 1024
"""Bytes of a slice here, so that small files have some."""

_READY_SECONDS = 20.0
_MAIN = """
{user}
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/*.conf;
}}
"""


def find_nginx() -> str:
    """Return the program of Debian's `nginx-light`; where CI asks for it, it has to be there."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None and os.environ.get(REQUIRE):
        pytest.fail(f"nginx is missing, but {REQUIRE} asks for it: install nginx-light")
    return found or pytest.skip("nginx is not installed (Debian's package nginx-light)")


@dataclass(frozen=True)
class Ports:
    """Where nginx listens, known before it runs."""

    gateway: int
    store: int

    @property
    def gateway_url(self) -> str:
        return f"https://127.0.0.1:{self.gateway}"

    @property
    def store_url(self) -> str:
        return f"https://127.0.0.1:{self.store}"


def choose_ports() -> Ports:
    """Return two ports that nobody listens on."""
    return Ports(*free_ports(2))


@dataclass(frozen=True)
class Front:
    """A running nginx."""

    ports: Ports
    folder: Path
    certificate: Path

    @property
    def url(self) -> str:
        return self.ports.gateway_url

    def context(self) -> ssl.SSLContext:
        """Return what trusts its certificate, and nothing else."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def ask(
        self,
        path: str,
        method: str = "GET",
        *,
        token: str | None = None,
        source: str = "127.0.0.1",
        store: bool = False,
        **headers: str,
    ) -> Reply:
        """Send one request with exactly this path, from an address of this machine."""
        port = self.ports.store if store else self.ports.gateway
        connection = HTTPSConnection(
            "127.0.0.1", port, timeout=20, context=self.context(), source_address=(source, 0)
        )
        return Reply.to(connection, method, path, token=token, **headers)

    def stored(self) -> list[bytes]:
        """Return whatever lies in its caches."""
        return [path.read_bytes() for path in self.folder.glob("cache/**/*") if path.is_file()]

    def log(self) -> str:
        """Return its own logs."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.log")))


def substitute(text: str, changes: Mapping[str, str]) -> str:
    """Replace what an operator edits; each has to be there."""
    for before, after in changes.items():
        assert before in text, f"{before!r} is not in the file"
        text = text.replace(before, after)
    return text


@contextmanager
def run_nginx(
    folder: Path,
    ports: Ports,
    certificate: Path,
    *,
    gateway: str,
    store: str = "127.0.0.1:9",
    slices: str = str(SLICE),
) -> Iterator[Front]:
    """Run nginx in front of a gateway and a store, both given as `host:port`."""
    program = find_nginx()
    (folder / "cache").mkdir(parents=True)
    changes = {
        "/etc/ssl/certs/mirror.pem": str(certificate),
        "/etc/ssl/private/mirror.key": str(certificate),
        "/var/log/nginx/": f"{folder}/",
    }
    mine = {
        "listen 443 ssl": f"listen 127.0.0.1:{ports.gateway} ssl",
        "server 127.0.0.1:8080": f"server {gateway}",
        "/var/cache/": f"{folder}/cache/",
        "slice 8m;": f"slice {slices};",
    }
    theirs = {
        "listen 9443 ssl": f"listen 127.0.0.1:{ports.store} ssl",
        "server 127.0.0.1:9000": f"server {store}",
    }
    for name, more in (("gateway.conf", mine), ("minio.conf", theirs)):
        text = (SHIPPED / name).read_text()
        (folder / name).write_text(substitute(text, changes | more))
    user = "user root;" if os.geteuid() == 0 else ""
    main = folder / "main"
    main.write_text(_MAIN.format(user=user, folder=folder))
    command = tie_to_this_process([program, "-e", f"{folder}/start.log", "-c", str(main)])
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL) as process:
        try:
            front = Front(ports, folder, certificate)
            _wait_until_ready(front, process)
            yield front
        finally:
            process.terminate()
            process.wait(20)


def _wait_until_ready(front: Front, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    for port in (front.ports.gateway, front.ports.store):
        while True:
            assert process.poll() is None, front.log()
            assert time.monotonic() < deadline, front.log()
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                break
