"""Data for standard output: JSON objects, aligned tables, numbers as people read them.

rich draws for terminals, and is loaded for them alone: a pipe gets plain columns.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TextIO

from sync_daemon.domain.errors import SyncError
from sync_daemon.observers.lines import printable, printable_json
from sync_daemon.observers.mask import Mask

if TYPE_CHECKING:
    from rich.console import Console

Column = tuple[str, Literal["left", "right"]]

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
    """Writes to `stream`, with secrets hidden. When its reader has gone, the rest is dropped.

    Raises SyncError where it cannot be written, a full disk for instance.
    """

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
        from rich.text import Text  # noqa: PLC0415 - for terminals alone

        console = self._console()
        with console.capture() as taken:
            console.print(Text(printable(text), style=style), soft_wrap=True)
        self.text(taken.get().rstrip("\n"))

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
        """Write rows below their headings, in columns; those to a pipe are never wrapped, so that
        grep and awk can read them."""
        cells = [[printable(cell) for cell in row] for row in rows]
        lines = self._draw(columns, cells) if self.terminal else _align(columns, cells)
        for line in lines:
            self.text(line.rstrip())

    def _draw(self, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Sequence[str]:
        from rich import box  # noqa: PLC0415 - for terminals alone
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 2, 0, 0))
        for title, justify in columns:
            table.add_column(title, justify=justify, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
        console = self._console()
        with console.capture() as taken:
            console.print(table)
        return taken.get().splitlines()

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
        except OSError as error:
            self._open = False
            _silence(self._stream)
            if isinstance(error, BrokenPipeError):
                return
            message = f"standard output cannot be written: {error.strerror}"
            raise SyncError(message, hint="what was done before stays done") from error

    def _console(self) -> Console:
        from rich.console import Console  # noqa: PLC0415 - for terminals alone

        width = shutil.get_terminal_size().columns
        return Console(file=self._stream, width=width, markup=False, highlight=False, emoji=False)


def _align(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield headings and rows in columns that are as wide as they must be, two blanks apart."""
    table = [[title for title, _ in columns], *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        yield "  ".join(
            cell.rjust(width) if justify == "right" else cell.ljust(width)
            for cell, width, (_, justify) in zip(row, widths, columns, strict=True)
        )


def _silence(stream: TextIO) -> None:
    """Keep the interpreter from complaining of the broken pipe once more when it ends."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, number)
    os.close(nothing)
