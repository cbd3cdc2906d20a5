"""The main loop under a clock of its own: a day of jobs, the watchdog, chores, the end."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from sync_daemon import __version__
from sync_daemon.config import Settings
from sync_daemon.daemon import service as module
from sync_daemon.daemon.jobs import Job
from sync_daemon.daemon.notify import Notifier
from sync_daemon.daemon.requests import Requests
from sync_daemon.daemon.service import LONGEST_SILENCE, Hangup, Service
from sync_daemon.daemon.work import Work
from sync_daemon.domain.errors import ConfigurationError
from sync_daemon.domain.events import AlertTold, Event, RunFailed, RunSkipped
from tests.daemon.conftest import Configure
from tests.support.fakes import FakeClock, Recorder

HOUR, DAY = 3600.0, 86400.0


class Fed(Notifier):
    """Counts what it would send."""

    def __init__(self) -> None:
        super().__init__({})
        self.watchdog = 30.0
        self.sent: Counter[str] = Counter()

    def _send(self, *lines: str) -> None:
        self.sent[lines[0].split("=")[0]] += 1


class Bench:
    """A service whose jobs take the time that `lasts` says, by a clock that the loop turns."""

    def __init__(self, settings: Settings, turn: float = 60.0, **how: Any) -> None:
        self.clock, self.told, self.fed = FakeClock(), Recorder(), Fed()
        self.turn, self.end = turn, DAY
        self.lasts: dict[str, float] = {}
        self.done: list[str] = []
        self.going: dict[str, tuple[float, threading.Event]] = {}
        self.hangup = Hangup()
        self.on_turn: Callable[[], None] = lambda: None
        bench = self

        class Fake(Work):
            def sync(self, job: Job) -> None:
                if str(job) in bench.lasts:
                    until = bench.clock.monotonic() + bench.lasts[str(job)]
                    bench.going[str(job)] = until, (over := threading.Event())
                    over.wait(30)
                bench.done.append(str(job))

            verify = sync

        self.service = Service(
            settings,
            read=how.pop("read", lambda: settings),
            listening=self._listening,
            stop=self.clock.stop,
            hangup=self.hangup,
            notifier=self.fed,
            clock=self.clock,
            pause=self._pause,
            work=how.pop("work", Fake),
            **how,
        )

    @contextmanager
    def _listening(self, *listeners: Callable[[Event], None]) -> Iterator[Callable[..., None]]:
        def emit(event: Event) -> None:
            for one in (self.told, *listeners):
                one(event)

        yield emit

    def _pause(self, seconds: float) -> None:
        """Let jobs end whose time is over, then let time pass."""
        assert seconds == module.TURN
        for lane in self.service._lanes:
            while lane.running or lane._waiting:
                if str(lane.running) in self.going and not self._may_end(str(lane.running)):
                    break
                time.sleep(0.0002)
        self.on_turn()
        if self.clock.wait(self.turn) or self.clock.monotonic() >= self.end:
            self.clock.stop.set()
            for _, over in self.going.values():
                over.set()

    def _may_end(self, job: str) -> bool:
        until, over = self.going[job]
        if self.clock.monotonic() >= until:
            over.set()
        return over.is_set()

    def run(self) -> tuple[str, ...]:
        return self.service.run()


def test_a_day_of_the_daemon(configure: Configure) -> None:
    """A full run of 140 minutes: the hourly job waits for it once, and is skipped once."""
    settings = configure(schedule={"full": "30 3 * * *", "verify": "0 5 * * *", "jitter": "2m"})
    bench = Bench(settings)
    bench.lasts["full"] = 140 * 60.0
    bench.on_turn = lambda: bench.service._progress.advance(1)
    assert bench.run() == ()
    assert bench.done[0] == "start"
    counts = Counter(bench.done)
    (started,) = bench.told.named("daemon.started")
    fields = started.fields()
    assert fields["version"] == __version__
    assert fields["store"] == str(settings.store.url)
    assert counts["full"] == counts["verify"] == 1
    skipped = [event for event in bench.told.events if isinstance(event, RunSkipped)]
    assert [(one.job, one.skipped) for one in skipped] == [("incremental", 1)]
    assert counts["incremental"] == 23 - len(skipped)
    assert bench.fed.sent["WATCHDOG"] == DAY / 60 - 1


def test_what_is_due_and_was_not_done_is_told(configure: Configure) -> None:
    """From 02:00 on, while the run of 01:00 still goes; what goes as it should is in the future."""
    bench = Bench(configure(schedule={"incremental": "0 * * * *", "full": "30 3 * * *"}))
    bench.lasts["incremental"], bench.end = 5 * HOUR, 2.5 * HOUR
    told: list[dict[str, float]] = []

    def look() -> None:
        begin = bench.clock.now() - timedelta(seconds=bench.clock.monotonic())
        due = bench.service.due()
        told.append({job: (at - begin).total_seconds() / HOUR for job, at in due.items()})

    bench.on_turn = look
    bench.run()
    assert told[0] == {"incremental": 1.0, "full": 3.5}
    assert told[-1] == {"incremental": 1.0, "full": 3.5}


def test_models_that_are_added_while_the_first_run_goes_are_not_forgotten(
    configure: Configure,
) -> None:
    """Nothing is scheduled: but for a run after this one they would never come."""
    never = {"incremental": "off", "full": "off"}
    more = configure(schedule=never, models=[{"name": n, "repo": n} for n in ("m", "n")])
    bench = Bench(configure(schedule=never), read=lambda: more)
    bench.lasts["start"], bench.end = HOUR, 3 * HOUR

    def reload() -> None:
        bench.hangup.came = bench.clock.monotonic() == HOUR / 2

    bench.on_turn = reload
    bench.run()
    assert bench.done == ["start", "start"]


def test_an_alert_is_kept_at_once(configure: Configure) -> None:
    """The chores come every minute, and right after an alert: a kill would forget it was told."""
    chores: list[float] = []
    bench = Bench(configure(), turn=1.0)
    bench.service._every_minute = (lambda: chores.append(bench.clock.monotonic()),)
    bench.end = 130.0

    def tell() -> None:
        if bench.clock.monotonic() == 20.0:
            bench.service._emit(AlertTold("test", "warning", "firing", {}, 1, 0, "now", "a test"))

    bench.on_turn = tell
    bench.run()
    assert chores == [0.0, 21.0, 81.0]


def test_a_run_without_progress_does_not_feed_the_watchdog(configure: Configure) -> None:
    bench = Bench(configure(schedule={"incremental": "off", "full": "off"}))
    bench.lasts["start"], bench.end = DAY, 3 * HOUR
    bench.run()
    assert bench.fed.sent["WATCHDOG"] == pytest.approx(LONGEST_SILENCE / 60, abs=2)


def test_a_run_with_progress_feeds_it(configure: Configure) -> None:
    bench = Bench(configure(schedule={"incremental": "off", "full": "off"}))
    bench.lasts["start"], bench.end = DAY, 3 * HOUR
    bench.on_turn = lambda: bench.service._progress.advance(1)
    bench.run()
    assert bench.fed.sent["WATCHDOG"] == pytest.approx(3 * HOUR / 60, abs=2)


def test_a_dead_thread_does_not_feed_it(configure: Configure) -> None:
    bench = Bench(configure(schedule={"incremental": "off", "full": "off"}))
    bench.end = HOUR

    def die() -> None:
        bench.service._verifications.close()
        bench.service._verifications.join(10)

    bench.on_turn = die
    bench.run()
    assert bench.fed.sent["WATCHDOG"] <= 2


def test_chores_are_done_every_minute_and_a_failing_one_stops_nothing(
    configure: Configure,
) -> None:
    calls: list[float] = []

    def fail() -> None:
        raise RuntimeError("no")

    bench = Bench(configure(), turn=10, every_minute=(fail, lambda: calls.append(1)))
    bench.end = 10 * 60
    bench.run()
    assert len(calls) == pytest.approx(9, abs=1)
    failed = [event for event in bench.told.events if isinstance(event, RunFailed)]
    assert len(failed) == len(calls)
    assert failed[0].error == "RuntimeError: no"


def test_a_reload_is_told_to_those_who_have_to_know(configure: Configure) -> None:
    """First a file that is wrong, then one that is right."""
    answers = [ConfigurationError("it is gone"), configure(schedule={"full": "6h"})]
    told: list[Settings] = []

    def read() -> Settings:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    bench = Bench(configure(), read=read, on_settings=(told.append,))
    moments = iter([True, False, True])
    bench.on_turn = lambda: setattr(bench.hangup, "came", next(moments, False))
    bench.run()
    (invalid,) = bench.told.named("config.invalid")
    (reloaded,) = bench.told.named("config.reloaded")
    assert invalid.fields() == {"problems": ("it is gone",)}
    assert reloaded.fields() == {"changed": ("schedule.full",)}
    assert len(told) == 1
    assert Counter(bench.done)["full"] == 3
    assert bench.fed.sent["RELOADING"] == 2
    assert bench.fed.sent["READY"] == 3
    assert bench.done.count("start") == 1, "the models did not change"


def test_what_was_asked_for_is_done_and_once_more_if_it_was_asked_for_meanwhile(
    configure: Configure,
) -> None:
    """A webhook's run of three minutes, and a second webhook in the middle of it."""
    clock, job = FakeClock(), Job("webhook", "a")
    requests = Requests(clock.monotonic)
    bench = Bench(configure(schedule={"incremental": "off", "full": "off"}), requests=requests)
    bench.lasts["webhook a"], bench.end = 180.0, HOUR
    turns = iter(range(1000))

    def ask() -> None:
        if next(turns) in {1, 3}:
            requests.add(job)

    bench.on_turn = ask
    bench.run()
    assert bench.done == ["start", "webhook a", "webhook a"]
    assert requests.closed
    assert not bench.told.named("run.skipped")


def test_what_does_not_end_in_time_is_named(configure: Configure) -> None:
    stuck = threading.Event()

    class Stuck(Work):
        def sync(self, job: Job) -> None:
            stuck.wait(30)

    bench = Bench(configure(), work=Stuck, last_moments=0.1)
    bench.lasts["start"], bench.end = DAY, 120.0
    bench.going["start"] = DAY, threading.Event()
    late = bench.run()
    stuck.set()
    assert late == ("start",)
    (stopped,) = bench.told.named("daemon.stopped")
    assert stopped.fields() == {"unfinished": ("start",)}
