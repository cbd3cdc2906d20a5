"""Real time, and the stop event that ends every wait."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime


class SystemClock:
    """The machine's clocks."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def monotonic(self) -> float:
        """Return seconds that only grow."""
        return time.monotonic()

    def now(self) -> datetime:
        """Return the time of day in UTC."""
        return datetime.now(UTC)

    def wait(self, seconds: float) -> bool:
        """Wait, but not after the stop event is set; return whether it is set."""
        return self._stop.wait(seconds)
