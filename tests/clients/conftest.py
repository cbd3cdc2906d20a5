"""Real clients, each in an environment of its own, in front of a gateway over a filled store,
or of the bucket itself.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Mirror, hub, mirror  # noqa: F401 - fixtures
from tests.support.running import Running, running
from tests.support.servers import S3Server

READER = Path(__file__).with_name("reader.py")
ENVIRONMENTS = Path(__file__).parents[2] / ".venv" / "clients"
REQUIRE = "SYNC_DAEMON_REQUIRE_CLIENTS"
OWN = "hub2"
"""The generation that this project itself uses."""


def find_python(name: str) -> str:
    """Return the interpreter of a client's environment; skip, or fail where they are required."""
    if name == OWN:
        return sys.executable
    python = ENVIRONMENTS / name / "bin" / "python"
    if python.exists():
        return str(python)
    message = f"{python} is missing: make clients"
    if os.environ.get(REQUIRE):
        pytest.fail(message)
    pytest.skip(message)


def run_program(command: list[str], environment: Mapping[str, str]) -> str:
    """Run it to its end and return what it printed; it must not fail."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "AWS_"))}
    ran = subprocess.run(
        command,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:] + ran.stdout[-1000:]
    return ran.stdout


def ask_library(python: str, environment: Mapping[str, str], question: dict[str, Any]) -> Any:
    """Have the library of an environment do something and return what it found."""
    command = [python, str(READER), json.dumps(question)]
    return json.loads(run_program(command, environment).splitlines()[-1])


@dataclass(frozen=True)
class Client:
    """A library of one generation, its cache, and the mirror that it is pointed at."""

    python: str
    home: Path
    url: str
    token: str | None = None
    offline: bool = False

    def environment(self) -> dict[str, str]:
        told = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(self.home),
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        }
        if self.offline:
            told["HF_HUB_OFFLINE"] = "1"
        return told | ({"HF_TOKEN": self.token} if self.token else {})

    def __call__(self, what: str, repo: str, **more: Any) -> Any:
        """Do something by the library and return what it found."""
        question = {"what": what, "repo": repo} | more
        return ask_library(self.python, self.environment(), question)

    def command(self, *args: str) -> str:
        """Run the client's own command line, `hf`."""
        return run_program([str(Path(self.python).with_name("hf")), *args], self.environment())


Make = Callable[..., Client]


@pytest.fixture
def make_client(tmp_path: Path) -> Make:
    """Make a client of a generation with a cache of its own."""

    def make(name: str, url: str, token: str | None = None) -> Client:
        return Client(find_python(name), tmp_path / f"home-{name}", url, token)

    return make


Serve = Callable[..., Running]


@pytest.fixture
def serve(mirror: Mirror) -> Iterator[Serve]:  # noqa: F811 - the fixture
    """Sync what a YAML names and serve it."""

    def end(found: Running) -> None:
        code, _ = found.end()
        assert code == 0, found.lines

    with ExitStack() as stack:

        def start(*models: dict[str, Any], code: int = 0, **gateway: Any) -> Running:
            rules = {"listen": "127.0.0.1:0", "anonymous": True, "refresh": "1s"} | gateway
            mirror.write(*models, gateway=rules)
            mirror.sync(code=code)
            found = stack.enter_context(running(mirror.daemon, verb="gateway"))
            stack.callback(end, found)
            return found

        yield start


@dataclass(frozen=True)
class BucketClient:
    """A library that reads the bucket itself."""

    python: str
    account: S3Server
    home: Path

    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "AWS_ACCESS_KEY_ID": self.account.access_key,
            "AWS_SECRET_ACCESS_KEY": self.account.secret_key,
            "AWS_ENDPOINT_URL": self.account.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING": "0",
        }

    def __call__(self, what: str, url: str, output: Path) -> Any:
        """Do something by the library and return what it found."""
        question = {"what": what, "url": url, "output": str(output)}
        return ask_library(self.python, self.environment(), question)

    def aws(self, *args: str) -> str:
        """Run the `aws` of its environment."""
        return run_program([str(Path(self.python).with_name("aws")), *args], self.environment())


MakeBucketClient = Callable[[str, str], BucketClient]


@pytest.fixture
def make_bucket_client(
    mirror: Mirror,  # noqa: F811 - the fixture
    minio_server: S3Server,
    tmp_path: Path,
) -> MakeBucketClient:
    """Make the client of an environment, with an account that sees one model and no blob."""

    def make(name: str, model: str) -> BucketClient:
        account = f"reader-{random.randrange(10**9)}"
        ran = mirror.run("store", "init", "--json", "--reader", account, "--model", model)
        assert ran.code == 0, ran.out + ran.err
        secret = ran.json["reader"]["secret_key"]
        server = replace(minio_server, access_key=account, secret_key=secret)
        return BucketClient(find_python(name), server, tmp_path / "home")

    return make
