"""When large files may move: the off-peak window, as the transfer sees it.

Outside of it large files are put off, not waited for: those under way stop at a part
boundary, with their journal, and their version is reported as skipped. So no lock and no
run lasts until the evening, and whatever is small goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Hours:
    """Whether large files may move now. Files of at most `small` bytes always may."""

    is_open: Callable[[], bool] = _always
    small: int = 0
    name: str = ""

    def why_not(self, size: int) -> str | None:
        """Return why a file of so many bytes must wait, or None if it need not."""
        if size <= self.small or self.is_open():
            return None
        return f"outside the window {self.name}"
