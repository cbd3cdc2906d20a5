"""Mirrors that are doubles of the Hub, and a machine of a developer: a home, a cache, an output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sync_daemon.client import ModelLoader
from sync_daemon.client.report import PullReport
from sync_daemon.domain.events import Event
from tests.support.hub import Hub, Repo, Synthetic

MIB = 1024**2
REPO = "org/model"


@dataclass
class Machine:
    """A developer's machine; everything of it lies below `home`."""

    home: Path
    mirrors: list[str]
    events: list[Event] = field(default_factory=list)

    @property
    def cache(self) -> Path:
        return self.home / "cache"

    @property
    def output(self) -> Path:
        return self.home / "out"

    def loader(self, model: str = REPO, **more: Any) -> ModelLoader:
        options: dict[str, Any] = {
            "mirrors": self.mirrors,
            "cache": self.cache,
            "output": self.output,
            "environ": {"HOME": str(self.home)},
            "emit": self.events.append,
        }
        return ModelLoader(model=model, **(options | more))

    def pull(self, model: str = REPO, **more: Any) -> PullReport:
        return self.loader(model, **more).download_and_verify()

    def blobs(self) -> list[Path]:
        return sorted(path for path in self.cache.glob("blobs/**/*") if path.is_file())


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as found:
        yield found


@pytest.fixture
def repo(hub: Hub) -> Repo:
    """Two commits' worth of room: one large file, two small ones, one of them in a folder."""
    made = hub.repo(REPO)
    made.commit(files())
    return made


@pytest.fixture
def machine(tmp_path: Path, hub: Hub) -> Machine:
    return Machine(tmp_path, [hub.endpoint])


def files(seed: int = 0) -> dict[str, Any]:
    return {
        "config.json": b'{"seed": %d}' % seed,
        "data/vocab.txt": b"a\nb\n",
        "model.safetensors": Synthetic(12 * MIB, seed=7),
    }
