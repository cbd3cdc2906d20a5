"""Waiting for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 30.0
"""Seconds that anything may take on a busy machine."""


def wait_until(
    what: Callable[[], object], why: Callable[[], str] = str, seconds: float = PATIENCE
) -> None:
    """Wait until something is so; fail with `why` where it never comes that far."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"it never came that far: {why()}"
        time.sleep(0.02)
