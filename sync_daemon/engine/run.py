"""A run: everything that was selected, several versions at a time, and its report."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta

from sync_daemon import meter
from sync_daemon.domain import keys
from sync_daemon.domain.errors import Interrupted, InvalidName, SyncError
from sync_daemon.domain.events import CleanUpFailed, RunFinished, RunReportLost, RunStarted
from sync_daemon.domain.names import VersionName
from sync_daemon.domain.report import Failure, Mode, RunReport, Selected, Status, VersionReport
from sync_daemon.domain.wanted import Wanted, WantedTags
from sync_daemon.engine import outcome
from sync_daemon.engine.catalog import Catalog
from sync_daemon.engine.expiry import remove_old_reports
from sync_daemon.engine.history import PastRuns
from sync_daemon.engine.known import read_known_damage
from sync_daemon.engine.limits import Limits
from sync_daemon.engine.locks import Locks
from sync_daemon.engine.outlook import Outlook
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.siblings import Siblings
from sync_daemon.engine.sync import sync_version
from sync_daemon.engine.tools import How, Tools
from sync_daemon.engine.transfer import Transfer
from sync_daemon.engine.vault import Vault
from sync_daemon.ports import Clock, Emit, Origin, Record

JOBS = 8
"""Versions that are worked on at once; their bytes share the transfer's own limits."""

Entry = Wanted | WantedTags


@dataclass(frozen=True, slots=True)
class Engine:
    """What a process needs to run; wired by bootstrap, used by every command that syncs.

    A full run removes the reports of runs that are older than `keep_reports`; None: none.
    """

    vault: Vault
    origins: Mapping[str, Origin]
    transfer: Transfer
    locks: Locks
    retry: Retry
    clock: Clock
    emit: Emit
    stop: threading.Event
    part_size: int
    outlook: Outlook = field(default_factory=lambda: Outlook(Limits()))
    keep_reports: timedelta | None = None

    def run(
        self,
        entries: Iterable[Entry],
        how: How,
        only: frozenset[str] = frozenset(),
        models: frozenset[str] = frozenset(),
        ending: str = "",
    ) -> RunReport:
        """Sync, or plan, all entries; never raises for one of them (I6).

        `only` names the versions that are meant (none: all), tags expanded; `models` those
        that `entries` were chosen by, for the report; `ending`, 8 hexadecimal digits, is what
        the run id is to end with, for who asked for the run before it began. Raises
        Unavailable or StoreRefused when the store cannot be used at all.
        """
        self.vault.open(create=how.apply)
        self.vault.forget()
        self.transfer.forget()
        if how.apply:
            self.vault.list_marks()
            self.transfer.journals.refresh()
            self._clean_up(full=how.full)
        started, began = self.clock.now(), self.clock.monotonic()
        run_id = f"{started:%Y%m%dT%H%M%S.%f}"[:-3] + f"Z-{ending or uuid.uuid4().hex[:8]}"
        catalog = Catalog(self.origins, self.retry)
        self._begin_records()
        with ThreadPoolExecutor(JOBS, thread_name_prefix="version") as pool:
            wanted, failed = _expand(tuple(entries), catalog, pool)
            wanted = tuple(one for one in wanted if not only or one.version in only)
            versions = len(wanted) + len(failed)
            self._announce(how, RunStarted(run_id=run_id, mode=_mode(how), versions=versions))
            tools = self._tools(catalog, wanted)
            done = pool.map(lambda one: self._one(one, tools, how), wanted)
            reports = sorted([*done, *failed], key=lambda r: (r.model, r.version))
        for one in failed:
            outcome.tell(one, self.emit)
        seconds = self.clock.monotonic() - began
        tallies = tuple(one for record in self._records() for one in record.tallies())
        asked = Selected(tuple(sorted(models)), tuple(sorted(only)))
        report = RunReport(run_id, _mode(how), started, seconds, tuple(reports), tallies, asked)
        if how.apply:
            self._keep(report)
        if how.apply and how.full:
            self._remove_old_reports(report)
        self._announce(how, _finished(report))
        return report

    def _announce(self, how: How, event: RunStarted | RunFinished) -> None:
        """Tell that a run begins or ends; a plan is none."""
        if how.apply:
            self.emit(event)

    def _begin_records(self) -> None:
        history = PastRuns(self.vault.store, self.clock)
        for record in self._records():
            record.begin(history)

    def _records(self) -> tuple[Record, ...]:
        return tuple(one.record for one in self.origins.values() if one.record is not None)

    def _clean_up(self, *, full: bool) -> None:
        try:
            self.transfer.journals.sweep_orphans()
            if full:
                self.transfer.journals.sweep()
        except SyncError as error:
            self.emit(CleanUpFailed(error=str(error)))

    def _one(self, wanted: Wanted, tools: Tools, how: How) -> VersionReport:
        if self.stop.is_set():
            error = Interrupted(f"{wanted}: stopped before it began")
            return outcome.stopped(wanted, "interrupted", error)
        return sync_version(wanted, tools, how)

    def _tools(self, catalog: Catalog, wanted: tuple[Wanted, ...]) -> Tools:
        return Tools(
            vault=self.vault,
            catalog=catalog,
            transfer=self.transfer,
            locks=self.locks,
            siblings=Siblings(self.vault, wanted),
            retry=self.retry,
            clock=self.clock,
            emit=self.emit,
            part_size=self.part_size,
            outlook=self.outlook,
            damage=read_known_damage(self.vault.store, self.retry),
        )

    def _keep(self, report: RunReport) -> None:
        key = keys.run(report.run_id, report.started)
        try:
            self.retry(f"write {key}", lambda: self.vault.store.put(key, report.to_record()))
        except SyncError as error:
            self.emit(RunReportLost(run_id=report.run_id, error=str(error)))

    def _remove_old_reports(self, newest: RunReport) -> None:
        if self.keep_reports is None or self.stop.is_set():
            return
        spared = keys.run(newest.run_id, newest.started)
        remove_old_reports(self.vault.store, self.keep_reports, spared, self.retry, self.emit)


