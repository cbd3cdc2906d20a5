"""unlock: who holds what, and the release of locks, never against a living owner by accident."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime

import pytest

from sync_daemon.domain import keys
from sync_daemon.domain.errors import PreconditionFailed
from sync_daemon.engine.locks import Body
from sync_daemon.engine.owner import Owner, this_process
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.tools import How
from sync_daemon.engine.unlock import Held, Locksmith
from sync_daemon.stores.memory import MemoryStore
from tests.cli.conftest import Cli
from tests.support.fakes import FakeClock, FakeOrigin, Recorder, StoreTime, running, wanted

ELSEWHERE = Owner("other/abc/1", "b", 4711, 1)


def leave(cli: Cli, scope: str, age: float, owner: Owner = ELSEWHERE, state: str = "held") -> None:
    """Leave a lock that was refreshed `age` seconds ago in the directory store."""
    path = cli.store / keys.lock(scope)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(Body("x", state, owner, scope, 3).encode())
    when = datetime.now(UTC).timestamp() - age
    os.utime(path, (when, when))


def states(cli: Cli) -> dict[str, str]:
    files = (json.loads(path.read_bytes()) for path in (cli.store / "locks").iterdir())
    return {one["scope"]: one["state"] for one in files}


@pytest.fixture
def locked(cli: Cli) -> Cli:
    """A store in which another host holds one lock and left two more."""
    cli("run-once")
    leave(cli, "m@main", 5)
    leave(cli, "m@2.0", 300)
    leave(cli, "other@1", 300)
    return cli


def test_it_shows_who_holds_what_and_changes_nothing(locked: Cli) -> None:
    before = locked.snapshot()
    ran = locked("unlock", "--json")
    assert ran.code == 0
    found = {one["scope"]: one for one in ran.json["locks"]}
    assert set(found) == {"m@main", "m@2.0", "other@1"}
    assert (found["m@main"]["host"], found["m@main"]["pid"]) == ("other", 4711)
    assert found["m@main"]["stale"] is None
    assert 4 < found["m@main"]["age_seconds"] < 60
    assert found["m@2.0"]["stale"] == "not refreshed for 300 s"
    assert (found["other@1"]["model"], found["other@1"]["version"]) == ("other", "1")
    assert {one["status"] for one in found.values()} == {"held"}
    assert locked.snapshot() == before


def test_the_table_names_host_process_and_age(locked: Cli) -> None:
    ran = locked("unlock")
    assert "m@main" in ran.out
    assert "4711" in ran.out
    assert "stale: not refreshed for 300 s" in ran.out
    assert ran.out.endswith("3 locks\n")


def test_a_stale_lock_is_released_and_a_run_goes_on_at_once(locked: Cli) -> None:
    leave(locked, "m@main", 61)
    assert locked("unlock", "m@main").code == 0
    assert states(locked)["m@main"] == "released"
    assert states(locked)["m@2.0"] == "held", "nobody spoke of that one"
    assert locked("run-once", "--full").code == 0


def test_a_lock_that_was_refreshed_within_a_minute_is_refused(locked: Cli) -> None:
    ran = locked("unlock", "m@main")
    assert ran.code == 5
    assert "--force" in ran.out
    assert states(locked)["m@main"] == "held"
    assert locked("run-once", "--full").code == 5


def test_what_can_be_released_is_when_other_locks_are_refused(locked: Cli) -> None:
    assert locked("unlock", "m").code == 1
    assert states(locked) == {"m@main": "held", "m@2.0": "released", "other@1": "held"}


def test_force_releases_the_lock_of_a_living_process(locked: Cli) -> None:
    ran = locked("unlock", "--all", "--force", "--json")
    assert ran.code == 0
    assert {one["status"] for one in ran.json["locks"]} == {"released"}
    assert set(states(locked).values()) == {"released"}
    told = [json.loads(line) for line in ran.err.splitlines()]
    reasons = {one["scope"]: one["reason"] for one in told if one["event"] == "lock.released"}
    assert reasons["m@main"] == "forced"
    assert reasons["m@2.0"] == "not refreshed for 300 s"


def test_the_young_lock_of_a_process_that_has_ended_here_needs_no_force(locked: Cli) -> None:
    here = this_process()
    leave(locked, "m@main", 5, Owner(here.host, here.boot, 2**22 + 1, 5))
    assert locked("unlock", "m@main").code == 0
    assert states(locked)["m@main"] == "released"


def test_a_lock_that_cannot_be_read_is_shown_by_its_key_and_released_when_stale(cli: Cli) -> None:
    cli("run-once")
    leave(cli, "x@1", 300)
    path = cli.store / keys.lock("x@1")
    path.write_bytes(b"{what?")
    os.utime(path, (1, 1))
    ran = cli("unlock", "--all", "--json")
    assert ran.code == 0
    (found,) = ran.json["locks"]
    assert (found["scope"], found["key"], found["status"]) == (None, keys.lock("x@1"), "released")


def test_released_locks_are_none(cli: Cli) -> None:
    cli("run-once")
    leave(cli, "m@main", 5, state="released")
    assert cli("unlock").out == "nothing is locked\n"
    assert cli("unlock", "m").code == 0


@pytest.mark.parametrize(
    "argv",
    [("nobody",), ("--force",), ("m", "--all"), ("m@",), ("m@mian",), ("../m",)],
    ids=" ".join,
)
def test_what_cannot_be_meant_is_refused(cli: Cli, argv: tuple[str, ...]) -> None:
    cli("run-once")
    assert cli("unlock", *argv).code == 2


def test_a_store_that_no_run_has_made_has_no_locks(cli: Cli) -> None:
    ran = cli("unlock", "--all")
    assert (ran.code, ran.out) == (0, "nothing is locked\n")
    assert not cli.store.exists()


# -- the former owner, and races -------------------------------------------------------------


def smith(store: MemoryStore) -> Locksmith:
    told = Recorder()
    return Locksmith(store, Retry(1, told, FakeClock()), told)


def test_the_former_owner_that_still_lives_publishes_nothing() -> None:
    """Its heartbeat has not come yet: it learns of the release when it is about to publish."""
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", {"a": b"1"})
    with running(store, origin) as engine:
        real = engine.vault.publish_manifest

        def unlocked_meanwhile(*args: object) -> object:
            engine.clock.wait(2)
            found = smith(store).find(lambda scope: scope == "m@main")
            assert [one.outcome for one in smith(store).release(found, force=True)] == ["released"]
            return real(*args)  # type: ignore[arg-type]

        object.__setattr__(engine.vault, "publish_manifest", unlocked_meanwhile)
        report = engine.run((wanted(),), How())
        (version,) = report.versions
        assert version.status == "failed"
        assert version.error
        assert version.error.kind == "lock_lost"
        assert "released by" in version.error.message
        assert engine.vault.current(version.model, wanted().version) is None
        object.__setattr__(engine.vault, "publish_manifest", real)
        assert engine.run((wanted(),), How()).versions[0].status == "published"


class Racing(MemoryStore):
    """A store in which the owner refreshes its lock right before each of the first releases."""

    def __init__(self, beats: int, now: StoreTime) -> None:
        super().__init__(now=now)
        self.beats = beats

    def put(self, key: str, data: object, **how: object) -> str:  # type: ignore[override]
        if how.get("if_match") and self.beats:
            self.beats -= 1
            super().put(key, Body("x", "held", ELSEWHERE, "m@1", self.beats).encode())
            raise PreconditionFailed(key)
        return super().put(key, data, **how)  # type: ignore[arg-type]


def racing(beats: int) -> tuple[MemoryStore, Held]:
    time = StoreTime()
    store = Racing(beats, time)
    store.put(keys.lock("m@1"), Body("x", "held", ELSEWHERE, "m@1").encode())
    time.pass_seconds(90)
    (held,) = smith(store).find(lambda _: True)
    return store, held


def test_an_owner_that_comes_back_in_the_last_moment_keeps_its_lock() -> None:
    store, held = racing(1)
    assert held.stale
    (found,) = smith(store).release([held], force=False)
    assert (found.outcome, found.stale) == ("refused", None)


def test_force_wins_against_a_heartbeat() -> None:
    store, held = racing(2)
    (found,) = smith(store).release([held], force=True)
    assert found.outcome == "released"
    assert Body.parse(store.get(keys.lock("m@1")).data).state == "released"
