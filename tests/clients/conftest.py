"""Real clients, each in an environment of its own, in front of a gateway over a filled store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Mirror, hub, mirror  # noqa: F401 - fixtures
from tests.support.running import Running, running

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


@dataclass(frozen=True)
class Client:
    """A library of one generation, its cache, and the mirror that it is pointed at."""

    python: str
    home: Path
    url: str
    token: str | None = None
    offline: bool = False

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "AWS_"))}
        told = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(self.home),
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        }
        if self.offline:
            told["HF_HUB_OFFLINE"] = "1"
        return kept | told | ({"HF_TOKEN": self.token} if self.token else {})

    def __call__(self, what: str, repo: str, **more: Any) -> Any:
        """Do something by the library and return what it found."""
        ask = json.dumps({"what": what, "repo": repo} | more)
        ran = subprocess.run(
            [self.python, str(READER), ask],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr[-3000:]
        return json.loads(ran.stdout.splitlines()[-1])

    def command(self, *args: str) -> str:
        """Run the client's own command line, `hf`."""
        ran = subprocess.run(
            [str(Path(self.python).with_name("hf")), *args],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr[-3000:] + ran.stdout[-1000:]
        return ran.stdout


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
