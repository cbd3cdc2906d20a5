"""SIGHUP: the wish that a long-running verb reads its configuration again."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from sync_daemon.daemon.service import Hangup


@contextmanager
def catching_hangup() -> Iterator[Hangup]:
    """Give what SIGHUP sets inside the block."""
    hangup = Hangup()

    def on_signal(number: int, frame: FrameType | None) -> None:
        del number, frame
        hangup.came = True

    if threading.current_thread() is not threading.main_thread():
        yield hangup
        return
    before = signal.signal(signal.SIGHUP, on_signal)
    try:
        yield hangup
    finally:
        signal.signal(signal.SIGHUP, before)
