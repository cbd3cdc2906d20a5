"""Which process owns a lock or a journal, and whether it is still there."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from sync_daemon.domain.digests import Digest


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, unmistakably: no other one on any host has the same four values."""

    host: str
    boot: str
    pid: int
    start: int

    def __str__(self) -> str:
        return f"{self.host} (process {self.pid})"

    @property
    def digest(self) -> Digest:
        """A name for this process that is safe in a key."""
        return Digest.of(f"{self.host}\n{self.boot}\n{self.pid}\n{self.start}".encode())


def this_process() -> Owner:
    """Return the owner that this process is. The host includes the PID namespace, since
    containers may share a host name while their process numbers mean different things."""
    machine = _read("/etc/machine-id")[:12]
    namespace = str(Path("/proc/self/ns/pid").readlink()).strip("pid:[]")
    boot = _read("/proc/sys/kernel/random/boot_id")
    pid = os.getpid()
    host = f"{socket.gethostname()}/{machine}/{namespace}"
    return Owner(host, boot, pid, _start_of(pid) or 0)


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _start_of(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None when /proc hides it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])


def is_gone(owner: Owner, here: Owner) -> bool:
    """Tell whether `owner` was a process of this very host and has ended.

    A process that exists but is hidden from us (another user's, under ProtectProc) counts
    as alive: its lock expires by itself if it is another one with a reused number.
    """
    if owner.host != here.host:
        return False
    if owner.boot != here.boot:
        return "//" not in here.host  # without a machine id, a namesake is another machine
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return _start_of(owner.pid) not in {None, owner.start}
