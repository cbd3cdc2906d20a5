"""Alerts: each rule fires once, is told again and resolves; restarts change nothing of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from sync_daemon.domain import events, keys
from sync_daemon.domain.alert_rules import Thresholds
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.errors import StoreUnavailable
from sync_daemon.domain.events import AlertTold, Event
from sync_daemon.domain.past import PastRun
from sync_daemon.domain.report import EndpointTally
from sync_daemon.observers.alert_scope import Scope
from sync_daemon.observers.alerts import Alerts, Facts
from sync_daemon.observers.delivery import Delivery
from sync_daemon.stores.memory import MemoryStore
from tests.support.fakes import FakeClock, Recorder
from tests.support.stores import StoreThatMayBeDown

MIB = 1024**2
DAY = 86_400.0
SCOPE = Scope({("m", "1"): "hf", ("m", "2"): "hf", ("n", "1"): "disk"}, {})


class Watched:
    """Alerts over a memory store and a clock that stands still."""

    def __init__(
        self,
        store: MemoryStore | None = None,
        clock: FakeClock | None = None,
        scope: Scope = SCOPE,
    ) -> None:
        self.clock = clock or FakeClock()
        self.store = store or MemoryStore()
        if store is None:
            self.store.put(keys.MARKER, keys.marker())
        self.past: tuple[PastRun, ...] = ()
        self.free: int | None = None
        self.due: dict[str, datetime] = {}
        self.told = Recorder()
        self.alerts = Alerts(Thresholds(), scope, self.clock, Delivery())
        self.alerts.attach(self.told)
        self.alerts.begin(self.store, Facts(self._past, lambda: self.free, lambda: self.due))

    def _past(self, since: datetime) -> Iterable[PastRun]:
        return [run for run in self.past if run.ended > since]

    def see(self, *seen: Event) -> list[tuple[str, str, Mapping[str, str]]]:
        """Feed events; return what was told of them."""
        return self._new(lambda: [self.alerts(event) for event in seen])

    def pass_time(self, seconds: float = 0) -> list[tuple[str, str, Mapping[str, str]]]:
        """Let time pass and tick; return what was told."""
        self.clock.wait(seconds)
        return self._new(self.alerts.tick)

    def restarted(self, scope: Scope = SCOPE) -> Watched:
        """Return another process over the same store."""
        return Watched(self.store, self.clock, scope)

    def _new(self, act: Any) -> list[tuple[str, str, Mapping[str, str]]]:
        before = len(self.told.events)
        act()
        fresh = [cast("AlertTold", e) for e in self.told.events[before:]]
        return [(one.alert, one.state, one.labels) for one in fresh]


@pytest.fixture
def watched() -> Watched:
    return Watched()


def blob(
    speed: float = 5e5, *, size: int = 20 * MIB, path: str = "a", throttled: bool = False
) -> events.BlobStored:
    return events.BlobStored("m", path, "0" * 64, size, size / speed, "hf", throttled)


def failed(kind: str = "origin_unavailable", model: str = "m", version: str = "1") -> Event:
    return events.VersionFailed(model, version, kind, "no answer")


def unchanged(model: str = "m", version: str = "1") -> Event:
    return events.VersionUnchanged(model, version, "c")


def refused(reason: str = "file name") -> Event:
    return events.VersionRefused("m", "1", (reason,))


MOVED = "tag v1 moved upstream: a would become b"
RUN_FAILED = events.RunFailed("full", "store_unavailable", "no answer")
FINISHED = events.RunFinished("r", "ok", 1, 0, 0, 0)
LOADED = events.ConfigReloaded(())
VERIFIED = events.VerifyFinished("verify", 1, 1, 1, 0, 1)
ALL = (unchanged("m", "1"), unchanged("m", "2"), unchanged("n", "1"))
M1 = {"model": "m", "version": "1"}
KEY = {"key": keys.blob(Digest("0" * 64))}

CASES: dict[str, tuple[tuple[Event, ...], tuple[Event, ...], Mapping[str, str]]] = {
    "slow_transfer": ((blob(), blob(), blob()), (blob(2e6),), {"origin": "hf"}),
    "refused": ((refused(),), (unchanged(),), M1),
    "tag_moved": ((refused(MOVED),), (unchanged(),), M1),
    "corrupt_blob": ((events.DamageFound(KEY["key"], "wrong"),), (blob(9e9),), KEY),
    "store_full": (
        (events.StoreMeasured(free=5 * MIB),),
        (events.StoreMeasured(free=99 * 1024**3),),
        {},
    ),
    "config_invalid": ((events.ConfigInvalid(("line 1",)),), (LOADED,), {}),
    "certificate_invalid": (
        (events.CertificateInvalid("cert.pem", "the key is not the certificate's"),),
        (events.CertificateLoaded("cert.pem"),),
        {},
    ),
    "origin_down": (
        (failed(), failed(version="2"), FINISHED),
        (failed(), unchanged(version="2"), FINISHED),
        {"origin": "hf"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_rule_fires_once_repeats_after_a_day_and_resolves(watched: Watched, name: str) -> None:
    begins, ends, labels = CASES[name]
    assert watched.see(*begins) == [(name, "firing", labels)]
    assert watched.see(*begins) == []
    assert watched.pass_time(DAY / 2) == []
    again = [(name, "firing", labels)]
    assert watched.pass_time(DAY / 2) == again
    assert watched.pass_time(60) == []
    assert (name, "resolved", labels) in watched.see(*ends)
    assert watched.alerts.firing == ()


@pytest.mark.parametrize("name", CASES)
def test_a_restart_neither_repeats_nor_forgets(watched: Watched, name: str) -> None:
    begins, ends, labels = CASES[name]
    watched.see(*begins)
    watched.pass_time(60)
    since = watched.alerts.firing[0].since
    later = watched.restarted()
    assert later.see(*begins) == []
    assert later.pass_time(60) == []
    assert later.alerts.firing[0].since == since
    assert (name, "resolved", labels) in later.see(*ends)
    later.pass_time()
    assert later.restarted().alerts.firing == ()


def test_an_event_says_all_there_is_to_say(watched: Watched) -> None:
    watched.see(blob(), blob(), blob(4e5))
    (told,) = watched.told.events
    fields = told.fields()
    message = fields.pop("message")
    assert "400,000" in message
    assert fields == {
        "alert": "slow_transfer",
        "severity": "warning",
        "state": "firing",
        "labels": {"origin": "hf"},
        "value": 400_000,
        "threshold": 1_000_000,
        "since": "2026-01-01T00:00:00+00:00",
    }


def test_slow_transfers_are_counted_over_runs(watched: Watched) -> None:
    """A one-shot run may move one file each hour."""
    for _ in range(2):
        assert watched.see(blob()) == []
        watched.pass_time()
        watched = watched.restarted()
    assert watched.see(blob()) == [("slow_transfer", "firing", {"origin": "hf"})]


@pytest.mark.parametrize(
    "harmless",
    [
        (blob(size=10 * MIB),),
        (blob(throttled=True),),
        (events.BlobResumed("m", "a", 18 * MIB, 20 * MIB), blob()),
        (events.OriginThrottled("h", 30, "retry_after"), blob()),
    ],
    ids=["small", "throttled", "resumed", "rate limited"],
)
def test_transfers_that_say_nothing_of_the_origin_neither_count_nor_reset(
    watched: Watched, harmless: tuple[Event, ...]
) -> None:
    assert watched.see(blob(), blob()) == []
    watched.clock.wait(60)
    assert watched.see(*harmless) == []
    watched.clock.wait(60)
    assert len(watched.see(blob())) == 1


def test_a_version_that_fails_is_stale_after_its_allowance_and_until_it_succeeds(
    watched: Watched,
) -> None:
    watched.see(unchanged())
    for _ in range(2):
        watched.clock.wait(DAY * 0.9)
        watched.see(failed("forbidden"))
    watched.pass_time()
    watched = watched.restarted()
    assert watched.pass_time(DAY * 0.1) == []
    assert watched.pass_time(DAY * 0.2) == [("stale", "firing", M1)]
    assert watched.alerts.firing[0].finding.value == pytest.approx(DAY * 2.1)
    assert watched.pass_time(60) == []
    assert watched.see(unchanged()) == [("stale", "resolved", M1)]


def test_a_version_that_nobody_tried_for_long_is_stale_too(watched: Watched) -> None:
    watched.see(unchanged())
    assert watched.pass_time(DAY * 2.1) == [("stale", "firing", M1)]


def test_the_last_success_of_a_version_is_looked_up_in_former_runs(watched: Watched) -> None:
    now = watched.clock.now()
    watched.past = (PastRun(now - timedelta(days=3), (), {("m", "2"): "published"}, 5),)
    watched.see(failed("forbidden"))
    assert ("stale", "firing", M1) in watched.pass_time()


def test_a_version_that_the_yaml_does_not_name_any_more_is_forgotten(watched: Watched) -> None:
    watched.see(refused())
    watched.alerts.configure(Thresholds(), Scope({("n", "1"): "disk"}, {}))
    assert watched.pass_time() == [("refused", "resolved", M1)]


def test_a_tag_that_is_too_old_by_now_is_forgotten_after_a_whole_run() -> None:
    watched = Watched()
    watched.alerts.configure(Thresholds(), Scope({("n", "1"): "disk"}, {("m", "v*"): "hf"}))
    watched.see(unchanged("n"), events.VersionRefused("m", "v1", ("no",)), FINISHED)
    assert watched.see(unchanged("m", "v2"), FINISHED) == [], "n was not seen: a part of it all"
    told = watched.see(unchanged("m", "v2"), unchanged("n"), FINISHED)
    assert told == [("refused", "resolved", {"model": "m", "version": "v1"})]


def test_rates_of_failure_come_from_former_runs_and_end_with_them(watched: Watched) -> None:
    tally = EndpointTally("hf", "https://a", 100, 30)
    results = {("m", str(n)): "failed" for n in range(10)}
    watched.past = (PastRun(watched.clock.now(), (tally,), results, 20),)
    assert watched.pass_time() == [], "nothing failed: nothing is read"
    told = watched.see(failed("forbidden")) + watched.pass_time()
    assert told == [
        ("endpoint_failure_rate", "firing", {"endpoint": "https://a", "origin": "hf"}),
        ("failure_rate", "firing", {}),
    ]
    assert [one.finding.value for one in watched.alerts.firing] == [0.3, 0.3333]
    watched.see(failed("forbidden"))
    assert watched.pass_time(60) == []
    watched.see(unchanged())
    over = watched.pass_time(DAY)
    assert [(name, state) for name, state, _ in over if name.endswith("rate")] == [
        ("endpoint_failure_rate", "resolved"),
        ("failure_rate", "resolved"),
    ]


def test_a_job_that_does_not_come_is_overdue_until_a_run_has_ended(watched: Watched) -> None:
    watched.due = {"incremental": watched.clock.now()}
    assert watched.pass_time(3000) == []
    late = ("run_overdue", "firing", {"job": "incremental"})
    assert watched.pass_time(700) == [late]
    watched = watched.restarted()
    assert watched.see(FINISHED) == [("run_overdue", "resolved", {"job": "incremental"})]


def test_a_run_is_no_verification_and_an_incremental_one_no_full_one(watched: Watched) -> None:
    watched.due = dict.fromkeys(("full", "verify"), watched.clock.now())
    assert len(watched.pass_time(DAY)) == 2
    assert watched.see(events.RunStarted("r", "incremental", 1), FINISHED) == []
    told = watched.see(events.RunStarted("r", "full", 1), FINISHED)
    assert told == [("run_overdue", "resolved", {"job": "full"})]
    assert watched.see(VERIFIED) == [("run_overdue", "resolved", {"job": "verify"})]


def test_a_schedule_that_does_not_ask_for_it_any_more_ends_it(watched: Watched) -> None:
    watched.due = {"verify": watched.clock.now()}
    watched.pass_time(DAY)
    watched.due = {}
    assert watched.pass_time(60) == [("run_overdue", "resolved", {"job": "verify"})]


def test_a_one_shot_run_without_a_schedule_leaves_it_to_the_daemon(watched: Watched) -> None:
    watched.due = {"full": watched.clock.now()}
    watched.pass_time(DAY)
    alerts = Alerts(Thresholds(), SCOPE, watched.clock, Delivery())
    alerts.begin(watched.store, Facts())
    alerts.tick()
    assert [one.name for one in alerts.firing] == ["run_overdue"]


def test_nothing_is_overdue_while_a_run_is_at_work(watched: Watched) -> None:
    watched.due = {"incremental": watched.clock.now()}
    watched.see(events.RunStarted("r", "full", 1))
    assert watched.pass_time(DAY) == []


def test_a_run_that_broke_off_neither_hides_nor_ends_what_is_overdue(watched: Watched) -> None:
    watched.due = {"incremental": watched.clock.now()}
    watched.see(events.RunStarted("r", "full", 1), RUN_FAILED)
    assert len(watched.pass_time(DAY)) == 1
    assert watched.see(events.RunStarted("r", "full", 1), RUN_FAILED) == []


def test_the_free_space_is_asked_for_and_a_refused_write_says_it_too(watched: Watched) -> None:
    watched.free = 7
    assert watched.pass_time() == [("store_full", "firing", {})]
    watched.free = 2**50
    assert watched.pass_time(400) == [("store_full", "resolved", {})]
    assert watched.see(failed("store_full")) == [("store_full", "firing", {})]


def published(version: str = "1") -> Event:
    return events.VersionPublished("m", version, "c", "k", 1, 1, 1, 1)


def test_after_a_refused_write_only_what_found_no_room_says_that_there_is_some(
    watched: Watched,
) -> None:
    """Ten terabytes are left, the smaller version fits: the larger one still does not."""
    watched.free = 10 * 1024**4
    watched.see(failed("store_full"), failed("store_full", version="2"))
    assert [one.name for one in watched.alerts.firing] == ["store_full"]
    for _ in range(3):
        assert watched.pass_time(400) == []
        assert watched.see(published("3"), failed("store_full"), FINISHED) == []
    assert watched.see(published("2"), failed(), FINISHED) == []
    assert watched.see(published("1")) == [("store_full", "resolved", {})]


@pytest.mark.parametrize(
    "end", [published(), refused("licence"), failed("forbidden")], ids=["fits", "refused", "gated"]
)
def test_a_restart_forgets_which_version_found_no_room_but_not_that_one_did(
    watched: Watched, end: Event
) -> None:
    watched.free = 10 * 1024**4
    watched.see(failed("store_full"))
    watched.pass_time()
    later = watched.restarted()
    later.free = watched.free
    assert later.pass_time(400) == []
    assert later.see(unchanged(version="2"), failed()) == []
    assert ("store_full", "resolved", {}) in later.see(end)


def test_a_version_that_found_no_room_and_is_not_declared_any_more_needs_none(
    watched: Watched,
) -> None:
    watched.see(failed("store_full"))
    watched.alerts.configure(Thresholds(), Scope({("n", "1"): "disk"}, {}))
    assert watched.pass_time() == [("store_full", "resolved", {})]


def test_room_for_a_version_is_not_yet_room_enough(watched: Watched) -> None:
    """It fits, but less than the threshold is left: the alert goes on, and is told once."""
    watched.free = 5 * MIB
    watched.see(failed("store_full"))
    watched.pass_time()
    assert watched.see(published()) == []
    assert watched.alerts.firing[0].finding.value == 5 * MIB
    watched.free = 2**50
    assert watched.pass_time(400) == [("store_full", "resolved", {})]


def test_wrong_bytes_of_an_origin_are_over_when_the_model_is_published(watched: Watched) -> None:
    labels = {"model": "m", "path": "a"}
    wrong = events.BlobFailed("m", "a", "digest_mismatch", "wrong")
    assert watched.see(wrong) == [("corrupt_blob", "firing", labels)]
    published = events.VersionPublished("m", "1", "c", "k", 1, 1, 1, 1)
    assert watched.see(published) == [("corrupt_blob", "resolved", labels)]


def test_damage_that_a_verification_does_not_find_again_is_over(watched: Watched) -> None:
    found = events.DamageFound("blobs/x", "missing: gone")
    watched.see(found, VERIFIED)
    assert watched.see(found, VERIFIED) == []
    assert watched.see(VERIFIED) == [("corrupt_blob", "resolved", {"key": "blobs/x"})]


def test_a_refusal_that_becomes_a_moved_tag_changes_its_name(watched: Watched) -> None:
    watched.see(refused())
    told = watched.see(refused(MOVED))
    assert [(name, state) for name, state, _ in told] == [
        ("tag_moved", "firing"),
        ("refused", "resolved"),
    ]


def test_an_origin_that_refuses_or_answers_for_one_version_is_not_down(watched: Watched) -> None:
    assert watched.see(failed(), failed("forbidden", version="2"), FINISHED) == []
    assert watched.see(failed("store_unavailable"), FINISHED) == []
    assert watched.see(failed(model="n"), unchanged("m"), FINISHED) == [
        ("origin_down", "firing", {"origin": "disk"})
    ]


def test_what_is_said_of_an_origin_that_nobody_asks_any_more_is_over(watched: Watched) -> None:
    watched.see(failed(model="n"), FINISHED)
    watched.pass_time()
    later = watched.restarted(Scope({("m", "1"): "hf"}, {}))
    assert ("origin_down", "resolved", {"origin": "disk"}) in later.see(unchanged(), FINISHED)


def test_a_file_that_the_store_had_already_does_not_mend_a_damaged_one(watched: Watched) -> None:
    """A full run fetches what it knows no digest of, and leaves the stored bytes alone."""
    watched.see(events.DamageFound(KEY["key"], "wrong"))
    assert watched.see(replace(blob(9e9), uploaded=False)) == []
    assert watched.see(blob(9e9)) == [("corrupt_blob", "resolved", KEY)]


def test_a_healthy_mirror_writes_nothing_and_an_empty_prefix_stays_empty(watched: Watched) -> None:
    watched.see(*ALL, FINISHED)
    watched.pass_time(60)
    assert watched.store.stat(keys.ALERTS) is None
    empty = Watched(MemoryStore())
    empty.see(refused())
    empty.pass_time()
    assert list(empty.store.list("")) == []
    empty.store.put(keys.MARKER, keys.marker())
    empty.pass_time()
    assert empty.store.stat(keys.ALERTS) is not None


def test_two_hosts_tell_an_alert_once(watched: Watched) -> None:
    other = watched.restarted()
    watched.see(refused())
    watched.pass_time()
    assert other.pass_time() == []
    assert other.see(refused()) == []
    other.see(failed("forbidden", "n"))
    other.pass_time()
    watched.see(unchanged())
    watched.pass_time()
    other.pass_time()
    assert other.alerts.firing == ()
    assert watched.alerts.firing == ()


def test_a_store_that_is_down_is_told_of_once_and_loses_nothing() -> None:
    store = StoreThatMayBeDown()
    store.put(keys.MARKER, keys.marker())
    watched = Watched(store)
    store.down = StoreUnavailable("no answer")
    watched.see(refused())
    for _ in range(3):
        watched.alerts.tick()
    assert [e.name for e in watched.told.events] == ["alert", "alerts.lost"]
    store.down = None
    watched.alerts.tick()
    assert watched.restarted().see(refused()) == []


def test_an_alert_object_that_cannot_be_read_is_replaced(watched: Watched) -> None:
    watched.store.put(keys.ALERTS, b"garbage")
    watched.see(refused())
    watched.pass_time()
    assert len(watched.restarted().alerts.firing) == 1


def test_thresholds_are_those_of_the_configuration(watched: Watched) -> None:
    watched.alerts.configure(replace(Thresholds(), slow_times=1, slow_below=10), SCOPE)
    assert watched.see(blob(11)) == []
    assert len(watched.see(blob(9))) == 1
