"""Progress bars on a terminal: bytes, rate and time left, a bar for each version at work,
and above them one for a run of several versions.

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
    Progress as Bars,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from sync_daemon.domain.events import (
    BytesMoved,
    Event,
    RunStarted,
    VersionFailed,
    VersionPassed,
    VersionPlanned,
    VersionPublished,
    VersionRefused,
    VersionUnchanged,
)
from sync_daemon.observers.lines import Lines, printable

_ENDS = (VersionPublished, VersionFailed, VersionPassed, VersionRefused, VersionUnchanged)


class _Overall:
    """The bar of a run: bytes of the versions planned so far, and how many are done."""

    def __init__(self, bars: Bars, versions: int) -> None:
        self._bars = bars
        self._versions, self._done, self._bytes = versions, 0, 0
        self._task = bars.add_task(self._title(), total=0)

    def plan(self, size: int) -> None:
        """Expect `size` bytes more, or fewer: what another version moved comes off again."""
        self._bytes += size
        self._bars.update(self._task, total=self._bytes)

    def advance(self, count: int) -> None:
        """Count bytes that arrived."""
        self._bars.advance(self._task, count)

    def end_one(self) -> None:
        """Count a version that ended, however it did."""
        self._done += 1
        self._bars.update(self._task, description=self._title())

    def _title(self) -> str:
        return f"{self._done} of {self._versions} versions"


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
        self._overall: _Overall | None = None
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
            self._advance((event.model, event.version), event.bytes)
        elif isinstance(event, VersionPlanned):
            self._begin(event)
        elif isinstance(event, _ENDS):
            self._end((event.model, event.version))
        elif isinstance(event, RunStarted) and event.versions > 1:
            self._overall = _Overall(self._bars, event.versions)

    def _begin(self, event: VersionPlanned) -> None:
        name = printable(f"{event.model}@{event.version}")
        task = self._bars.add_task(name, total=event.fetch_bytes)
        self._tasks[event.model, event.version] = task
        if self._overall is not None:
            self._overall.plan(event.fetch_bytes)

    def _advance(self, version: tuple[str, str], count: int) -> None:
        if (task := self._tasks.get(version)) is None:
            return
        self._bars.advance(task, count)
        if self._overall is not None:
            self._overall.advance(count)

    def _end(self, version: tuple[str, str]) -> None:
        task = self._tasks.pop(version, None)
        if self._overall is not None:
            self._overall.end_one()
        if task is None:
            return
        bar = next(one for one in self._bars.tasks if one.id == task)
        if self._overall is not None:
            self._overall.plan(int(bar.completed - (bar.total or 0)))
        self._bars.remove_task(task)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The bars that are drawn now."""
        return tuple(self._bars.tasks)

    def _above(self, line: str) -> None:
        self._console.print(Text.from_ansi(line), soft_wrap=True)
