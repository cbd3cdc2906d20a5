"""Data for standard output: JSON objects, aligned tables, numbers as people read them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sync_daemon.observers.lines import printable, printable_json
from sync_daemon.observers.mask import Mask

Column = tuple[str, Literal["left", "right"]]

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")
_WIDE = 10_000
"""Columns of a table that goes to a pipe: never wrapped, so that grep and awk can read it."""

STYLES: Mapping[str, str] = {
    "published": "green",
    "ok": "green",
    "failed": "red",
    "fail": "red",
    "damaged": "red",
    "refused": "yellow",
    "partial": "yellow",
    "warn": "yellow",
    "missing": "yellow",
    "interrupted": "yellow",
    "held": "cyan",
}


class Output:
    """Writes to `stream`, with secrets hidden. When its reader has gone, the rest is dropped."""

    def __init__(self, stream: TextIO) -> None:
        self.mask = Mask()
        self._stream = stream
        self._open = True

    @property
    def terminal(self) -> bool:
        """Tell whether a person is looking."""
        return self._stream.isatty()

    def json(self, document: Mapping[str, Any]) -> None:
        """Write one JSON object."""
        unicode = self._encoding.startswith("utf")
        masked = self.mask.value(document)
        text = json.dumps(masked, ensure_ascii=not unicode, indent=2)
        self._write(printable_json(text))  # masked above: a secret may look like syntax

    def line(self, text: str = "", style: str = "") -> None:
        """Write one line; control characters in it are shown, not obeyed."""
        if not (style and self.terminal):
            self.text(printable(text).rstrip())
            return
        console = self._console()
        with console.capture() as taken:
            console.print(Text(printable(text), style=style), soft_wrap=True)
        self.text(taken.get().rstrip("\n"))

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
        """Write rows below their headings, in columns."""
        frame = box.SIMPLE_HEAD if self.terminal else None
        table = Table(box=frame, show_edge=False, padding=(0, 2, 0, 0))
        for title, justify in columns:
            table.add_column(title, justify=justify, overflow="fold", no_wrap=not self.terminal)
        for row in rows:
            table.add_row(*(Text(printable(cell), style=STYLES.get(cell, "")) for cell in row))
        console = self._console()
        with console.capture() as taken:
            console.print(table)
        for line in taken.get().splitlines():
            self.text(line.rstrip())

    def text(self, text: str) -> None:
        """Write text as it is, and a line break."""
        self._write(self.mask.text(text))

    @property
    def _encoding(self) -> str:
        return (getattr(self._stream, "encoding", None) or "utf-8").lower()

    def _write(self, text: str) -> None:
        if not self._open:
            return
        # What the terminal's encoding lacks is written as an escape.
        known = text.encode(self._encoding, "backslashreplace").decode(self._encoding)
        try:
            self._stream.write(f"{known}\n")
            self._stream.flush()
        except BrokenPipeError:
            self._open = False
            _silence(self._stream)

    def _console(self) -> Console:
        width = shutil.get_terminal_size().columns if self.terminal else _WIDE
        return Console(file=self._stream, width=width, markup=False, highlight=False, emoji=False)


def _silence(stream: TextIO) -> None:
    """Keep the interpreter from complaining of the broken pipe once more when it ends."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, number)
    os.close(nothing)


def human_size(size: int) -> str:
    """Return bytes in the largest unit that leaves at least one: `1.5 GiB`."""
    if size < 1024:  # noqa: PLR2004 - the unit itself
        return f"{size} B"
    value, units = size / 1024, list(_UNITS)
    while value >= 1000 and len(units) > 1:  # noqa: PLR2004 - four digits read badly
        value /= 1024
        units.pop(0)
    digits = 0 if value >= 100 else 1  # noqa: PLR2004
    return f"{value:.{digits}f} {units[0]}"


def exact_size(size: int) -> str:
    """Return bytes in human units and exactly: `1.5 GiB (1,610,612,736 bytes)`."""
    return f"{human_size(size)} ({size:,} bytes)" if size >= 1024 else human_size(size)  # noqa: PLR2004


def human_age(moment: datetime, now: datetime) -> str:
    """Return how long ago something was: `3 h ago`."""
    seconds = max(0, int((now - moment).total_seconds()))
    for limit, unit, length in ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds // length} {unit} ago"
    return f"{seconds // 86_400} d ago"


def plural(count: int, noun: str) -> str:
    """Return a number and its noun: `1 file`, `2 files`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
