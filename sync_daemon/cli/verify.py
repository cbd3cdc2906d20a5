"""`verify`: prove what the store holds, and change nothing."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from sync_daemon import bootstrap
from sync_daemon.bootstrap import alerting
from sync_daemon.cli.command import Command, add_json, add_many
from sync_daemon.cli.output import Column, Output
from sync_daemon.cli.session import Session
from sync_daemon.domain import keys
from sync_daemon.domain.events import DamageFound
from sync_daemon.domain.exits import EXIT_DAMAGED, EXIT_OK
from sync_daemon.domain.words import exact_size, human_size, plural
from sync_daemon.engine.clock import SystemClock
from sync_daemon.engine.verification import Damage, Use, Verification
from sync_daemon.engine.verify import Watch

_SECONDS_BETWEEN_LINES = 60.0
_COLUMNS: tuple[Column, ...] = (
    ("DAMAGE", "left"),
    ("VERSION", "left"),
    ("FILE", "left"),
    ("OBJECT", "left"),
    ("WHAT", "left"),
)
_RESTORE = "`sync-daemon run-once --full` fetches what is missing"
_BLOB = f"delete the damaged blobs from the store; then {_RESTORE}"
_UNREADABLE = "find out why a blob cannot be read (permissions, the disk) before you delete it"
_MANIFEST = (
    "delete the damaged current.json and manifests, and the current.json that names such a"
    " manifest; `sync-daemon run-once` then publishes these versions again, from the blobs that"
    " are there"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `verify`."""
    parser.add_argument(
        "--deep", action="store_true", help="read and hash every blob and plain copy as well"
    )
    add_many(parser, "--model", "MODEL", "only this model, declared or not; may be repeated")
    add_json(parser)


def run(session: Session) -> int:
    """Verify what was asked for and print what was found; alerts hear of damage."""
    arguments, settings = session.arguments, session.settings()
    declared = frozenset(str(entry.model) for entry in bootstrap.entries(settings))
    clock = SystemClock(session.stop)
    alerts = alerting.open_alerts(settings, clock)
    with (
        session.listening(alerts) as emit,
        bootstrap.store(settings) as store,
        alerting.hearing(alerts, emit, store, clock),
    ):
        verifier = bootstrap.verifier(store, settings, emit, session.stop)
        with _watching(session) as watch:
            found = verifier.verify(
                models=frozenset(arguments.model),
                declared=declared,
                deep=watch,
            )
        for one in found.damage:
            emit(DamageFound(key=one.key, problem=f"{one.kind}: {one.message}"))
        emit(found.finished("verify by hand", complete=found.deep and not arguments.model))
    if arguments.json:
        session.out.json(found.to_json())
    else:
        _show(found, session.out)
    return EXIT_DAMAGED if found.damage else EXIT_OK


def _show(found: Verification, out: Output) -> None:
    if found.damage:
        out.table(_COLUMNS, (_row(damage) for damage in found.damage))
        for hint in _hints(found):
            out.line(f"hint: {hint}")
    depth = "every byte read" if found.deep else "sizes only; --deep reads every byte"
    out.line(
        f"{plural(found.versions, 'version')}, {plural(found.manifests, 'manifest')},"
        f" {plural(found.blobs, 'blob')}, {exact_size(found.bytes)}: {depth}"
    )
    if found.unreferenced and found.unreferenced[0]:
        blobs, size = found.unreferenced
        out.line(f"{plural(blobs, 'blob')} ({human_size(size)}) named by no manifest: no damage")
    if found.damage:
        objects, versions = len(found.damage), len(found.hit)
        text = f"damaged: {plural(objects, 'object')} in {plural(versions, 'version')}"
        out.line(text, "red")
    else:
        out.line("no damage", "green")


def _row(damage: Damage) -> tuple[str, ...]:
    versions = dict.fromkeys(f"{use.model}@{use.version}" for use in damage.uses)
    paths = dict.fromkeys(_name(use) for use in damage.uses)
    what = damage.message
    return damage.kind, _first(list(versions)), _first(list(paths)), damage.key, what


def _name(use: Use) -> str:
    if use.path is not None:
        return use.path
    return "(manifest)" if use.manifest is not None else "(current.json)"


def _first(names: list[str]) -> str:
    if len(names) <= 1:
        return names[0] if names else ""
    return f"{names[0]} and {len(names) - 1} more"


def _hints(found: Verification) -> Iterator[str]:
    blobs = {d.kind for d in found.damage if d.key.startswith(keys.BLOBS)}
    if "unreadable" in blobs:
        yield _UNREADABLE
    if blobs & {"wrong_size", "corrupt"}:
        yield _BLOB
    elif "missing" in blobs:
        yield _RESTORE
    if any(d.key.startswith(keys.MODELS) for d in found.damage):
        yield _MANIFEST


@contextmanager
def _watching(session: Session) -> Iterator[Watch | None]:
    """Draw a bar where a person is looking, and write a line now and then elsewhere."""
    if not session.arguments.deep:
        yield None
        return
    if not session.talk.terminal or session.log_format() != "text":
        yield _LinesNowAndThen(session)
        return
    console = Console(file=session.talk.stream, markup=False, highlight=False, emoji=False)
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    with (
        bars,
        session.talk.through(lambda line: console.print(Text.from_ansi(line), soft_wrap=True)),
    ):
        yield _Bar(bars)


class _Bar:
    """One bar for all that is read."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def begin(self, objects: int, size: int) -> None:
        """Draw the bar."""
        self._task = self._bars.add_task(plural(objects, "object"), total=size)

    def advance(self, count: int) -> None:
        """Move the bar."""
        if self._task is not None:
            self._bars.advance(self._task, count)


class _LinesNowAndThen:
    """A line at the beginning, then one a minute."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._size = self._done = 0
        self._last = time.monotonic()

    def begin(self, objects: int, size: int) -> None:
        """Say how much there is to read."""
        self._size, self._last = size, time.monotonic()
        self._tell(f"reading {plural(objects, 'object')}, {human_size(size)}")

    def advance(self, count: int) -> None:
        """Say how much was read, if it was not said a moment ago."""
        with self._lock:
            self._done += count
            if time.monotonic() - self._last < _SECONDS_BETWEEN_LINES:
                return
            self._last = time.monotonic()
            done = self._done
        self._tell(f"{human_size(done)} of {human_size(self._size)} read")

    def _tell(self, message: str) -> None:
        self._session.notice("verify.progress", "info", message)


COMMAND = Command(
    name="verify",
    description=(
        "Prove that every manifest hashes to its name and that every blob that one names is\n"
        "stored in its size; with --deep, that its bytes hash to its name. Models that left\n"
        "the YAML are verified too. Nothing is written."
    ),
    exits=(0, 2, 3, 4, 130),
    run=run,
    configure=configure,
    graceful=True,
)
