"""Files that stock clients refuse when they hear the size: with the real one, and its limit
lowered together with the gateway's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sync_daemon.domain.digests import Digest
from sync_daemon.gateway.files.agents import LARGEST_ANNOUNCED
from sync_daemon.stores.memory import MemoryStore
from tests.gateway.test_files import ask, open_minio
from tests.support.file_gate import MIB, Gate, make_bytes, make_settings, put_file, run_gate
from tests.support.servers import S3Server

LIMIT = 1_000_000
BODY = make_bytes(2 * MIB)
NEW = "unknown/None; hf_hub/1.31.0; python/3.11"
OLD = ("unknown/None; hf_hub/0.36.2; python/3.9", "unknown/None; hf_hub/1.30.2; python/3.11")
PULL = """
import hashlib, json, os, sys
from huggingface_hub import constants, hf_hub_download
assert constants.MAX_HTTP_DOWNLOAD_SIZE == int(sys.argv[1])
constants.MAX_HTTP_DOWNLOAD_SIZE = int(sys.argv[2])
path = hf_hub_download("o/m", "huge.gguf")
data = open(path, "rb").read()
name = os.path.basename(os.path.realpath(path))
print(json.dumps([hashlib.sha256(data).hexdigest(), name]))
"""


def pull(gate: Gate, home: Path) -> subprocess.CompletedProcess[str]:
    """Load `huge.gguf` with the real client, in a process of its own."""
    env = {name: os.environ[name] for name in ("PATH",) if name in os.environ}
    env |= {"HF_ENDPOINT": gate.url, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-c", PULL, str(LARGEST_ANNOUNCED), str(LIMIT)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def gate() -> Iterator[Gate]:
    store = MemoryStore()
    with run_gate(store, largest_announced=LIMIT) as found:
        found.add(put_file(store, "huge.gguf", BODY), put_file(store, "large.gguf", BODY[:LIMIT]))
        yield found


def test_the_real_client_loads_what_it_would_refuse(gate: Gate, tmp_path: Path) -> None:
    done = pull(gate, tmp_path)
    assert done.returncode == 0, done.stderr
    digest = Digest.of(BODY)
    assert json.loads(done.stdout) == [digest, digest]


def test_the_real_client_refuses_it_when_it_hears_the_size(tmp_path: Path) -> None:
    """The proof that the test above is one."""
    store = MemoryStore()
    with run_gate(store) as gate:
        gate.add(put_file(store, "huge.gguf", BODY))
        done = pull(gate, tmp_path)
    assert done.returncode != 0
    assert "too large" in done.stderr


def test_the_real_client_loads_it_by_a_link(minio_server: S3Server, tmp_path: Path) -> None:
    """The bucket has the host name of the gateway here, and another port."""
    settings = make_settings(f"store_url: '{minio_server.endpoint}'")
    with (
        closing(open_minio(minio_server, "huge")) as store,
        run_gate(store, settings, largest_announced=LIMIT) as gate,
    ):
        gate.add(put_file(store, "huge.gguf", BODY))
        assert ask(gate, "GET", gate.path("huge.gguf"), User_Agent=NEW)[0] == 302
        done = pull(gate, tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0] == Digest.of(BODY)


def test_the_head_of_a_huge_file_leaves_out_the_size_for_these_clients_only(gate: Gate) -> None:
    path = gate.path("huge.gguf")
    _, new, _ = ask(gate, "HEAD", path, User_Agent=NEW)
    assert not {"content-length", "x-linked-size", "transfer-encoding"} & set(new)
    assert {"etag", "x-linked-etag", "x-repo-commit"} <= set(new)
    _, other, _ = ask(gate, "HEAD", path, User_Agent="curl/8")
    assert other["content-length"] == other["x-linked-size"] == str(len(BODY))
    _, large, _ = ask(gate, "HEAD", gate.path("large.gguf"), User_Agent=NEW)
    assert large["content-length"] == str(LIMIT)


def test_a_cache_in_front_keeps_the_heads_of_a_huge_file_apart(gate: Gate) -> None:
    """Of all others, and of the bytes, it needs one copy for all programs."""
    path, agents = gate.path("huge.gguf"), (NEW, "curl/8")
    for agent in agents:
        assert ask(gate, "HEAD", path, User_Agent=agent)[1]["vary"] == "Authorization, User-Agent"
    large = ask(gate, "HEAD", gate.path("large.gguf"), User_Agent=NEW)[1]
    bodies = [ask(gate, "GET", path, User_Agent=agent)[1] for agent in agents]
    assert {one["vary"] for one in (large, *bodies)} == {"Authorization"}
    for told in bodies:
        del told["date"]
    assert bodies[0] == bodies[1]
    assert bodies[0]["content-length"] == str(len(BODY))


@pytest.mark.parametrize("agent", OLD)
def test_a_client_that_cannot_take_it_is_told_what_can(gate: Gate, agent: str) -> None:
    status, headers, _ = ask(gate, "HEAD", gate.path("huge.gguf"), User_Agent=agent)
    assert (status, headers["x-error-code"]) == (403, "GatedRepo")  # its message is shown
    assert "sync-daemon pull" in headers["x-error-message"]
    assert ask(gate, "HEAD", gate.path("large.gguf"), User_Agent=agent)[0] == 200
