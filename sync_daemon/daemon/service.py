"""The daemon's main loop: what is due is handed to a thread, signals and systemd are heard.

    schedule --due--> lanes --jobs--> Work (engine, verification)
    SIGTERM -> stop, SIGHUP -> hangup: both looked at four times a second

There are three lanes, each a thread: runs, one at a time, since they share one engine;
verifications, which may read for hours and disturb nobody; and chores once a minute. The
loop itself never waits for the network, so that as long as it turns it can tell whether the
others move, and feeds the watchdog by that. It sleeps instead of waiting for an event:
signal handlers run on its thread, and an event's own lock would be theirs to wait for.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

from sync_daemon import __version__
from sync_daemon.config import ConfigError, Settings
from sync_daemon.daemon.differences import differences
from sync_daemon.daemon.jobs import Job, plan
from sync_daemon.daemon.lane import Lane
from sync_daemon.daemon.notify import Notifier
from sync_daemon.daemon.progress import Progress
from sync_daemon.daemon.requests import Requests
from sync_daemon.daemon.schedule import Schedule
from sync_daemon.daemon.work import Work
from sync_daemon.domain.errors import SyncError
from sync_daemon.domain.events import (
    AlertTold,
    ConfigInvalid,
    ConfigReloaded,
    DaemonStarted,
    DaemonStopped,
    Event,
    RunFailed,
    RunSkipped,
)
from sync_daemon.domain.report import Failure, RunReport
from sync_daemon.ports import Clock, Emit

TURN = 0.25
"""Seconds of one turn of the loop."""

LAST_MOMENTS = 11.0
"""Seconds after SIGTERM in which jobs may end: parts under way have ten of them."""

RELEASE = 2.0
"""Seconds in which the locks of what did not end are to be released."""

LONGEST_SILENCE = 1800.0
"""Seconds without any progress after which a job counts as stuck; twice `total_timeout` if
that is more. Waits for the limits of an origin last up to 15 minutes."""

WHAT_TO_MIRROR = ("models", "defaults", "origins", "store")
"""Sections whose change may mean that something is missing now."""

CHORES = Job("start")
_MINUTE = 60.0

Listener = Callable[[Event], None]
Listening = Callable[..., AbstractContextManager[Emit]]
Result = RunReport | Failure | None


@dataclass(slots=True)
class Hangup:
    """Whether SIGHUP came."""

    came: bool = False


class Service:
    """One daemon.

    `read` returns the configuration anew, or raises ConfigurationError. `listening` gives the
    `emit` that tells the listeners it is called with; `listeners` are told every event;
    `on_start` are given that `emit`; `every_minute` are called about so often, on a thread of
    their own; `on_settings` are told of each valid configuration after the first one, and may
    refuse it by a ConfigurationError; `requests` are jobs that others ask for. `source` is where
    the configuration was read from, and `ended_by` names the signal that set `stop`: for the log.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        read: Callable[[], Settings],
        listening: Listening,
        stop: threading.Event,
        hangup: Hangup,
        notifier: Notifier,
        clock: Clock,
        pause: Callable[[float], None] = time.sleep,
        listeners: Iterable[Listener] = (),
        on_start: Iterable[Callable[[Emit], None]] = (),
        every_minute: Iterable[Callable[[], None]] = (),
        on_settings: Iterable[Callable[[Settings], None]] = (),
        requests: Requests | None = None,
        source: str | None = None,
        ended_by: Callable[[], str | None] = lambda: None,
        work: type[Work] = Work,
        last_moments: float = LAST_MOMENTS,
    ) -> None:
        self._settings = settings
        self._read = read
        self._listening = listening
        self._stop, self._hangup = stop, hangup
        self._notifier = notifier
        self._clock = clock
        self._pause = pause
        self._listeners = tuple(listeners)
        self._on_start = tuple(on_start)
        self._every_minute = tuple(every_minute)
        self._on_settings = tuple(on_settings)
        self._requests = requests or Requests(clock.monotonic)
        self._make_work = work
        self._source, self._ended_by = source, ended_by
        self._last_moments = last_moments
        self._progress = Progress(clock.monotonic)
        self._skipped: Counter[Job] = Counter()
        self._owed: dict[Job, datetime] = {}
        self._schedule = Schedule(plan(settings), clock.now(), random.random)
        self._fed = clock.monotonic()
        self._chores_at = self._fed - _MINUTE  # the first ones at once

    def run(self) -> tuple[str, ...]:
        """Work until the stop event; return the jobs that could not be ended in time."""
        with self._listening(self._progress, self._hear, *self._listeners) as emit:
            self._emit = emit
            self._work = self._make_work(self._settings, emit, self._stop, self._progress)
            self._runs = Lane("runs", self._paying(self._work.sync), self._work.close)
            self._verifications = Lane("verifications", self._paying(self._work.verify))
            self._chores = Lane("chores", self._do_chores)
            self._lanes = (self._runs, self._verifications, self._chores)
            for attach in self._on_start:
                attach(emit)
            for lane in self._lanes:
                lane.start()
            jobs = tuple(map(str, self._schedule.jobs()))
            listen = self._settings.metrics.listen
            emit(
                DaemonStarted(
                    jobs,
                    __version__,
                    str(self._settings.store.url),
                    self._source,
                    str(listen) if listen else None,
                )
            )
            self._notifier.ready()
            self._runs.offer(Job("start"))
            while not self._stop.is_set():
                self._turn()
                self._pause(TURN)
            return self._end()

    def due(self) -> dict[str, datetime]:
        """Return for each job when it should have run and has not, or else when it will."""
        owed = self._owed.copy()
        return {str(job): owed.get(job, at) for job, at in self._schedule.times().items()}

    def _paying(self, do: Callable[[Job], Result]) -> Callable[[Job], None]:
        """Do a job, and note that it was done; one that failed as a whole is still due."""

        def done(job: Job) -> None:
            self._requests.begin(job)
            result = do(job)
            self._requests.end(job, result)
            if not isinstance(result, Failure):
                self._owed.pop(job, None)

        return done

    def _turn(self) -> None:
        if self._hangup.came:
            self._hangup.came = False
            self._reload()
        for job in self._schedule.due(self._clock.now()):
            self._offer(job)
        for job in self._requests.due():
            self._runs.offer(job, again=True)
        now = self._clock.monotonic()
        if self._every_minute and now - self._chores_at >= _MINUTE:
            self._chores_at = now
            self._chores.offer(CHORES, again=True)
        self._notifier.status(self._words())
        period = self._notifier.watchdog
        if period is not None and now - self._fed >= period and self._is_well():
            self._fed = now
            self._notifier.feed()

    def _hear(self, event: Event) -> None:
        """Let the chores keep an alert at once: a kill must not have it told twice."""
        if isinstance(event, AlertTold):
            self._chores_at = float("-inf")

    def _offer(self, job: Job) -> None:
        self._owed.setdefault(job, self._clock.now())
        lane = self._verifications if job.kind == "verify" else self._runs
        if not lane.offer(job):
            self._skipped[job] += 1
            self._emit(RunSkipped(str(job), self._skipped[job]))

    def _is_well(self) -> bool:
        """Whether every thread is there, and nothing is stuck. Idle is well."""
        if not all(lane.alive for lane in self._lanes):
            return False
        busy = self._runs.running or self._verifications.running
        total = self._settings.transfer.total_timeout.total_seconds()
        return busy is None or self._progress.silence() < max(LONGEST_SILENCE, 2 * total)

    def _words(self) -> str:
        words = []
        if job := self._runs.running:
            words.append(f"{job}: {self._progress.run_words()}")
        if job := self._verifications.running:
            words.append(f"{job}: {self._progress.verify_words()}")
        if soonest := self._schedule.soonest():
            job, at = soonest
            words.append(f"next: {job} at {_shown(at)}")
        return "; ".join(words or ["idle: nothing is scheduled"])

    def _do_chores(self, job: Job) -> None:
        del job
        for chore in self._every_minute:
            try:
                chore()
            except Exception as error:  # noqa: BLE001 - a chore is no reason to stop
                name = getattr(chore, "__qualname__", type(chore).__name__)
                self._emit(RunFailed(name, "internal_error", f"{type(error).__name__}: {error}"))

    # -- reload ------------------------------------------------------------------------

    def _reload(self) -> None:
        """Read the configuration again; a wrong one changes nothing."""
        self._notifier.reloading()
        try:
            new = self._read()
            for tell in self._on_settings:
                tell(new)
        except ConfigError as error:
            self._emit(ConfigInvalid(tuple(str(problem) for problem in error.problems)))
        except (SyncError, OSError, ValueError) as error:
            hint = getattr(error, "hint", None)
            self._emit(ConfigInvalid((f"{error}; {hint}" if hint else str(error),)))
        else:
            self._take(new)
        self._notifier.ready()

    def _take(self, new: Settings) -> None:
        old, self._settings = self._settings, new
        self._work.settings = new
        self._schedule.replace(plan(new), self._clock.now())
        changed = differences(old, new)
        self._emit(ConfigReloaded(changed))
        if any(key.startswith(WHAT_TO_MIRROR) for key in changed):
            self._runs.offer(Job("start"), again=True)

    # -- the end -----------------------------------------------------------------------

    def _end(self) -> tuple[str, ...]:
        self._requests.close()
        self._notifier.stopping()
        self._notifier.status("stopping")
        deadline = self._clock.monotonic() + self._last_moments
        for lane in self._lanes:
            lane.close()
        late = tuple(
            str(lane.running or "engine")
            for lane in self._lanes
            if not lane.join(deadline - self._clock.monotonic())
        )
        if late:
            release = threading.Thread(target=self._work.give_up, name="release", daemon=True)
            release.start()
            release.join(RELEASE)
        self._emit(DaemonStopped(late, self._ended_by()))
        return late


def _shown(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M %Z")
