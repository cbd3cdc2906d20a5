"""Lines on standard error: whole, one at a time, and above the progress bars if there are any.

Where they are read by systemd's journal, each carries its priority.
"""

from __future__ import annotations

import json
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from sync_daemon.observers.journald import INFO, marked
from sync_daemon.observers.mask import Mask


class Lines:
    """Writes lines to `stream`, from any thread, with secrets hidden by `mask`.

    `journal`: systemd reads them, and priorities (of syslog, 0 to 7) are put before them.
    """

    def __init__(self, stream: TextIO, *, journal: bool = False) -> None:
        self.stream = stream
        self._journal = journal
        self.mask = Mask()
        self._lock = threading.RLock()
        self._detour: Callable[[str], None] | None = None

    @property
    def terminal(self) -> bool:
        """Tell whether a person is looking."""
        return self.stream.isatty()

    def write(self, line: str, priority: int = INFO) -> None:
        """Write one line. A reader that has gone away is no reason to stop."""
        text = self.mask.text(line)
        if self._journal:
            text = marked(text, priority)
        with self._lock:
            if self._detour is not None:
                self._detour(text)
                return
            try:
                self.stream.write(f"{text}\n")
                self.stream.flush()
            except (OSError, ValueError):  # ValueError: the stream is closed
                return

    @contextmanager
    def through(self, detour: Callable[[str], None]) -> Iterator[None]:
        """Hand the lines to `detour` inside the block: whoever draws bars writes above them."""
        with self._lock:
            self._detour = detour
        try:
            yield
        finally:
            with self._lock:
                self._detour = None


def printable(text: str) -> str:
    """Return `text` with control characters written out: a file name or an upstream's
    licence must not be able to drive the terminal. Line breaks are kept out too."""
    if text.isprintable():
        return text
    return "".join(_visible(char) for char in text)


def printable_json(text: str) -> str:
    """Return JSON text with what could drive a terminal as `\\uXXXX`: the same document."""
    lines = text.split("\n")
    return "\n".join(line if line.isprintable() else _escape(line) for line in lines)


def _escape(line: str) -> str:
    return "".join(char if _visible(char) == char else json.dumps(char)[1:-1] for char in line)


def _visible(char: str) -> str:
    if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}:
        return char.encode("unicode_escape", "surrogatepass").decode()
    return char
