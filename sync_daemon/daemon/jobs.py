"""What the YAML asks the daemon to do, and when: pure, so that `status` computes it as well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from sync_daemon import bootstrap
from sync_daemon.config import ModelEntry, Settings, Timing
from sync_daemon.domain.wanted import Wanted, WantedTags

Kind = Literal["start", "incremental", "window", "full", "verify", "webhook", "request"]
TIMED: tuple[Kind, ...] = ("incremental", "full", "verify")
"""Kinds that have a key in the YAML, for all models and for each."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A run by hand: of these models (none: all). The id of the run ends with `run`; two that
    differ in nothing else are the same."""

    models: tuple[str, ...]
    full: bool
    run: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do. `model` is empty in a job for all that have no times of their own.

    `start` brings what is declared and not published, `window` what waited for the window;
    `webhook` is for a model that changed at the Hub, `request` for what was `asked` for.
    """

    kind: Kind
    model: str = ""
    asked: Asked | None = None

    def __str__(self) -> str:
        if self.asked is not None:
            return f"{self.kind} {self.asked.run}"
        return f"{self.kind} {self.model}".strip()


@dataclass(frozen=True, slots=True)
class Planned:
    """A job and its times. `jitter` is the most that it may start later."""

    job: Job
    timing: Timing
    zone: str
    jitter: timedelta

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first time after `moment`, without jitter."""
        return self.timing.next_after(moment, ZoneInfo(self.zone))


@dataclass(frozen=True, slots=True)
class NextRun:
    """When a job is due next, without jitter."""

    planned: Planned
    at: datetime

    def to_json(self) -> dict[str, str]:
        """Return the entry of `status --json`."""
        job = self.planned.job
        found = {"job": job.kind, "model": job.model, "at": self.at.isoformat()}
        return {key: value for key, value in found.items() if value}


def plan(settings: Settings) -> tuple[Planned, ...]:
    """Return every job that ever comes, the common ones first."""
    schedule = settings.schedule
    jitter = schedule.jitter or timedelta()
    found = (Planned(job, timing, schedule.timezone, jitter) for job, timing in _jobs(settings))
    return tuple(one for one in found if one.timing != Timing())


def _jobs(settings: Settings) -> Iterator[tuple[Job, Timing]]:
    schedule = settings.schedule
    for kind in TIMED:
        if kind == "verify" or any(_own(model, kind) is None for model in settings.models):
            yield Job(kind), getattr(schedule, kind) or Timing()
    if (window := schedule.window) is not None:
        yield Job("window"), Timing(cron=f"{window.start.minute} {window.start.hour} * * *")
    for model in settings.models:
        for kind in TIMED:
            if (own := _own(model, kind)) is not None:
                yield Job(kind, model.name), own


def _own(model: ModelEntry, kind: Kind) -> Timing | None:
    found: Timing | None = getattr(model.schedule, kind)
    return found


def next_runs(settings: Settings, now: datetime) -> tuple[NextRun, ...]:
    """Return when each job is due next, the soonest first."""
    found = ((planned, planned.next_after(now)) for planned in plan(settings))
    runs = [NextRun(planned, at) for planned, at in found if at is not None]
    return tuple(sorted(runs, key=lambda run: run.at))


def covered(settings: Settings, job: Job) -> tuple[Wanted | WantedTags, ...]:
    """Return the entries of the YAML that a job of syncing is for."""
    entries = bootstrap.entries(settings)
    if job.asked is not None and job.asked.models:
        return tuple(entry for entry in entries if entry.model in job.asked.models)
    if job.model:
        return tuple(entry for entry in entries if entry.model == job.model)
    if job.kind not in TIMED:
        return entries
    others = {model.name for model in settings.models if _own(model, job.kind) is None}
    return tuple(entry for entry in entries if entry.model in others)
