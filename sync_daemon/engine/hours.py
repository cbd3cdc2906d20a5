"""When large files may move: the off-peak window, as the transfer sees it.

Outside of it large files are put off, not waited for: those under way stop at a part
boundary, with their journal, and their version is reported as skipped. So no lock and no
run lasts until the evening, and whatever is small goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sync_daemon.domain.errors import Deferred


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Hours:
    """Whether large files may move now. Files of at most `small` bytes always may."""

    is_open: Callable[[], bool] = _always
    small: int = 0
    name: str = ""

    def hold_back(self, size: int) -> bool:
        """Tell whether a file of so many bytes must wait."""
        return size > self.small and not self.is_open()

    def put_off(self, what: object) -> Deferred:
        """Return the error of a file that must wait."""
        message = f"{what}: outside the window {self.name}"
        return Deferred(message, hint="it moves in the next window, or by `run-once`")
