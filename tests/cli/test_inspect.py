"""`inspect` of a file, of a URL, and of a version in the store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from tests.cli.conftest import Cli
from tests.support.torchlike import Saved, torch_zip
from tests.support.webroot import Page, WebRoot

WEIGHTS = save({"x": np.zeros((10, 20), "float16")})
TORCH = torch_zip({"y": Saved("FloatStorage", (7,))})


@pytest.fixture
def published(cli: Cli) -> Cli:
    """A model with weights in both forms."""
    cli.put("llama", {"model.safetensors": WEIGHTS, "old/pytorch_model.bin": TORCH, "a.txt": b"a"})
    cli.write({"name": "llama", "repo": "llama"})
    assert cli("run-once").code == 0
    return cli


def test_a_file_is_inspected_without_any_configuration(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(WEIGHTS)
    ran = cli("inspect", str(path), "--json", "--tensors")
    assert ran.code == 0
    assert ran.json["parameters"] == 200
    (file,) = ran.json["files"]
    assert file["tensors"] == [{"name": "x", "dtype": "F16", "shape": [10, 20]}]
    assert file["dtypes"] == {"F16": 200}


def test_a_version_in_the_store_is_inspected_file_by_file(published: Cli) -> None:
    for target in ("llama", "llama@main"):
        ran = published("inspect", target, "--json")
        assert ran.code == 0
        assert [(f["file"], f["format"], f["parameters"]) for f in ran.json["files"]] == [
            ("model.safetensors", "safetensors", 200),
            ("old/pytorch_model.bin", "torch zip", 7),
        ]
        assert ran.json["parameters"] == 207


def test_people_see_a_table_the_tensors_and_what_a_pickle_imports(published: Cli) -> None:
    said = published("inspect", "llama", "--tensors").out
    assert "207 parameters in 2 files" in said
    assert "10 x 20" in said
    assert "torch._utils._rebuild_tensor_v2" in said


def test_what_is_no_file_of_weights_fails_and_the_others_are_shown(published: Cli) -> None:
    ran = published("inspect", "llama", "--file", "*.txt", "--file", "*.bin", "--json")
    assert ran.code == 1
    assert [file["file"] for file in ran.json["files"]] == ["old/pytorch_model.bin"]
    assert "a.txt" in ran.json["errors"][0]


@pytest.mark.parametrize("target", ["llama@9.9", "nothing", "missing.safetensors", "a/b/c"])
def test_a_target_that_is_not_there_is_a_usage_error(published: Cli, target: str) -> None:
    assert published("inspect", target).code == 2


def test_a_directory_is_told_from_a_model(published: Cli, tmp_path: Path) -> None:
    ran = published("inspect", str(tmp_path))
    assert ran.code == 2
    assert "is a directory" in ran.err


def test_patterns_that_match_nothing_are_a_usage_error(published: Cli) -> None:
    assert published("inspect", "llama", "--file", "*.gguf").code == 2


def test_a_url_is_inspected_by_ranges(cli: Cli) -> None:
    pages = {"/big.safetensors": Page(WEIGHTS), "/whole.bin": Page(TORCH, ranges=False)}
    pages["/empty.bin"] = Page(b"")
    with WebRoot(pages) as web:
        ran = cli("inspect", f"{web.url}/big.safetensors", "--json")
        assert cli("inspect", f"{web.url}/missing.bin").code == 1
        whole = cli("inspect", f"{web.url}/whole.bin")
        empty = cli("inspect", f"{web.url}/empty.bin")
    assert ran.json["files"][0]["parameters"] == 200
    assert whole.code == 1
    assert "does not know ranges" in whole.err
    assert (empty.code, "is empty" in empty.err) == (1, True)


def test_a_server_that_cannot_be_reached_is_told_apart(cli: Cli) -> None:
    assert cli("inspect", "http://127.0.0.1:9/model.bin").code == 3


@pytest.mark.parametrize("url", ["http://", "http://h:abc/x", "https://user:s3cret@h/x"])
def test_what_is_no_url_is_a_usage_error_and_is_not_repeated(cli: Cli, url: str) -> None:
    ran = cli("inspect", url)
    assert ran.code == 2
    assert "s3cret" not in ran.err


def test_a_file_that_cannot_be_read_makes_no_empty_table(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"garbage" * 9)
    ran = cli("inspect", str(path))
    assert (ran.code, ran.out) == (1, "")
    assert "neither safetensors nor what torch saves" in ran.err
