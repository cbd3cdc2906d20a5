"""The daemon as a process: its schedule, its signals, what systemd hears, kills, two at once."""

from __future__ import annotations

import signal
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub import Hub, Synthetic
from tests.support.notify import NotifySocket
from tests.support.running import WITHIN, Place, running
from tests.support.waiting import wait_until

MIB = 1024**2


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(tmp_path)
    found.put("m/config.json", b"{}")
    return found


def test_it_begins_with_what_is_missing_and_then_keeps_to_its_schedule(place: Place) -> None:
    place.write({"incremental": "1s"})
    with running(place.daemon()) as daemon:
        (first,) = daemon.wait_for("version.published")
        assert daemon.lines.index(first) < daemon.lines.index(daemon.wait_for("run.finished")[0])
        place.put("m/config.json", b'{"changed": true}')
        daemon.wait_for("version.published", 2)
        daemon.wait_for("version.unchanged", 2)
        assert daemon.end()[0] == 0
    assert place.published()["m@main"].files.keys() == {"config.json"}
    assert daemon.told("daemon.stopped")


def test_a_reload_takes_a_good_file_and_refuses_a_bad_one(place: Place) -> None:
    """A model that was added is mirrored at once, although nothing is scheduled."""
    place.put("n/config.json", b"{}")
    place.write({})
    with running(place.daemon()) as daemon:
        daemon.wait_for("run.finished")
        good = (place.folder / "mirror.yaml").read_text()
        (place.folder / "mirror.yaml").write_text(good + "\nunknown: 1\n")
        daemon.send(signal.SIGHUP)
        (invalid,) = daemon.wait_for("config.invalid")
        assert invalid["level"] == "error"
        assert ":" in invalid["problems"][0]
        place.write({"incremental": "2h"}, "m", "n")
        daemon.send(signal.SIGHUP)
        (reloaded,) = daemon.wait_for("config.reloaded")
        assert reloaded["changed"] == ["models.n", "schedule.incremental"]
        daemon.wait_for("version.published", model="n")
        assert daemon.end()[0] == 0
    assert set(place.published()) == {"m@main", "n@main"}


