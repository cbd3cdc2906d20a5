"""Alerts by their real causes, end to end: processes, a real disk that is full, Apprise, a sink.

Each alert fires, stays silent while it goes on, survives a restart, and is over by what mends it.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sync_daemon.bootstrap import alerting
from sync_daemon.config import load
from sync_daemon.daemon.jobs import Job
from sync_daemon.daemon.work import Work
from sync_daemon.domain.events import RunFailed, RunFinished, RunStarted
from sync_daemon.domain.report import Failure
from sync_daemon.stores.memory import MemoryStore
from tests.daemon.test_service import HOUR, Bench
from tests.support.hub import Fault, Hub, Status, Synthetic
from tests.support.running import Place, running
from tests.support.sinks import AlertSink, alert_sink
from tests.support.waiting import wait_until

MIB = 1024**2
SLOW = 12 * MIB
"""Bytes per second: the threshold of these tests, so that they take no minutes."""

MODELS = 20
"""As many as a share of failures needs to say something."""


@dataclass
class Mirror:
    """A place whose alerts go to a sink, by Apprise."""

    place: Place
    hub: Hub
    sink: AlertSink
    room: str = "1KiB"

    def write(self, *models: str, **sections: Any) -> None:
        """Write the YAML: models of the Hub, and a common threshold for each kind of alert."""
        alerts = {
            "urls": [f"json://{self.sink.place}"],
            "slow_transfer": {"below": str(SLOW)},
            "store_full": {"below": self.room},
        }
        alerts |= sections.pop("alerts", {})
        self.place.write(
            sections.pop("schedule", {}),
            **{
                "origins": {"hf": {"type": "huggingface", "endpoints": [self.hub.endpoint]}},
                "models": [{"name": name, "repo": f"org/{name}"} for name in models or ("m",)],
                "transfer": {"attempts": 1},
                "alerts": alerts,
            }
            | sections,
        )

    def run_once(self, *args: str, code: int | None = 0) -> None:
        ran = self.place.daemon().run("run-once", *args)
        assert code is None or ran.code == code, ran.err

    def told(self) -> list[str]:
        """What the sink was told, a line for each alert: `firing, critical, origin_down`."""
        lines = [line for _, _, body in self.sink.posts for line in body["message"].splitlines()]
        return [line.partition(":")[0] for line in lines]

    def wait_for(self, *told: str) -> None:
        """Wait until the sink was told this and nothing else, in this order."""
        wait_until(lambda: len(self.told()) >= len(told), lambda: str(self.told()))
        assert self.told() == list(told)


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    with Hub() as hub, alert_sink() as sink:
        yield Mirror(Place(tmp_path), hub, sink)


def test_an_origin_that_is_slow_three_times(mirror: Mirror) -> None:
    """Three files of 16 MiB crawl; the daemon starts anew and says no more; a fast one ends it."""
    repo = mirror.hub.repo("org/m")
    files = {f"{n}.bin": Synthetic(16 * MIB, seed=n) for n in range(3)}
    repo.commit(files)
    mirror.hub.rate_total = 8 * MIB
    mirror.write(schedule={"incremental": "1s"})
    with running(mirror.place.daemon()) as daemon:
        mirror.wait_for("firing, warning, slow_transfer")
        daemon.wait_for("version.published")
        assert daemon.end()[0] == 0
    with running(mirror.place.daemon()) as daemon:
        daemon.wait_for("version.unchanged", 2)
        repo.commit(files | {"again.bin": Synthetic(16 * MIB, seed=9)})
        daemon.wait_for("version.published")
        mirror.hub.rate_total = None
        repo.commit(files | {"fast.bin": Synthetic(32 * MIB, seed=10)})
        mirror.wait_for("firing, warning, slow_transfer", "resolved, warning, slow_transfer")
        daemon.wait_for("run.finished", 2)
        assert daemon.end()[0] == 0
    assert len(mirror.told()) == 2
    (first, last) = (body for _, _, body in mirror.sink.posts)
    assert first["title"] == "sync-daemon: slow_transfer firing"
    assert "3 transfers in a row from hf were slower than 12,582,912 bytes/s" in first["message"]
    assert (first["type"], last["type"]) == ("warning", "success")


def test_an_origin_that_fails_too_often(mirror: Mirror) -> None:
    """One run of two fails, a third of one model too; healthy ones press the share below 20 %."""
    names = [f"m{n}" for n in range(MODELS)]
    for name in names:
        mirror.hub.repo(f"org/{name}").commit({"config.json": b"{}"})
    mirror.write(*names)
    mirror.run_once()
    assert mirror.told() == []
    mirror.hub.faults.add(Fault("hub", Status(503), times=None))
    mirror.run_once(code=None)
    fired = {"firing, critical, origin_down", "firing, warning, failure_rate"}
    assert set(mirror.told()) - {"firing, warning, endpoint_failure_rate"} == fired
    count = len(mirror.told())
    mirror.run_once("--model", names[0], code=None)
    assert len(mirror.told()) == count, "told already"
    mirror.hub.faults.clear()
    runs = 0
    while "resolved, warning, failure_rate" not in mirror.told():
        mirror.run_once()
        runs += 1
        assert runs < 8, mirror.told()
    assert runs == 4, "21 of 121 attempts: 17 %"
    ended = mirror.told()[count:]
    assert ended[0] == "resolved, critical, origin_down"
    assert sorted(x.partition(", ")[2] for x in ended) == sorted(
        x.partition(", ")[2] for x in mirror.told()[:count]
    )


def test_an_origin_that_is_not_there(mirror: Mirror) -> None:
    """The daemon tells it after the first run that finds nobody, and after the next good one."""
    mirror.hub.repo("org/m").commit({"config.json": b"{}"})
    mirror.write(schedule={"incremental": "1s"})
    mirror.hub.faults.add(Fault("hub", Status(503), times=None))
    with running(mirror.place.daemon()) as daemon:
        mirror.wait_for("firing, critical, origin_down")
        daemon.wait_for("run.finished", 3)
        daemon.send(signal.SIGKILL)
        daemon.process.wait()
    with running(mirror.place.daemon()) as daemon:
        daemon.wait_for("version.failed")
        mirror.hub.faults.clear()
        mirror.wait_for("firing, critical, origin_down", "resolved, critical, origin_down")
        assert daemon.end()[0] == 0
    assert len(mirror.told()) == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a file system can be mounted by root only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_is_full(mirror: Mirror, small_disk: Path) -> None:
    """Nothing is published, one alert is told; room is made, and the next run publishes."""
    mirror.hub.repo("org/m").commit({"big.bin": Synthetic(30 * MIB, seed=1)})
    mirror.room = "8MiB"
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (40 * MIB))
    store = small_disk / "store"
    mirror.write(store={"url": store.as_uri()}, schedule={"incremental": "1s"})
    mirror.run_once(code=None)
    assert mirror.told() == ["firing, critical, store_full"]
    with running(mirror.place.daemon()) as daemon:
        daemon.wait_for("version.failed", 2, kind="store_full")
        assert daemon.end()[0] == 0
    assert mirror.told() == ["firing, critical, store_full"]
    assert not list(store.glob("models/*/*/current.json"))
    ballast.unlink()
    with running(mirror.place.daemon()) as daemon:
        mirror.wait_for("firing, critical, store_full", "resolved, critical, store_full")
        daemon.wait_for("version.published")
        assert daemon.end()[0] == 0


def test_a_version_that_is_stale(mirror: Mirror) -> None:
    """One of two models fails for longer than it may."""
    for name in ("m", "n"):
        mirror.hub.repo(f"org/{name}").commit({"config.json": b"{}"})
    mirror.write("m", "n", alerts={"stale": {"after": "3s"}})
    mirror.run_once()
    mirror.hub.faults.add(Fault("api", Status(403), path="*org/n*", times=None))
    mirror.run_once(code=None)
    time.sleep(3.1)
    mirror.run_once(code=None)
    assert mirror.told() == ["firing, warning, stale"]
    assert "n@main could not be brought up to date" in mirror.sink.posts[0][2]["message"]
    mirror.run_once(code=None)
    mirror.hub.faults.clear()
    mirror.run_once()
    assert mirror.told() == ["firing, warning, stale", "resolved, warning, stale"]


def test_a_tag_that_moved_until_it_is_accepted(mirror: Mirror) -> None:
    repo = mirror.hub.repo("org/m")
    repo.tag("v1", repo.commit({"config.json": b"{}"}))
    versions = [{"name": "v1", "revision": "v1"}]
    mirror.write(models=[{"name": "m", "repo": "org/m", "versions": versions}])
    mirror.run_once()
    repo.tag("v1", repo.commit({"config.json": b'{"changed": 1}'}))
    for _ in range(2):
        mirror.run_once(code=None)
        assert mirror.told() == ["firing, critical, tag_moved"]
    ran = mirror.place.daemon().run("accept", "m@v1")
    assert ran.code == 0, ran.err
    mirror.run_once()
    assert mirror.told() == ["firing, critical, tag_moved", "resolved, critical, tag_moved"]


def test_a_stored_blob_that_rots(mirror: Mirror) -> None:
    """The daemon's verification finds it, once; it goes, and a full run stores it anew."""
    weights = Synthetic(MIB, seed=3)
    mirror.hub.repo("org/m").commit({"w.bin": weights})
    mirror.write(schedule={"verify": "1s", "full": "1s"})
    mirror.run_once()
    (blob,) = mirror.place.folder.glob(f"store/blobs/**/{weights.sha256}")
    blob.chmod(0o600)
    with blob.open("r+b") as file:
        file.seek(500_000)
        file.write(b"rotten")
    with running(mirror.place.daemon()) as daemon:
        mirror.wait_for("firing, critical, corrupt_blob")
        daemon.wait_for("verify.finished", 2, damage=1)
        blob.unlink()
        mirror.wait_for("firing, critical, corrupt_blob", "resolved, critical, corrupt_blob")
        count = len(daemon.told("verify.finished"))
        daemon.wait_for("verify.finished", count + 2)
        assert daemon.told("verify.finished")[-1]["damage"] == 0
        assert daemon.end()[0] == 0
    assert len(mirror.told()) == 2
    assert mirror.sink.posts[0][2]["message"].count(weights.sha256) == 1


