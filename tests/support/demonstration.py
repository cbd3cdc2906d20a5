"""The daemon under a real clock: two scheduled runs, reloads, SIGTERM in mid-transfer, resume.

Told by `status`, `history` and the metrics, as its operator sees them. The test does it every
few seconds, `benchmarks/demonstration.py` by the minute.
"""

from __future__ import annotations

import re
import signal
import socket
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.support.hub import Hub, Synthetic
from tests.support.running import Place, Running, running
from tests.support.waiting import wait_until

MIB = 1024**2
BIG = 64 * MIB
RATE = 4 * MIB
WANTED = re.compile(
    r"^sync_daemon_(?:runs_total|config_valid|versions_total|last_run_timestamp_seconds"
    r'|transfer_bytes_total|alerts_firing\{alert="config_invalid")[{ ].*',
    re.MULTILINE,
)


@dataclass
class Seen:
    """What came of it. `began` is when scheduled runs began, by the clock of the machine."""

    began: list[datetime] = field(default_factory=list)
    seconds_to_end: float = 0.0
    code: int = -1
    resumed: int = 0
    fetched: int = 0
    broken_off: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    status: dict[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, float]] = field(default_factory=list)


@dataclass
class Demonstration:
    """`every` is the schedule, `say` is told what a person would read, `patience` is in seconds."""

    folder: Path
    every: str
    say: Callable[[str], None]
    patience: float = 30.0
    seen: Seen = field(default_factory=Seen)

    def show(self) -> Seen:
        """Do it all; return what came of it."""
        with Hub() as hub:
            self.place, self.hub, self.port = Place(self.folder), hub, _free_port()
            self.repo = hub.repo("org/m")
            self.repo.commit({"config.json": b"{}"})
            hub.repo("org/n").commit({"config.json": b"{}"})
            self._write("m")
            with running(self.place.daemon()) as daemon:
                self._scheduled_runs(daemon)
                self._reloads(daemon)
                self._end_in_mid_transfer(daemon)
            with running(self.place.daemon()) as daemon:
                self._resume(daemon)
                daemon.end()
        return self.seen

    def _scheduled_runs(self, daemon: Running) -> None:
        self._do(
            f"start; a new commit before each of two scheduled runs (incremental: {self.every})"
        )
        self._wait(daemon, "version.published")
        for count in (1, 2):
            self.repo.commit({"config.json": b"{}", "notes.txt": b"x" * count})
            self._wait(daemon, "version.published", count + 1)
            self._wait(daemon, "run.finished", len(daemon.told("run.started")))
            started = daemon.told("run.started")[-1]["timestamp"]
            self.seen.began.append(datetime.fromisoformat(started))
            self.say(f"run began at {started}")
        self._look()

    def _reloads(self, daemon: Running) -> None:
        self._do("SIGHUP after the model n was added")
        self._write("m", "n")
        daemon.send(signal.SIGHUP)
        (reloaded,) = self._wait(daemon, "config.reloaded")
        self.say(f"config.reloaded: changed {reloaded['changed']}")
        self._wait(daemon, "version.published", model="n")
        self._do("SIGHUP after a misspelt key was added")
        config = self.place.folder / "mirror.yaml"
        good = config.read_text()
        config.write_text(good.removesuffix("}") + ', "modles": []}')
        daemon.send(signal.SIGHUP)
        (invalid,) = self._wait(daemon, "config.invalid")
        self.say(f"config.invalid: {invalid['problems'][0].rpartition('/')[2]}")
        config.write_text(good)
        self._look()

    def _end_in_mid_transfer(self, daemon: Running) -> None:
        self._do(f"a file of {BIG // MIB} MiB comes, at {RATE // MIB} MiB/s; SIGTERM in the midst")
        self.hub.rate_total = RATE
        self.repo.commit({"config.json": b"{}", "weights.bin": Synthetic(BIG, seed=1)})
        wait_until(lambda: self.hub.bytes_sent() > BIG // 4, str, self.patience)
        self.seen.code, self.seen.seconds_to_end = daemon.end()
        self.say(f"exit code {self.seen.code} after {self.seen.seconds_to_end:.1f} s")
        (run,) = self.place.daemon().run("history", "--limit", "1", "--json").json["runs"]
        self.seen.broken_off = self.place.daemon().run("history", run["run_id"], "--json").json
        self._ask("history", run["run_id"])

    def _resume(self, daemon: Running) -> None:
        self._do("start again")
        self.hub.rate_total = None
        (resumed,) = self._wait(daemon, "blob.resumed")
        (done,) = self._wait(daemon, "version.published")
        self.seen.resumed, self.seen.fetched = resumed["bytes"], done["fetched_bytes"]
        kept, fetched = self.seen.resumed / MIB, self.seen.fetched / MIB
        self.say(f"blob.resumed: {kept:.0f} MiB were here; {fetched:.0f} MiB fetched, published")
        self._wait(daemon, "run.finished", len(daemon.told("run.started")))
        self._look()
        self._ask("history")
        self.seen.history = self.place.daemon().run("history", "--json").json["runs"]
        self.seen.status = self.place.daemon().run("status", "--json").json

    def _write(self, *models: str) -> None:
        declared = [{"name": name, "repo": f"org/{name}"} for name in models]
        metrics = {"listen": f"127.0.0.1:{self.port}"}
        self.place.write_hub(
            self.hub, {"incremental": self.every}, models=declared, metrics=metrics
        )

    def _do(self, what: str) -> None:
        self.say(f"\n--- {what}")

    def _wait(self, daemon: Running, event: str, count: int = 1, **fields: Any) -> list[Any]:
        return daemon.wait_for(event, count, seconds=self.patience, **fields)

    def _look(self) -> None:
        self._ask("status")
        address = f"http://127.0.0.1:{self.port}/metrics"
        self.say(f"$ curl {address}")
        with urllib.request.urlopen(address, timeout=10) as answer:
            lines = WANTED.findall(answer.read().decode())
        pairs = (line.rsplit(" ", 1) for line in lines)
        found = {name: float(value) for name, value in pairs}
        self.seen.metrics.append(found)
        self.say("\n".join(line for line in lines if not line.endswith(" 0.0")))

    def _ask(self, *command: str) -> None:
        self.say(f"$ sync-daemon {' '.join(command)}")
        self.say(self.place.daemon().run(*command).out.rstrip())


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
