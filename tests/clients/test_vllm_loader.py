"""What vLLM calls for `s3://`, on a plain tree of real weights: needs torch, `make embedding`."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests.clients.conftest import MakeBucketClient, ask_library, find_python
from tests.e2e.conftest import Mirror
from tests.support.hub import Hub
from tests.support.sample import sample_model_dir, sample_model_files

pytestmark = [
    pytest.mark.skipif(
        "SYNC_DAEMON_WITH_TORCH" not in os.environ, reason="torch is 5 GB: `make embedding`"
    ),
    pytest.mark.parametrize("mirror", ["minio"], indirect=True),
]
HEAVY = {".pt", ".safetensors", ".bin", ".tensors", ".pth"}
"""What vLLM does not take for a part of config or tokenizer."""


def test_vllms_loader_streams_every_tensor_as_it_is_on_disk(
    mirror: Mirror, hub: Hub, make_bucket_client: MakeBucketClient, tmp_path: Path
) -> None:
    """By an account that sees one model; the neighbour 1.0 is not taken for a part of 1."""
    repo, files = hub.repo("org/minilm"), sample_model_files()
    repo.tag("v1", repo.commit(files))
    versions = [{"name": name, "revision": "v1"} for name in ("1", "1.0")]
    mirror.write({"name": "minilm", "repo": "org/minilm", "trees": True, "versions": versions})
    mirror.sync()
    url = f"{mirror.store['url']}/trees/minilm/1"
    found = make_bucket_client("torch", "minilm")("vllm", url, tmp_path / "out")
    small = {
        path: hashlib.sha256(file.read_bytes()).hexdigest()
        for path, file in files.items()
        if file.suffix not in HEAVY
    }
    assert found["old"] == small
    assert {k: v for k, v in found["new"].items() if k in files} == small
    assert found["weights"] == [f"{url}/model.safetensors"]
    disk = str(sample_model_dir() / "model.safetensors")
    expected = ask_library(find_python("torch"), {}, {"what": "tensors", "disk": disk})
    assert len(expected) > 100
    assert found["tensors"] == expected