def test_a_run_that_is_overdue(mirror: Mirror) -> None:
    """The store is gone for five hours: each hour's run fails, which is not to have been done.

    Hours pass by a clock of the test; the loop, the alerts and their way out are the real ones.
    """
    mirror.write(schedule={"incremental": "1h"})
    config = (mirror.place.folder / "mirror.yaml").read_bytes()
    settings = load(config, environ={})

    class Failing(Work):
        def sync(self, job: Job) -> Failure | None:
            if bench.clock.monotonic() < 5 * HOUR:
                self._emit(RunFailed(str(job), "store_unavailable", "no answer"))
                return Failure("store_unavailable", "no answer")
            self._emit(RunStarted("r", "incremental", 1))
            self._emit(RunFinished("r", "ok", 1, 0, 0, 0))
            return None

    bench = Bench(settings, work=Failing)
    alerts = alerting.open_alerts(settings, bench.clock)
    bench.service._listeners = (alerts,)
    bench.service._on_start = (alerts.attach,)
    bench.service._every_minute = (alerts.tick,)
    store = MemoryStore()
    alerts.begin(store, alerting.facts(store, bench.clock, due=bench.service.due))
    bench.end = 8 * HOUR
    bench.run()
    alerts.close(10.0)
    assert mirror.told() == ["firing, critical, run_overdue", "resolved, critical, run_overdue"]
    told = bench.told.named("alert")
    first, last = (one.fields()["value"] for one in told)
    assert HOUR < first <= HOUR + 120, "a minute is the grain of the alerts' own thread"
    assert 4 * HOUR - 120 <= last <= 4 * HOUR


