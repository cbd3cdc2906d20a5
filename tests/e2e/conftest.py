"""A mirror under test: the command, a store of its own, and an independent reader of it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, Ran
from tests.support.hub import Hub
from tests.support.rehash import Bucket, Folder, Place, Version, rehash
from tests.support.servers import BUCKET, make_client


@dataclass(frozen=True)
class Mirror:
    """A store, the command that fills it and the reader that checks it."""

    daemon: Daemon
    place: Place
    store: dict[str, str]
    origins: dict[str, Any]

    def write(self, *models: dict[str, Any], **sections: Any) -> None:
        """Write mirror.yaml; JSON is YAML."""
        document = {"version": 1, "store": self.store, "origins": self.origins, "models": models}
        self.daemon.write(json.dumps(document | sections))

    def sync(self, *args: str, code: int = 0, timeout: float = 120) -> dict[str, dict[str, Any]]:
        """Run once and return the entries of the report."""
        ran = self.daemon.sync(*args, timeout=timeout)
        assert ran.code == code, ran.err + ran.out
        return ran.versions()

    def run(self, *args: str) -> Ran:
        return self.daemon.run(*args)

    def published(self) -> dict[str, Version]:
        """Every published version, each byte of it re-hashed."""
        return rehash(self.place)

    def snapshot(self) -> dict[str, bytes]:
        return {key: self.place.read(key) for key in sorted(self.place.keys(""))}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as running:
        yield running


@pytest.fixture(params=["directory", "minio"])
def mirror(request: pytest.FixtureRequest, tmp_path: Path, hub: Hub) -> Mirror:
    origins = {"hf": {"type": "huggingface", "endpoints": [hub.endpoint], "token": "${HF_TOKEN:-}"}}
    config = tmp_path / "mirror.yaml"
    if request.param == "directory":
        root = tmp_path / "store"
        store = {"url": f"file://{root}"}
        return Mirror(Daemon(config), Folder(root), store, origins)
    server = request.getfixturevalue("minio_server")
    prefix = f"e2e/{uuid.uuid4().hex[:8]}"
    store = {"url": f"s3://{BUCKET}/{prefix}", "endpoint": server.endpoint}
    env = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
    place = Bucket(make_client(server), BUCKET, f"{prefix}/")
    return Mirror(Daemon(config, env), place, store, origins)
