"""The command line in this process, with a directory to mirror and a directory to fill."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sync_daemon.cli.main import main
from tests.support.daemon import Ran


@dataclass
class Cli:
    """Calls `main` and returns what it printed; `environ` is all that it sees of one."""

    folder: Path
    capsys: pytest.CaptureFixture[str]
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.folder / "mirror.yaml"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def put(self, repo: str, files: dict[str, bytes]) -> None:
        """Put files into a repository of the directory origin."""
        for path, data in files.items():
            target = self.folder / "disk" / repo / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)

    def write(self, *models: dict[str, Any], **sections: Any) -> None:
        """Write mirror.yaml; JSON is YAML."""
        document = {
            "version": 1,
            "store": {"url": self.store.as_uri()},
            "origins": {"disk": {"type": "directory", "path": str(self.folder / "disk")}},
            "defaults": {"origin": "disk"},
            "models": models,
        }
        self.config.write_text(json.dumps(document | sections))

    def __call__(self, *argv: str) -> Ran:
        self.capsys.readouterr()
        code = main(["--config", str(self.config), *argv], environ=self.environ)
        out, err = self.capsys.readouterr()
        return Ran(code, out, err)

    def snapshot(self) -> dict[str, bytes]:
        """Every file of the store, by its path."""
        files = (path for path in sorted(self.store.rglob("*")) if path.is_file())
        return {str(path.relative_to(self.store)): path.read_bytes() for path in files}


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """One model, `m`, of two files."""
    found = Cli(tmp_path, capsys)
    found.put("org/m", {"config.json": b"{}", "weights.bin": b"w" * 5000})
    found.write({"name": "m", "repo": "org/m"})
    return found
