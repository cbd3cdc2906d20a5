"""`store status`: room, use by kind of object, rules of the server, what init would change."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sync_daemon import bootstrap
from sync_daemon.cli.command import Command, add_json
from sync_daemon.cli.output import Column, Output
from sync_daemon.cli.session import Session
from sync_daemon.cli.store_init import show_step
from sync_daemon.cli.store_steps import is_there, name_server, take_first, take_rest
from sync_daemon.config import S3Place, Settings
from sync_daemon.domain.errors import SyncError
from sync_daemon.domain.words import exact_size, human_size, plural
from sync_daemon.engine.journal import Journals
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.setup import Home, Step
from sync_daemon.engine.usage import Usage, count_usage, stored_bytes, unfinished
from sync_daemon.ports import StoreCapacity

_COLUMNS: tuple[Column, ...] = (("KIND", "left"), ("OBJECTS", "right"), ("SIZE", "right"))
_NAMES = {"minio": "MinIO", "s3": "an S3 server", "directory": "a directory"}


@dataclass(frozen=True, slots=True)
class _Stand:
    """All that is told; None: not known, or not asked."""

    store: str
    server: str
    there: bool
    capacity: StoreCapacity | None
    usage: tuple[Usage, ...] | None
    uploads: int | None
    kept: int | None
    quota: int | None
    expiry: timedelta | None
    steps: Sequence[Step]

    def to_json(self) -> dict[str, Any]:
        room = self.capacity
        return {
            "store": self.store,
            "server": self.server,
            "capacity": (
                {"total": room.total, "used": room.used, "free": room.free} if room else None
            ),
            "usage": None if self.usage is None else [one.to_json() for one in self.usage],
            "unfinished": {
                "uploads": self.uploads,
                "bytes": self.kept,
                "journals": None if self.usage is None else unfinished(self.usage),
            },
            "quota": self.quota,
            "uploads_expire_seconds": int(self.expiry.total_seconds()) if self.expiry else None,
            "steps": [step.to_json() for step in self.steps],
        }


def run(session: Session) -> int:
    """Look at the store; nothing is written."""
    settings = session.settings()
    with session.listening() as emit, bootstrap.home(settings) as home:
        retry = bootstrap.retry(settings, emit, session.stop)
        stand = _look(settings, home, retry, with_usage=not session.arguments.no_usage)
    if session.arguments.json:
        session.out.json(stand.to_json())
    else:
        _show(stand, session.out)
    return 0


def _look(settings: Settings, home: Home, retry: Retry, *, with_usage: bool) -> _Stand:
    first = take_first(settings, home, retry, apply=False)
    there, server = is_there(first), name_server(settings)
    steps = (*first, *take_rest(settings, server, there=there, apply=False))
    usage = None
    if there and with_usage:
        usage = retry("list the store", lambda: count_usage(home.list("")))
    capacity = home.capacity() if there else None
    if capacity is not None and usage is not None:
        capacity = capacity.counting(stored_bytes(usage))
    quota, expiry = _ask_rules(settings) if server == "minio" else (None, None)
    return _Stand(
        str(settings.store.url),
        server,
        there,
        capacity,
        usage,
        _count_uploads(home) if there else None,
        _kept_bytes(home, retry) if there and with_usage else None,
        quota,
        expiry,
        steps,
    )


def _ask_rules(settings: Settings) -> tuple[int | None, timedelta | None]:
    """Return the quota (0: none) and the life of unfinished uploads, as far as they are told."""
    quota = expiry = None
    place = settings.store.url
    if not isinstance(place, S3Place):
        return None, None
    with bootstrap.administration(settings) as server:
        if server is not None:
            with suppress(SyncError):
                quota = server.quota(place.bucket)
            with suppress(SyncError):
                expiry = server.upload_rules().expiry
    return quota, expiry


def _count_uploads(home: Home) -> int | None:
    """Return how many uploads the server lists; a key may lack the right to list them."""
    try:
        return home.unfinished()
    except (SyncError, FileNotFoundError):
        return None


def _kept_bytes(home: Home, retry: Retry) -> int | None:
    """Return the bytes of unfinished uploads: as the store tells them, else those with journals."""
    try:
        found = home.unfinished_bytes()
        return Journals(home, retry).kept_bytes() if found is None else found
    except SyncError:
        return None


def _show(stand: _Stand, out: Output) -> None:
    out.line(f"{stand.store}: {_NAMES[stand.server]}")
    room = stand.capacity
    if not stand.there:
        place = "directory" if stand.server == "directory" else "bucket"
        out.line(f"room        not known: the {place} is not there yet")
    elif room is None:
        out.line("room        not known; store.capacity in the YAML can tell it")
    else:
        out.line(f"total       {exact_size(room.total)}")
        out.line(f"used        {'not counted' if room.used is None else exact_size(room.used)}")
        out.line(f"free        {'not known' if room.free is None else exact_size(room.free)}")
    if stand.quota is not None:
        out.line(f"quota       {exact_size(stand.quota) if stand.quota else 'none'}")
    if stand.expiry is not None:
        out.line(f"expiry      unfinished uploads live {_hours(stand.expiry)} h")
    if stand.uploads is not None or stand.kept:
        count = plural(stand.uploads, "upload") if stand.uploads else ""
        taken = exact_size(stand.kept) if stand.kept else ""
        out.line(f"unfinished  {', '.join(text for text in (count, taken) if text) or 'none'}")
    if stand.usage is not None:
        out.table(
            _COLUMNS,
            (
                (one.kind, f"{one.objects:,}", human_size(one.bytes))
                for one in stand.usage
                if one.objects
            ),
        )
    for step in stand.steps:
        if step.state != "already":
            show_step(step, out)
    if any(step.state == "planned" for step in stand.steps):
        out.line("`sync-daemon store init` does what is planned")


def _hours(length: timedelta) -> str:
    return f"{length.total_seconds() / 3600:,.0f}"


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-usage", action="store_true", help="do not list the store to count its objects"
    )
    add_json(parser)


COMMAND = Command(
    name="store status",
    description=(
        "Show the room of the store, what takes it, the server's rules, and what `store init`\n"
        "would change. Nothing is written."
    ),
    exits=(0, 2, 3, 130),
    run=run,
    configure=_configure,
)
