"""A store that was there and is gone: a disk that is not mounted is no new, empty mirror."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_daemon.daemon.jobs import Job
from sync_daemon.daemon.progress import Progress
from sync_daemon.daemon.work import Work
from sync_daemon.domain import keys
from tests.daemon.conftest import Configure
from tests.support.fakes import FakeClock, Recorder


class Host:
    """A daemon's work over a directory, which can be unmounted."""

    def __init__(self, folder: Path, configure: Configure) -> None:
        self.store, self.away = folder / "store", folder / "away"
        (folder / "shelf" / "m").mkdir(parents=True)
        (folder / "shelf" / "m" / "config.json").write_text("{}")
        self.settings = configure(
            store={"url": f"file://{self.store}"},
            origins={"disk": {"type": "directory", "path": str(folder / "shelf")}},
            models=[{"name": "m", "repo": "m"}],
        )
        self.told = Recorder()
        self.work = self.start()

    def start(self) -> Work:
        """Return the work of a new process."""
        progress = Progress(FakeClock().monotonic)
        return Work(self.settings, self.told, threading.Event(), progress)

    def sync(self) -> str:
        """Run once; return the kind of its failure, or nothing."""
        self.work.sync(Job("incremental"))
        failures = self.told.named("run.failed")
        self.told.events.clear()
        return "".join(str(failure.fields()["kind"]) for failure in failures)


@pytest.fixture
def host(tmp_path: Path, configure: Configure) -> Iterator[Host]:
    made = Host(tmp_path, configure)
    yield made
    made.work.close()


@pytest.mark.parametrize("left", ["nothing", "an empty folder"])
def test_a_store_that_vanished_is_not_made_anew(host: Host, left: str) -> None:
    assert host.sync() == ""
    host.store.rename(host.away)
    if left == "an empty folder":
        host.store.mkdir()
    assert [host.sync() for _ in range(3)] == ["store_refused"] * 3
    assert not host.store.exists() or not list(host.store.iterdir())
    if host.store.exists():
        host.store.rmdir()
    host.away.rename(host.store)
    assert host.sync() == ""


def test_a_new_process_may_begin_a_new_mirror(host: Host) -> None:
    host.sync()
    host.store.rename(host.away)
    host.work.close()
    host.work = host.start()
    assert host.sync() == ""
    assert (host.store / keys.MARKER).is_file()
