"""A daemon that runs: what it says, as it says it, and how it ends; and a place to mirror into."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.daemon import Daemon
from tests.support.hub import Hub
from tests.support.rehash import Folder, Version, rehash
from tests.support.waiting import PATIENCE, wait_until

SLOW = {"connections": 4, "part_size": "5MiB", "memory": "40MiB"}
NEVER = "off"
WITHIN = 12.0
"""Seconds in which the daemon is gone after SIGTERM."""


@dataclass
class Running:
    """A daemon that runs, and what it says, as it says it."""

    process: subprocess.Popen[str]
    lines: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(json.loads(line) if line.startswith("{") else {"event": line})

    @property
    def url(self) -> str:
        """Where its gateway is."""
        return str(self.wait_for("gateway.started")[-1]["url"])

    def told(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        return [
            line
            for line in tuple(self.lines)
            if line["event"] == event and line.items() >= fields.items()
        ]

    def wait_for(
        self, event: str, count: int = 1, *, seconds: float = PATIENCE, **fields: Any
    ) -> list[dict[str, Any]]:
        def is_over() -> bool:
            return len(self.told(event, **fields)) >= count or self.process.poll() is not None

        wait_until(is_over, lambda: str(self.lines), seconds)
        found = self.told(event, **fields)
        assert len(found) >= count, f"it ended: {self.lines}"
        return found

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, float]:
        """SIGTERM: the exit code, and how many seconds it took."""
        began = time.monotonic()
        self.send(signal.SIGTERM)
        code = self.process.wait(WITHIN + 3)
        self._reader.join(5)
        return code, time.monotonic() - began


@dataclass
class Place:
    """A directory that is mirrored into another."""

    folder: Path

    def daemon(self, **env: str) -> Daemon:
        return Daemon(self.folder / "mirror.yaml", env)

    def put(self, path: str, data: bytes) -> None:
        target = self.folder / "disk" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    def write(self, schedule: dict[str, Any], *models: str, **sections: Any) -> None:
        document = {
            "version": 1,
            "store": {"url": (self.folder / "store").as_uri()},
            "origins": {"disk": {"type": "directory", "path": str(self.folder / "disk")}},
            "models": [{"name": name, "repo": name} for name in models or ("m",)],
            "schedule": {"incremental": NEVER, "full": NEVER} | schedule,
            "metrics": {"listen": "off"},
        }
        # as an editor does it: never half a file
        new = self.folder / "mirror.new"
        new.write_text(json.dumps(document | sections))
        new.replace(self.folder / "mirror.yaml")

    def write_hub(self, hub: Hub, schedule: dict[str, Any], **sections: Any) -> None:
        origins = {"hf": {"type": "huggingface", "endpoints": [hub.endpoint]}}
        models = [{"name": "m", "repo": "org/m"}]
        more = {"origins": origins, "models": models, "transfer": SLOW}
        self.write(schedule, **(more | sections))

    def published(self) -> dict[str, Version]:
        return rehash(Folder(self.folder / "store"))


@contextmanager
def running(daemon: Daemon, *options: str, verb: str = "run") -> Iterator[Running]:
    process = daemon.start(*options, "--log-format", "json", "--log-level", "debug", verb)
    try:
        yield Running(process)
    finally:
        process.kill()
        process.wait()
