"""Signals: the second one does not wait for what the first one waits for."""

import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon
from tests.support.hub import Fault, Hub, Stall, Synthetic
from tests.support.waiting import wait_until

PATIENCE = 10
"""Seconds within which a command must be gone; the YAML waits 60 s for the next byte."""


def write(tmp_path: Path, store: dict[str, str], **sections: Any) -> Daemon:
    daemon = Daemon(tmp_path / "mirror.yaml")
    document = {
        "version": 1,
        "store": store,
        "models": [{"name": "m", "repo": "org/m"}],
        "transfer": {"read_timeout": "60s", "attempts": 1},
    }
    daemon.write(json.dumps(document | sections))
    return daemon


def end(process: subprocess.Popen[str], *numbers: signal.Signals) -> tuple[int, str]:
    """Send these signals and return how the process ended, and what it said."""
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.3)  # two of a kind at once are one
    try:
        _, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_a_run_that_waits_for_its_origin(
    tmp_path: Path, number: signal.Signals
) -> None:
    with Hub() as hub:
        hub.repo("org/m").commit({"w.bin": Synthetic(1 << 20)})
        hub.faults.add(Fault("cdn", Stall(1000), times=None))
        daemon = write(
            tmp_path,
            {"url": (tmp_path / "store").as_uri()},
            origins={"hf": {"type": "huggingface", "endpoints": [hub.endpoint]}},
        )
        with daemon.start("run-once") as process:
            wait_until(lambda: hub.count("cdn"))
            assert end(process, number, number)[0] == 130
        hub.faults.clear()
        assert daemon.sync().versions()["m@main"]["status"] == "published"


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        yield server


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_reads_ends_at_the_first_signal(
    tmp_path: Path, silent: socket.socket, number: signal.Signals
) -> None:
    url = f"http://127.0.0.1:{silent.getsockname()[1]}"
    keys = {"access_key": "id", "secret_key": "not-a-secret"}
    daemon = write(tmp_path, {"url": "s3://bucket", "endpoint": url, "credentials": keys})
    with daemon.start("status") as process, silent.accept()[0]:
        code, err = end(process, number)
    assert (code, err) == (130, "interrupted\n")
