"""SIGKILL, SIGTERM and two at once: the store stays valid, the next run completes."""

import json
import random
import signal
import time
from typing import Any

from tests.e2e.conftest import Mirror
from tests.support.hub import Hub, Synthetic
from tests.support.waiting import wait_until

MIB = 1024**2
SLOW: dict[str, Any] = {"connections": 4, "part_size": "5MiB", "memory": "40MiB"}


def content(seed: int) -> dict[str, Any]:
    files: dict[str, Any] = {f"s{n}.json": b'{"n": %d, "seed": %d}' % (n, seed) for n in range(30)}
    return files | {f"shard-{n}.bin": Synthetic(12 * MIB, seed=seed + n) for n in range(3)}


def entry(**extra: Any) -> dict[str, Any]:
    return {"name": "m", "repo": "org/m", **extra}


def test_sigkill_at_any_moment_leaves_a_valid_store(mirror: Mirror, hub: Hub) -> None:
    """I1, I2, I4 after each kill; the run after it does not wait for the dead one's lock."""
    repo = hub.repo("org/m")
    repo.commit(content(0))
    mirror.write(entry(), transfer=SLOW)
    mirror.sync()
    hub.rate_per_connection = 8 * MIB
    chance = random.Random(20261121)
    killed = 0
    for number in range(1, 7):
        repo.commit(content(100 * number))
        with mirror.daemon.start("run-once", "--json") as process:
            time.sleep(chance.uniform(0.4, 2.2))
            process.kill()
            process.communicate()
        killed += process.returncode == -signal.SIGKILL
        version = mirror.published()["m@main"]
        assert len(version.files) == 33, "the old or the new version, whole"
    assert killed >= 3
    hub.rate_per_connection = None
    began = time.monotonic()
    report = mirror.sync()["m@main"]
    assert report["status"] in {"published", "unchanged"}
    assert time.monotonic() - began < 20
    assert mirror.published()["m@main"].commit == repo.head("main")


def test_sigterm_ends_in_130_and_the_next_run_completes(mirror: Mirror, hub: Hub) -> None:
    repo = hub.repo("org/m")
    repo.commit(content(0))
    mirror.write(entry(), transfer=SLOW)
    hub.rate_per_connection = MIB
    with mirror.daemon.start("run-once", "--json") as process:
        wait_until(hub.cdn_bytes)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    report = json.loads(out)
    assert (report["status"], report["interrupted"]) == ("partial", True)
    assert '"interrupted"' in out
    assert mirror.published() == {}
    hub.rate_per_connection = None
    assert mirror.sync()["m@main"]["status"] == "published"


def test_two_processes_do_not_do_the_same_work(mirror: Mirror, hub: Hub) -> None:
    hub.repo("org/m").commit(content(0))
    mirror.write(entry(), transfer=SLOW)
    hub.rate_per_connection = 4 * MIB
    first = mirror.daemon.start("run-once", "--json")
    wait_until(hub.cdn_bytes)
    second = mirror.daemon.sync()
    assert second.code == 5, second.err
    assert second.versions()["m@main"]["status"] == "skipped"
    assert f"process {first.pid}" in second.versions()["m@main"]["reasons"][0]
    _, err = first.communicate(timeout=60)
    assert first.returncode == 0, err
    assert len(mirror.published()["m@main"].files) == 33


def test_a_killed_file_goes_on_where_it_was(mirror: Mirror, hub: Hub) -> None:
    """A fresh process, no local state: fetched twice is at most what was in flight and two
    seconds of transfer, which is how old a journal may be."""
    size, rate = 64 * MIB, 3 * MIB
    repo = hub.repo("org/m")
    repo.commit({"big.bin": Synthetic(size, seed=5)})
    mirror.write(entry(), transfer=SLOW)
    hub.rate_per_connection = rate
    with mirror.daemon.start("run-once", "--json") as process:
        wait_until(lambda: sum(hub.cdn_bytes().values()) >= 56 * MIB, seconds=60)
        process.kill()
        process.communicate()
    assert mirror.published() == {}
    hub.rate_per_connection = None
    before = sum(hub.cdn_bytes().values())
    report = mirror.sync()["m@main"]
    again = before + report["bytes"]["fetched"] - size
    in_flight = SLOW["connections"] * 5 * MIB
    assert report["bytes"]["fetched"] < size, "it went on, it did not begin again"
    assert again <= in_flight + 2 * 4 * rate + MIB
    assert mirror.published()["m@main"].files["big.bin"] == Synthetic(size, seed=5).sha256
    assert list(mirror.place.keys("uploads/")) == []
