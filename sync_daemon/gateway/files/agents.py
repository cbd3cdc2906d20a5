"""What a client can do, by the name that it gives itself.

Sources: huggingface_hub 0.36.2, 1.0.0, 1.33.0 and 2.4.0, `file_download.py`, tried with each of
them; 1.30.0 and 1.31.0 read. Every one of them refuses a file of more than 50 * 10**9 bytes that
does not come by Xet, over http and https alike, once it knows the size: from the HEAD. Since
1.31 a HEAD may leave it out, and the file comes; before, it had to be there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LARGEST_ANNOUNCED = 50 * 1000**3
"""Bytes that huggingface_hub loads of one file when it was told the size."""

_HUB = re.compile(r"\bhf_hub/(\d{1,4})\.(\d{1,4})")
_FIRST_WITHOUT_SIZE = (1, 31)
_OURS = "sync-daemon/"


@dataclass(frozen=True, slots=True)
class Agent:
    """A client. `hub` is huggingface_hub's version, major and minor; None for all others.
    `ours`: it is `sync-daemon pull`, or a mirror of this mirror."""

    hub: tuple[int, int] | None = None
    ours: bool = False

    @property
    def drops_token(self) -> bool:
        """Tell whether it is known to drop its token on the way to another host."""
        return self.ours or self.hub is not None

    @property
    def limits_size(self) -> bool:
        """Tell whether it refuses large files that announce their size."""
        return self.hub is not None

    @property
    def needs_size(self) -> bool:
        """Tell whether it refuses files that do not announce their size."""
        return self.hub is not None and self.hub < _FIRST_WITHOUT_SIZE


def parse_agent(header: str | None) -> Agent:
    """Return what a User-Agent header tells of a client."""
    text = header or ""
    match = _HUB.search(text)
    hub = (int(match[1]), int(match[2])) if match else None
    return Agent(hub, ours=text.startswith(_OURS))
