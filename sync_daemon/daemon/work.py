"""What the jobs do: runs of one engine, and verifications. None of them ends the daemon.

The engine lives as long as what it is made from is the same, so that limits, endpoints'
rests and connections outlive a run. After an error that ended a whole run it is made anew:
the store may have come, or gone.
"""

from __future__ import annotations

import threading
import traceback
from contextlib import ExitStack

from sync_daemon import bootstrap
from sync_daemon.config import Settings
from sync_daemon.daemon.jobs import Job, covered
from sync_daemon.daemon.progress import Progress
from sync_daemon.domain.errors import Interrupted, SyncError, Unavailable
from sync_daemon.domain.events import DamageFound, RunFailed
from sync_daemon.domain.report import Failure, RunReport
from sync_daemon.domain.wanted import Wanted
from sync_daemon.engine.run import Engine, Entry
from sync_daemon.engine.tools import How
from sync_daemon.ports import Emit


class Work:
    """Does jobs with the settings of the moment. `sync` and `verify` are for a thread each."""

    def __init__(
        self, settings: Settings, emit: Emit, stop: threading.Event, progress: Progress
    ) -> None:
        self.settings = settings
        self._emit = emit
        self._stop = stop
        self._progress = progress
        self._engine: Engine | None = None
        self._parts: tuple[object, ...] = ()
        self._place = ""
        self._known: set[str] = set()
        self._stack = ExitStack()

    def sync(self, job: Job) -> RunReport | Failure | None:
        """Bring what a job covers up to date; None: there was nothing to do."""
        self._progress.touch()
        try:
            settings = self.settings
            engine = self._engine_for(settings)
            entries = covered(settings, job)
            if job.kind == "start":
                entries = tuple(entry for entry in entries if _is_missing(entry, engine))
            asked = job.asked
            if asked is not None:
                how, models = How(full=asked.full), frozenset(asked.models)
                return engine.run(entries, how, models=models, ending=asked.run)
            if entries:
                return engine.run(entries, How(full=job.kind == "full"))
        except Exception as error:  # noqa: BLE001 - a run that fails must not end the daemon
            self.close()
            return self._tell(job, error)
        return None

    def verify(self, job: Job) -> Failure | None:
        """Read the stored bytes again; None: it was done, whatever it found."""
        self._progress.touch()
        settings, stop = self.settings, self._stop
        declared = frozenset(str(entry.model) for entry in bootstrap.entries(settings))
        try:
            with bootstrap.store(settings) as store:
                found = bootstrap.verifier(store, settings, self._emit, stop).verify(
                    models=frozenset({job.model} - {""}), declared=declared, deep=self._progress
                )
        except Exception as error:  # noqa: BLE001 - as above
            return self._tell(job, error)
        for one in found.damage:
            self._emit(DamageFound(key=one.key, problem=f"{one.kind}: {one.message}"))
        self._emit(found.finished(str(job), complete=not job.model))
        return None

    def give_up(self) -> None:
        """Release the locks of a run that cannot be waited for."""
        if (engine := self._engine) is not None:
            engine.locks.give_up()

    def close(self) -> None:
        """End the engine, if there is one: its threads, its locks' heartbeat, its connections."""
        if self._engine is not None and self._engine.vault.known:
            self._known.add(self._place)
        self._engine, stack, self._stack = None, self._stack, ExitStack()
        try:
            stack.close()
        except Exception as error:  # noqa: BLE001 - nothing depends on it any more
            self._tell(Job("start"), error)

    def _engine_for(self, settings: Settings) -> Engine:
        parts = bootstrap.engine_parts(settings)
        if self._engine is not None and parts == self._parts:
            return self._engine
        self.close()
        self._place = f"{settings.store.endpoint or ''} {settings.store.url}"
        known, hours = self._place in self._known, bootstrap.off_peak(settings)
        made = bootstrap.engine(settings, self._emit, self._stop, known=known, hours=hours)
        engine = self._stack.enter_context(made)
        self._engine, self._parts = engine, parts
        return engine

    def _tell(self, job: Job, error: Exception) -> Failure:
        if isinstance(error, SyncError):
            failure = Failure(error.kind, str(error), error.hint)
            if not (isinstance(error, Interrupted) and self._stop.is_set()):
                self._emit(RunFailed(str(job), failure.kind, failure.message, failure.hint))
            return failure
        hint = "this is a fault of sync-daemon: please report it with the log"
        failure = Failure("internal_error", f"{type(error).__name__}: {error}", hint)
        trace = "".join(traceback.format_exception(error))
        self._emit(RunFailed(str(job), failure.kind, failure.message, hint, trace))
        return failure


def _is_missing(entry: Entry, engine: Engine) -> bool:
    """Tell whether an entry is not published; of tags only the origin knows which there are.

    What cannot be read counts as missing: the run tells what is wrong with it. Raises
    Unavailable.
    """
    if not isinstance(entry, Wanted):
        return True
    try:
        return engine.vault.current(entry.model, entry.version) is None
    except Unavailable:
        raise
    except SyncError:
        return True
