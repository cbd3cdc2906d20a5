"""Signals: the first asks for a tidy end, the second ends the process at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from sync_daemon.domain.exits import EXIT_INTERRUPTED

_STOPPING = b"\r\nstopping; parts that are under way may take some seconds. Again: at once\r\n"
_SHOW_CURSOR = "\x1b[?25h"


class Stop(threading.Event):
    """Set when all is to end; `by` is the name of the signal that set it."""

    by: str | None = None


@contextmanager
def stoppable(stop: Stop, *, graceful: bool) -> Iterator[None]:
    """Take SIGINT and SIGTERM over inside the block.

    Gracefully the first one sets `stop`; otherwise it raises KeyboardInterrupt, for
    commands that only read. Outside of the main thread nothing is taken over.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        del frame
        if stop.is_set():
            _leave_at_once()
        stop.by = signal.Signals(number).name
        stop.set()
        if graceful and sys.stderr.isatty():
            os.write(sys.stderr.fileno(), _STOPPING)
        if not graceful:
            raise KeyboardInterrupt

    taken = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, on_signal) for number in taken}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave_at_once() -> None:
    """What is unfinished in the store is safe: the next run finds it as after kill -9."""
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), _SHOW_CURSOR.encode())
    os._exit(EXIT_INTERRUPTED)