def test_a_configuration_that_is_invalid_until_it_is_valid(mirror: Mirror) -> None:
    mirror.hub.repo("org/m").commit({"config.json": b"{}"})
    mirror.write()
    config = mirror.place.folder / "mirror.yaml"
    good = config.read_text()
    with running(mirror.place.daemon()) as daemon:
        daemon.wait_for("run.finished")
        config.write_text(good + "\nunknown: 1\n")
        for count in (1, 2):
            daemon.send(signal.SIGHUP)
            daemon.wait_for("config.invalid", count)
            mirror.wait_for("firing, warning, config_invalid")
        config.write_text(good)
        daemon.send(signal.SIGHUP)
        daemon.wait_for("config.reloaded")
        mirror.wait_for("firing, warning, config_invalid", "resolved, warning, config_invalid")
        assert daemon.end()[0] == 0
    assert len(mirror.told()) == 2


def test_alerts_that_wait_for_a_service_outlive_a_reload(mirror: Mirror) -> None:
    """It takes none at first; both the alert and its end arrive, in their order."""
    mirror.hub.repo("org/m").commit({"config.json": b"{}"})
    mirror.write()
    config = mirror.place.folder / "mirror.yaml"
    good = config.read_text()
    mirror.sink.status = 503
    with running(mirror.place.daemon()) as daemon:
        daemon.wait_for("run.finished")
        config.write_text(good + "\nunknown: 1\n")
        daemon.send(signal.SIGHUP)
        daemon.wait_for("config.invalid")
        wait_until(lambda: mirror.sink.posts)
        mirror.sink.posts.clear()
        config.write_text(good)
        daemon.send(signal.SIGHUP)
        daemon.wait_for("config.reloaded")
        mirror.sink.status = 200
        mirror.wait_for("firing, warning, config_invalid", "resolved, warning, config_invalid")
        assert daemon.end()[0] == 0
    assert not daemon.told("alert.undelivered")