def test_systemd_hears_of_the_start_of_reloads_of_the_end_and_of_progress(place: Place) -> None:
    place.write({"incremental": "1s"})
    with NotifySocket() as systemd:
        env = {"NOTIFY_SOCKET": systemd.name, "WATCHDOG_USEC": "1500000"}
        with running(place.daemon(**env)) as daemon:
            wait_until(lambda: len(systemd.told("WATCHDOG")) >= 2)
            daemon.send(signal.SIGHUP)
            daemon.wait_for("config.reloaded")
            (place.folder / "mirror.yaml").write_text("nonsense")
            daemon.send(signal.SIGHUP)
            daemon.wait_for("config.invalid")
            wait_until(lambda: len(systemd.states()) == 5)
            assert daemon.end()[0] == 0
        wait_until(lambda: "STOPPING" in systemd.states())
    assert systemd.states() == ["READY", "RELOADING", "READY", "RELOADING", "READY", "STOPPING"]
    for (_, before), (_, after) in pairwise(systemd.messages):
        if "RELOADING" in before:
            assert int(before["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
            assert after == {"READY": "1"}
    assert any(text.startswith("next: incremental at ") for text in systemd.told("STATUS"))
    fed = [at for at, lines in systemd.messages if "WATCHDOG" in lines]
    assert all(0.7 < after - before < 1.5 for before, after in pairwise(fed)), fed


def test_a_store_that_cannot_be_used_does_not_end_the_daemon(place: Place) -> None:
    """Each run fails, and the first one after the store has come succeeds."""
    place.write({"incremental": "1s"}, store={"url": (place.folder / "a/store").as_uri()})
    with running(place.daemon()) as daemon:
        (first, *_) = daemon.wait_for("run.failed", 2)
        assert (first["job"], first["kind"]) == ("start", "store_refused")
        (place.folder / "a").mkdir()
        daemon.wait_for("version.published")
        assert daemon.end()[0] == 0


def test_a_configuration_that_is_wrong_at_the_start_ends_it_with_2(place: Place) -> None:
    place.write({"incremental": "every day"})
    ran = place.daemon().run("run", timeout=20)
    assert ran.code == 2
    assert "schedule.incremental" in ran.err


def test_sigterm_in_mid_transfer_exits_0_and_the_next_start_goes_on(place: Place) -> None:
    size = 40 * MIB
    with Hub() as hub:
        hub.repo("org/m").commit({"big.bin": Synthetic(size, seed=5)})
        place.write_hub(hub, {})
        hub.rate_per_connection = 4 * MIB
        with running(place.daemon()) as daemon:
            wait_until(lambda: sum(hub.cdn_bytes().values()) > 12 * MIB)
            code, seconds = daemon.end()
        assert (code, seconds < WITHIN) == (0, True), daemon.lines
        assert place.published() == {}
        hub.rate_per_connection = None
        with running(place.daemon()) as daemon:
            (resumed,) = daemon.wait_for("blob.resumed")
            (done,) = daemon.wait_for("version.published")
            assert daemon.end()[0] == 0
    assert resumed["bytes"] >= 10 * MIB
    assert done["fetched_bytes"] <= size - resumed["bytes"]
    assert place.published()["m@main"].files["big.bin"] == Synthetic(size, seed=5).sha256
    assert not daemon.told("lock.taken_over"), "the first one released its lock"


def test_a_due_run_is_skipped_and_counted_while_the_former_goes(place: Place) -> None:
    with Hub() as hub:
        hub.repo("org/m").commit({"big.bin": Synthetic(30 * MIB, seed=6)})
        place.write_hub(hub, {"incremental": "1s"})
        hub.rate_per_connection = 2 * MIB
        with running(place.daemon()) as daemon:
            skipped = daemon.wait_for("run.skipped", 2, job="incremental")
            daemon.end()
    assert [one["skipped"] for one in skipped[:2]] == [1, 2]
    assert len(daemon.told("run.started")) == 1


def test_two_daemons_share_the_work_and_one_takes_over_from_the_other(place: Place) -> None:
    """While one has the lock the other passes; after SIGKILL it goes on with that very file."""
    with Hub() as hub:
        hub.repo("org/m").commit({"big.bin": Synthetic(48 * MIB, seed=7)})
        place.write_hub(hub, {"incremental": "1s"})
        hub.rate_per_connection = 2 * MIB
        with running(place.daemon()) as first:
            wait_until(lambda: sum(hub.cdn_bytes().values()) > MIB)
            with running(place.daemon()) as second:
                second.wait_for("version.passed", status="skipped")
                wait_until(lambda: sum(hub.cdn_bytes().values()) > 34 * MIB)
                first.send(signal.SIGKILL)
                first.process.wait()
                hub.rate_per_connection = None
                second.wait_for("lock.taken_over")
                second.wait_for("blob.resumed")
                second.wait_for("version.published")
                assert second.end()[0] == 0
    assert first.process.returncode == -signal.SIGKILL
    assert set(place.published()) == {"m@main"}


def test_outside_the_window_only_small_files_move(place: Place) -> None:
    """The window is one that is not now; run-once does not mind it."""
    hour = time.gmtime().tm_hour
    window = f"{(hour + 11) % 24:02}:00-{(hour + 12) % 24:02}:00"
    with Hub() as hub:
        files: dict[str, Any] = {"big.bin": Synthetic(6 * MIB, seed=8), "s.bin": Synthetic(2 * MIB)}
        hub.repo("org/m").commit(files)
        place.write_hub(hub, {"window": window, "any_time": "2MiB"})
        with running(place.daemon()) as daemon:
            (passed,) = daemon.wait_for("version.passed")
            assert passed["status"] == "skipped"
            assert window in passed["reasons"][0]
            (stored,) = daemon.wait_for("blob.stored")
            assert stored["path"] == "s.bin"
            assert not daemon.told("blob.failed")
            daemon.wait_for("run.finished", status="ok")
            assert daemon.end()[0] == 0
        assert place.daemon().sync().versions()["m@main"]["files"]["uploaded"] == 1
