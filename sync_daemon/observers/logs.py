"""Events as log lines: JSON for machines, aligned text, by structlog, for people.

`event` is the event's name, its fields follow; `run_id` is on every line of a run, `model` and
`version` on every one that comes of the work for a version (meter.py carries them). Lines go
to standard error and, as JSON, to a file if there is one. What the libraries say joins them
as `library.message` (libraries.py).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from sync_daemon import meter
from sync_daemon.domain.events import (
    BytesMoved,
    Event,
    Level,
    RunFailed,
    RunFinished,
    RunSkipped,
    RunStarted,
)
from sync_daemon.observers.journald import PRIORITIES, priority_of
from sync_daemon.observers.levels import LIBRARY_MESSAGE, Levels
from sync_daemon.observers.lines import Lines, printable, printable_json
from sync_daemon.observers.logfile import LogFile
from sync_daemon.observers.mask import Mask

Format = Literal["json", "text"]
Fields = dict[str, Any]

_BESIDE_RUNS = frozenset(
    {"daemon", "config", "alert", "alerts", "trigger", "verify", "damage", "store", "gateway"}
)
"""Families of events that may come while a run is on, and have nothing to do with it."""


class Logs:
    """A listener that writes events to `lines`, and to `file`, as `levels` let them through."""

    def __init__(self, lines: Lines, *, form: Format, levels: Levels | None = None) -> None:
        self._page = _Page(lines, form)
        self._file: tuple[LogFile, _Page] | None = None
        self._levels = levels or Levels()
        self._on_levels: Callable[[Levels], None] | None = None
        self._run: tuple[str, int] | None = None

    @property
    def levels(self) -> Levels:
        """What is written, and what is not."""
        return self._levels

    @levels.setter
    def levels(self, levels: Levels) -> None:
        self._levels = levels
        if self._on_levels is not None:
            self._on_levels(levels)

    def on_levels(self, tell: Callable[[Levels], None] | None) -> None:
        """Tell the levels now, and whenever they change, until another call ends it."""
        self._on_levels = tell
        if tell is not None:
            tell(self._levels)

    @property
    def file(self) -> LogFile | None:
        """The file that lines are written to as well; who sets another one closes the former."""
        return self._file[0] if self._file else None

    @file.setter
    def file(self, file: LogFile | None) -> None:
        self._file = (file, _Page(file, "json")) if file else None

    def __call__(self, event: Event) -> None:
        """Write the line of an event; bytes on their way are for progress bars only."""
        if isinstance(event, BytesMoved):
            return
        if isinstance(event, RunStarted):
            self._run = event.run_id, threading.get_ident()
        if self._levels.show(event.name, event.level):
            run = None if _is_beside(event) else self._run
            fields = event.fields()
            self._put(event.name, event.level, fields, run=run, priority=priority_of(event))
        if isinstance(event, RunFinished) or self._is_end(event):
            self._run = None

    def _is_end(self, event: Event) -> bool:
        """A run that broke off tells so on the thread that began it; others may fail as well."""
        ours = self._run is not None and self._run[1] == threading.get_ident()
        return ours and isinstance(event, RunFailed)

    def write(
        self, name: str, level: Level, fields: dict[str, Any], *, only_file: bool = False
    ) -> None:
        """Write a line that is no event; `only_file`: standard error has it in other words."""
        if self._levels.show(name, level):
            self._put(name, level, fields, run=self._run, only_file=only_file)

    def hear(self, logger: str, level: Level, message: str) -> None:
        """Write what a library said."""
        if self._levels.show_library(logger, level):
            fields = {"logger": logger, "message": message}
            self._put(LIBRARY_MESSAGE, level, fields, run=self._run)

    def _put(
        self,
        name: str,
        level: Level,
        fields: dict[str, Any],
        *,
        run: tuple[str, int] | None,
        priority: int | None = None,
        only_file: bool = False,
    ) -> None:
        if run is not None:
            fields = {"run_id": run[0]} | _with_subject(fields)
        moment = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        fields = {"timestamp": moment, "level": level, "event": name, **fields}
        priority = PRIORITIES[level] if priority is None else priority
        if not only_file:
            self._page.write(fields, priority)
        if (file := self._file) is not None:
            file[1].write(fields, priority)


def _with_subject(fields: Fields) -> Fields:
    """Add the version that a line is about: its lock's, or the one that is worked for here."""
    named, found = fields.get("model"), meter.subject()
    model, at, version = str(fields.get("scope", "")).partition("@")
    if at:
        found = model, version
    if found is None or "version" in fields or named not in {None, found[0]}:
        return fields
    return fields | {"model": found[0], "version": found[1]}


def _is_beside(event: Event) -> bool:
    return isinstance(event, RunSkipped) or event.name.partition(".")[0] in _BESIDE_RUNS


class _Target(Protocol):
    """Where finished lines go."""

    mask: Mask

    @property
    def terminal(self) -> bool: ...

    def write(self, text: str, priority: int) -> None: ...


class _Page:
    """A target, and what lines look like there."""

    def __init__(self, target: _Target, form: Format) -> None:
        self._target = target
        self._render = _render_json if form == "json" else _open_text(colors=target.terminal)

    def write(self, fields: Fields, priority: int) -> None:
        mask = self._target.mask
        shown = {key: mask.value(value) for key, value in fields.items()}
        self._target.write(self._render(shown), priority)


def _render_json(fields: Fields) -> str:
    return printable_json(json.dumps(fields, ensure_ascii=False, default=str))


def _open_text(*, colors: bool) -> Callable[[Fields], str]:
    """Return what renders lines for people. structlog brings rich with it, and asyncio: machines
    do not pay for that at each start."""
    from structlog.dev import ConsoleRenderer  # noqa: PLC0415 - see above

    render = ConsoleRenderer(colors=colors, sort_keys=False)
    return lambda fields: render(None, "", _show_plainly(fields))


def _show_plainly(fields: Fields) -> Fields:
    shown = {key: _plain(value) for key, value in fields.items() if key != "trace"}
    if trace := fields.get("trace"):  # structlog writes what is named so on lines of its own
        shown["exception"] = "\n".join(printable(line) for line in trace.splitlines())
    return shown


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
