"""What systemd is told, by datagrams to $NOTIFY_SOCKET (sd_notify(3)); nothing without it.

A socket name that begins with `@` lies in the abstract namespace. The watchdog is to be
fed at half of $WATCHDOG_USEC, if $WATCHDOG_PID is this process or not set
(sd_watchdog_enabled(3)).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

_MICROSECONDS = 1_000_000


class Notifier:
    """Tells systemd how the daemon is. `watchdog` is the time between two feedings, in seconds."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._status = ""
        self.watchdog = _watchdog(environ) if self._address else None

    def ready(self) -> None:
        """Say that the start, or a reload, is over."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Say that the configuration is read again; `ready` must follow."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self) -> None:
        """Say that the daemon ends."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Say in words what is going on, if that is news."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={' '.join(text.split())}")

    def feed(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        with (
            suppress(OSError),  # whoever listens may be gone: that is no reason to stop
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel,
        ):
            channel.settimeout(1.0)
            channel.sendto("\n".join(lines).encode(), self._address)


def _address(name: str) -> str:
    if name.startswith("@"):
        return f"\0{name[1:]}"
    return name if name.startswith("/") else ""


def _watchdog(environ: Mapping[str, str]) -> float | None:
    period, process = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not period.isdecimal() or not int(period) or process not in {"", str(os.getpid())}:
        return None
    return int(period) / _MICROSECONDS / 2
