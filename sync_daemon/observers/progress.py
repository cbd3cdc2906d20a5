"""Progress bars on a terminal: bytes, rate and time left, a bar for each version at work.

A listener like any other, and a context manager: log lines are written above the bars
for as long as these are drawn.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from sync_daemon.domain.events import (
    BytesMoved,
    Event,
    VersionFailed,
    VersionPassed,
    VersionPlanned,
    VersionPublished,
    VersionUnchanged,
)
from sync_daemon.observers.lines import Lines, printable

_ENDS = (VersionPublished, VersionFailed, VersionPassed, VersionUnchanged)


class Progress:
    """Draws bars on the stream of `lines`, which should be a terminal."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._console = Console(file=lines.stream, markup=False, highlight=False, emoji=False)
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._tasks: dict[tuple[str, str], TaskID] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self._bars)
        self._stack.enter_context(self._lines.through(self._above))
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def __call__(self, event: Event) -> None:
        """Move, add or remove a bar."""
        if isinstance(event, BytesMoved):
            if (task := self._tasks.get((event.model, event.version))) is not None:
                self._bars.advance(task, event.bytes)
        elif isinstance(event, VersionPlanned):
            name = printable(f"{event.model}@{event.version}")
            task = self._bars.add_task(name, total=event.fetch_bytes)
            self._tasks[event.model, event.version] = task
        elif isinstance(event, _ENDS):
            task = self._tasks.pop((event.model, event.version), None)
            if task is not None:
                self._bars.remove_task(task)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The bars that are drawn now."""
        return tuple(self._bars.tasks)

    def _above(self, line: str) -> None:
        self._console.print(Text.from_ansi(line), soft_wrap=True)
