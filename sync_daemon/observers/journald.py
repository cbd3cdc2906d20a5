"""Priorities of log lines, for systemd's journal: `<4>` before a line that is a warning.

systemd says in $JOURNAL_STREAM which file, by device and inode, leads to the journal. Only
where standard error is that very file are lines marked (systemd.exec(5), sd-daemon(3)); a
pipe or a file that a unit's child was given instead gets plain lines.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import TextIO

from sync_daemon.domain.events import AlertTold, Event, Level

INFO = 6
PRIORITIES: Mapping[Level, int] = MappingProxyType(
    {"debug": 7, "info": INFO, "warning": 4, "error": 3}
)
_RESOLVED, _CRITICAL = 5, 2


def priority_of(event: Event) -> int:
    """Return the syslog priority of an event: its level's, of alerts that of their severity."""
    if not isinstance(event, AlertTold):
        return PRIORITIES[event.level]
    if event.state != "firing":
        return _RESOLVED
    return _CRITICAL if event.severity == "critical" else PRIORITIES["warning"]


def leads_to_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Tell whether what is written to `stream` is read by systemd's journal."""
    named = environ.get("JOURNAL_STREAM")
    if not named:
        return False
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):  # ValueError: closed, or no file at all
        return False
    return named == f"{found.st_dev}:{found.st_ino}"


def marked(text: str, priority: int) -> str:
    """Return `text` with the priority before each of its lines."""
    return "\n".join(f"<{priority}>{line}" for line in text.split("\n"))
