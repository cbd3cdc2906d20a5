"""Makes the cache hold a version by asking mirrors: the engine does it, this sees that it is so.

resolve -> is it here, sound? -> drop what is spoiled -> let the engine fetch -> look again
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace

from sync_daemon import bootstrap, meter
from sync_daemon.client.account import Account
from sync_daemon.client.cache import Cache, Held
from sync_daemon.client.placing import check_names
from sync_daemon.client.report import VersionRefused, error_of
from sync_daemon.client.request import ORIGIN, Request
from sync_daemon.client.room import RoomOutlook
from sync_daemon.client.sites import Sites
from sync_daemon.domain.digests import CommitId
from sync_daemon.domain.errors import Interrupted, SyncError
from sync_daemon.domain.events import Event, VersionWarning
from sync_daemon.domain.manifest import FileEntry
from sync_daemon.domain.report import LOCKED, VersionReport
from sync_daemon.domain.wanted import Wanted
from sync_daemon.engine.clock import SystemClock
from sync_daemon.engine.run import Engine
from sync_daemon.engine.tools import How
from sync_daemon.ports import Emit, ObjectStore
from sync_daemon.stores.local import LocalStore
from sync_daemon.stores.memory import MemoryStore

_ROUNDS = 3
"""Times that the engine may be asked: the second time for blobs that were not sound."""

_FIRST_WAIT, _LONGEST_WAIT = 0.2, 5.0


@dataclass(slots=True)
class Online:
    """One pull with the engine at hand."""

    request: Request
    sites: Sites
    cache: Cache
    emit: Emit
    stop: threading.Event
    account: Account

    def fetch(self) -> Held | None:
        """Make the cache hold the version, sound; None after a dry run."""
        dry = self.request.dry_run
        settings = self.sites.settings
        with ExitStack() as stack:
            clock = SystemClock(self.stop)
            sources = stack.enter_context(bootstrap.origins(settings, self._hear, clock))
            store = stack.enter_context(self._store(dry=dry))
            engine_over = bootstrap.engine_over(store, sources, settings, self._hear, self.stop)
            made = stack.enter_context(engine_over)
            outlook = RoomOutlook(bootstrap.limits(settings), made.vault.store, self.cache.root)
            engine = replace(made, outlook=outlook)
            return self._fetch(engine)

    @contextmanager
    def _store(self, *, dry: bool) -> Iterator[ObjectStore]:
        """Open the cache for the engine to fill; to a dry run a missing one is an empty one."""
        root = self.cache.root
        if dry and not root.is_dir():
            yield MemoryStore()
            return
        with closing(LocalStore(root, lazy=True)) as found:
            yield found

    def _hear(self, event: Event) -> None:
        self.cache.hear(event)
        self.emit(event)

    def _fetch(self, engine: Engine) -> Held | None:
        self._mend()
        wanted, paths = self._resolve(engine)
        if self.request.output is not None and paths is not None:
            check_names(self.request.output, paths)
        self.account.commit = CommitId(wanted.revision)
        verify = self.request.verify
        for _ in range(_ROUNDS):
            held = self._find(wanted)
            if held is not None and (paths is None or paths == _paths(held)):
                unsound = self.cache.unsound(held.manifest, again=verify)
                if not unsound:
                    return held
                if not self.request.dry_run:
                    self._drop(unsound, wanted)
            verify, paths = False, None
            if not self._sync(wanted, engine):
                return None
        held = self.cache.find(wanted)
        if held is not None and not self.cache.unsound(held.manifest):
            return held
        message = f"{self.request}: the cache in {self.cache.root} changes while it is filled"
        raise SyncError(message, hint="is the disk sound, and does anything write there?")

    def _mend(self) -> None:
        """Take damaged notes of the cache for missing ones, and say so; the engine would stop."""
        wanted = self.request.wanted
        for message in () if self.request.dry_run else self.cache.mend(wanted):
            self._warn(wanted, message)

    def _find(self, wanted: Wanted) -> Held | None:
        """Return the version if the cache has its commit, be it under another name."""
        held = self.cache.find(wanted)
        if held is not None and held.commit == wanted.revision:
            return held
        held = self.cache.find_commit(wanted, wanted.revision)
        if held is not None and not self.request.dry_run:
            self.cache.adopt(held, wanted)
        return held

    def _resolve(self, engine: Engine) -> tuple[Wanted, frozenset[str] | None]:
        """Ask what the version means now: one request, none for a full commit.

        Also return which files it has, if the answer says so: a mirror may select others of
        the same commit than it did before.
        """
        wanted = self.request.wanted
        if CommitId.is_one(wanted.revision):
            return wanted, None
        origin = engine.origins[ORIGIN]
        try:
            with meter.use(meter.Meter()):
                found = engine.retry(
                    f"resolve {self.request}",
                    lambda: origin.resolve(wanted.repository, wanted.revision),
                )
        finally:
            self.account.tally(engine)  # a run counts anew
        paths = found.paths
        if paths is not None:
            paths = frozenset(path for path in paths if wanted.selection.holds(path))
        return replace(wanted, revision=found.commit), paths

    def _warn(self, wanted: Wanted, message: str) -> None:
        self.account.warnings.append(message)
        self.emit(VersionWarning(model=wanted.model, version=wanted.version, message=message))

    def _drop(self, unsound: Sequence[FileEntry], wanted: Wanted) -> None:
        """Remove spoiled blobs, and say so: somebody may have edited a linked file."""
        spoiled = [one for one in unsound if self.cache.path(one.sha256).exists()]
        self.cache.drop(spoiled)
        for one in spoiled:
            self._warn(wanted, f"{one.path}: its copy in the cache was changed; it is fetched anew")

    def _sync(self, wanted: Wanted, engine: Engine) -> bool:
        """Let the engine bring the version into the cache; False after a dry run.

        While another process does so, it is waited for.
        """
        wait = _FIRST_WAIT
        how = How(full=True, apply=not self.request.dry_run, accept=True)
        while True:
            (report,) = engine.run((wanted,), how).versions
            self.account.count(report, engine)
            if not (report.error and report.error.kind == LOCKED):
                break
            if self.stop.wait(wait):
                message = f"{self.request}: stopped while another process fetched it"
                raise Interrupted(message)
            wait = min(2 * wait, _LONGEST_WAIT)
        if report.status == "planned" and report.plan is not None:
            self.account.plan = report.plan.fetches
            sizes = replace(
                self.account.sizes, total=report.bytes.total, reused=report.bytes.reused
            )
            self.account.files, self.account.sizes = report.files.total, sizes
            return False
        if report.status in {"published", "unchanged"}:
            return True
        raise _failure(report, f"{self.request}")


def _paths(held: Held) -> frozenset[str]:
    return frozenset(entry.path for entry in held.manifest.files)


def _failure(report: VersionReport, request: str) -> SyncError:
    if report.error is not None:
        return error_of(report.error)
    return VersionRefused(f"{request}: {'; '.join(report.reasons)}")
