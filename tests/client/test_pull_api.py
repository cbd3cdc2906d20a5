"""`ModelLoader`: the same from Python, with a file, a mapping or nothing as its configuration."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sync_daemon.client import ModelLoader
from sync_daemon.client.report import NotInCache
from sync_daemon.config import ConfigError
from sync_daemon.domain.errors import ConfigurationError, SyncError
from sync_daemon.domain.events import BlobStored
from tests.client.conftest import MIB, REPO, Machine
from tests.support.hub import Hub, Repo, Synthetic


def test_a_file_may_say_all_of_it(tmp_path: Path, hub: Hub, repo: Repo) -> None:
    config = tmp_path / "pull.yaml"
    config.write_text(
        f"""
version: 1
mirror_sites: [{{name: office, url: "{hub.endpoint}"}}]
pull: {{model: {REPO}, output: {tmp_path}/out, cache: {tmp_path}/cache, include: ["*.json"]}}
"""
    )
    loader = ModelLoader(config, environ={})
    assert loader.download_and_verify().site == "office"
    assert loader.get_model_path() == tmp_path / "out"
    assert (tmp_path / "out/config.json").is_file()


def test_a_mapping_has_the_same_keys_and_is_as_strict(tmp_path: Path, hub: Hub) -> None:
    sites = [{"url": hub.endpoint}]
    pull = {"model": REPO, "cache": str(tmp_path / "cache")}
    assert ModelLoader({"mirror_sites": sites, "pull": pull}, environ={})
    with pytest.raises(ConfigError, match="mirror_sites"):
        ModelLoader({"mirror_site": sites, "pull": pull}, environ={})


def test_without_an_output_the_files_lie_in_the_cache(machine: Machine, repo: Repo) -> None:
    loader = machine.loader(output=None)
    with pytest.raises(NotInCache, match=REPO):
        loader.get_model_path()
    loader.download_and_verify()
    path = loader.get_model_path()
    assert machine.cache in path.parents
    assert (path / "config.json").read_bytes() == b'{"seed": 0}'


def test_the_path_is_that_of_the_version_and_not_of_another(machine: Machine, repo: Repo) -> None:
    machine.pull()
    assert machine.loader().get_model_path() == machine.output
    with pytest.raises(NotInCache):
        machine.loader(version="v1").get_model_path()


def test_offline_mode_can_be_set_later(machine: Machine, hub: Hub, repo: Repo) -> None:
    loader = machine.loader()
    loader.download_and_verify()
    hub.clear()
    loader.offline_mode = True
    assert loader.download_and_verify().status == "ok"
    assert hub.count() == 0


def test_the_path_in_the_hubs_cache_is_the_snapshot(machine: Machine, repo: Repo) -> None:
    loader = machine.loader(output=None, hf_cache=machine.home / "hub")
    report = loader.download_and_verify()
    assert loader.get_model_path() == report.snapshot


def test_events_are_heard(machine: Machine, repo: Repo) -> None:
    machine.pull()
    stored = [event.path for event in machine.events if isinstance(event, BlobStored)]
    assert sorted(stored) == ["config.json", "data/vocab.txt", "model.safetensors"]


def test_what_is_wrong_is_told_when_it_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no model is named"):
        ModelLoader(environ={})
    with pytest.raises(ConfigurationError, match="no configuration at"):
        ModelLoader(tmp_path / "nothing.yaml", model="m", environ={})


def test_every_error_carries_a_hint(machine: Machine, repo: Repo) -> None:
    for more in ({"version": "nothing"}, {"mirrors": ["http://127.0.0.1:9"]}):
        with pytest.raises(SyncError) as told:
            machine.pull(**more)
        assert told.value.hint


def test_ctrl_c_ends_it_within_seconds_and_keeps_what_came(machine: Machine, hub: Hub) -> None:
    hub.repo(REPO).commit({"model.safetensors": Synthetic(64 * MIB)})
    hub.rate_per_connection = MIB
    script = f"""
from sync_daemon.client import ModelLoader
ModelLoader(model="{REPO}", output="{machine.output}", cache="{machine.cache}",
            mirrors=["{hub.endpoint}"], environ={{}}).download_and_verify()
"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 30
        while hub.bytes_sent("cdn") < 2 * MIB and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert "KeyboardInterrupt" in err
    hub.rate_per_connection = None
    assert machine.pull().status == "ok"


def test_importing_it_loads_nothing_heavy_and_leaves_logging_alone() -> None:
    script = """
import logging, sys
before = list(logging.root.handlers), logging.root.level
from sync_daemon.client import ModelLoader
assert before == (list(logging.root.handlers), logging.root.level)
heavy = {"pydantic", "yaml", "huggingface_hub", "httpx2", "boto3", "rich", "structlog"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_pulling_needs_no_s3_library(machine: Machine, hub: Hub, repo: Repo) -> None:
    """boto3 alone takes longer to import than a small pull."""
    script = f"""
import sys
from sync_daemon.client import ModelLoader
ModelLoader(model="{REPO}", output="{machine.output}", cache="{machine.cache}",
            mirrors=["{hub.endpoint}"], environ={{}}).download_and_verify()
assert not {{"boto3", "botocore", "minio", "awscrt"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