def _expand(
    entries: tuple[Entry, ...], catalog: Catalog, pool: ThreadPoolExecutor
) -> tuple[tuple[Wanted, ...], tuple[VersionReport, ...]]:
    """Turn tag patterns into versions; what cannot be expanded fails as one entry."""
    named = {(e.model, e.version.casefold()): e for e in entries if isinstance(e, Wanted)}
    failed: list[VersionReport] = []
    patterns = [entry for entry in entries if isinstance(entry, WantedTags)]
    for entry, tags in zip(patterns, pool.map(lambda e: _tags(e, catalog), patterns), strict=True):
        if isinstance(tags, SyncError):
            failed.append(_failed(entry, tags))
            continue
        for tag in tags:
            version = _version(entry, tag)
            if isinstance(version, VersionReport):
                failed.append(version)
                continue
            wanted = Wanted(
                entry.model,
                version,
                entry.origin,
                entry.repository,
                tag,
                entry.selection,
                entry.trees,
                entry.group,
                entry.requires,
            )
            other = named.setdefault((entry.model, version.casefold()), wanted)
            if other != wanted:
                reason = f"tag {tag} of {entry.label} is, but for case, also version {other}"
                failed.append(outcome.refused(wanted, None, (reason,)))
    return tuple(named.values()), tuple(failed)


def _tags(entry: WantedTags, catalog: Catalog) -> tuple[str, ...] | SyncError:
    try:
        with meter.use(meter.Meter((entry.model, entry.label))):
            return catalog.tags(entry)
    except SyncError as error:
        return error


def _version(entry: WantedTags, tag: str) -> VersionName | VersionReport:
    try:
        return VersionName.of_tag(tag)
    except InvalidName as error:
        reasons = (str(error),)
        return VersionReport(entry.model, f"tags:{tag}", "refused", reasons=reasons)


def _failed(entry: WantedTags, error: SyncError) -> VersionReport:
    failure = Failure(error.kind, str(error), error.hint)
    status: Status = "interrupted" if isinstance(error, Interrupted) else "failed"
    return VersionReport(entry.model, entry.label, status, error=failure)


def _mode(how: How) -> Mode:
    return "full" if how.full else "incremental"


def _finished(report: RunReport) -> RunFinished:
    count = Counter(version.status for version in report.versions)
    return RunFinished(
        run_id=report.run_id,
        status=report.status,
        seconds=round(report.seconds, 3),
        published=count["published"],
        unchanged=count["unchanged"],
        failed=count["failed"] + count["refused"],
        origin_requests=sum(version.origin_requests for version in report.versions),
        store_requests=sum(version.store_requests for version in report.versions),
        skipped=count["skipped"],
        interrupted=count["interrupted"],
    )
