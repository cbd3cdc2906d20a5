"""Runs sync-daemon as its user does: a YAML file and the installed command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COMMAND = (sys.executable, "-m", "sync_daemon")


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def versions(self) -> dict[str, dict[str, Any]]:
        """The entries of `run-once --json`, by `model@version`."""
        return {f"{one['model']}@{one['version']}": one for one in self.json["models"]}


@dataclass(frozen=True)
class Daemon:
    """The command with one configuration file and environment."""

    config: Path
    env: Mapping[str, str] = field(default_factory=dict)

    def write(self, text: str) -> None:
        self.config.write_text(text)

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "HF_", "SYNC_"))}
        return kept | {"AWS_EC2_METADATA_DISABLED": "true"} | dict(self.env)

    def start(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, "--config", str(self.config), *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment(),
        )

    def run(self, *args: str, timeout: float = 120) -> Ran:
        with self.start(*args) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return Ran(process.returncode, out, err)

    def sync(self, *args: str, timeout: float = 120) -> Ran:
        return self.run("run-once", "--json", *args, timeout=timeout)
