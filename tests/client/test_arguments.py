"""Arguments from Python that are of another type: told by their names, or understood."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sync_daemon.client.sites import read_token
from sync_daemon.domain.errors import ConfigurationError
from tests.client.conftest import REPO, Machine
from tests.support.hub import Hub, Repo


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("version", 2.0, 'version="2.0"'),
        ("model", 5, 'model="5"'),
        ("model", "m@", "MODEL@VERSION"),
        ("repo_type", b"model", "repo_type="),
        ("bandwidth", 5, 'bandwidth="5"'),
        ("connections", "16", "connections=16"),
        ("connections", True, "connections=16"),
        ("include", 5, "include=["),
        ("exclude", ["a", 5], "exclude=["),
        ("mirrors", None, "mirrors=["),
        ("output", 5, "output="),
        ("cache", True, "cache="),
        ("hf_cache", 5, "hf_cache="),
        ("config", 5, "config="),
    ],
)
def test_a_wrong_type_is_told_with_what_to_write(
    machine: Machine, name: str, value: object, advice: str
) -> None:
    more: dict[str, Any] = {"model": REPO} | {name: value}
    with pytest.raises(ConfigurationError, match=f"{name}|names no version") as told:
        machine.loader(**more)
    assert advice in told.value.hint


def test_a_token_of_a_wrong_type_is_not_shown(machine: Machine) -> None:
    with pytest.raises(ConfigurationError, match="token") as told:
        machine.loader(token=271828)
    assert "271828" not in f"{told.value} {told.value.hint}"


def test_a_bare_text_is_one_entry(machine: Machine, hub: Hub, repo: Repo) -> None:
    machine.pull(mirrors=hub.endpoint, include="data/*")
    assert [path.name for path in machine.output.iterdir() if path.name[0] != "."] == ["data"]
    machine.pull(exclude="data/*")
    assert not (machine.output / "data/vocab.txt").exists()


def test_true_means_where_the_other_library_looks_by_itself(machine: Machine, repo: Repo) -> None:
    loader = machine.loader(output=None, hf_cache=True, torch_home=True)
    report = loader.download_and_verify()
    assert report.request.torch_home == machine.home / ".cache/torch"
    assert report.snapshot is not None
    assert machine.home / ".cache/huggingface/hub" in report.snapshot.parents


def test_false_means_not_there(machine: Machine, repo: Repo) -> None:
    request = machine.pull(hf_cache=False, torch_home=False).request
    assert (request.hub_cache, request.torch_home) == (None, None)


@pytest.mark.parametrize("below", ["", "blobs", "pulled"])
@pytest.mark.parametrize("place", ["output", "hf_cache", "torch_home"])
def test_a_place_among_the_files_of_the_cache_is_refused(
    machine: Machine, hub: Hub, repo: Repo, place: str, below: str
) -> None:
    more: dict[str, Any] = {"output": None} | {place: machine.cache / below}
    with pytest.raises(ConfigurationError, match="lies in the cache") as told:
        machine.pull(**more)
    assert "outside" in told.value.hint
    assert not machine.cache.exists()
    assert hub.count() == 0


def test_a_link_that_leads_into_the_cache_is_refused(
    machine: Machine, repo: Repo, tmp_path: Path
) -> None:
    machine.pull()
    link = tmp_path / "link"
    link.symlink_to(machine.cache / "models")
    with pytest.raises(ConfigurationError, match="lies in the cache"):
        machine.pull(output=link / "new")


def test_what_pull_itself_keeps_in_the_cache_can_be_named(machine: Machine, repo: Repo) -> None:
    loader = machine.loader(output=None)
    loader.download_and_verify()
    assert machine.pull(output=loader.get_model_path()).outcome.kept == 3


def test_a_token_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("secret\n", encoding="utf-8-sig")
    assert read_token(file).reveal() == "secret"
