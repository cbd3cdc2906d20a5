"""Files that are not objects yet: one folder for each writing process, swept after its death.

A process holds a shared lock on a file in its own folder. Whoever writes for the first
time removes the folders of this host whose process is gone (another boot, no such
process, or its number given to a later one) and whose lock is free; the lock protects
a living process whose number is not visible from here (containers).
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sync_daemon.stores.local_paths import TEMP, Tree

UPLOADS = "uploads"
UPLOAD_LIFE = 30 * 24 * 3600
"""Seconds without a new part after which an upload counts as forgotten."""

_LOCK = "lock"
_OWNER = re.compile(r"(?P<host>[^-]+)-(?P<boot>[0-9a-f]+)-(?P<pid>\d+)-(?P<started>\d+)")


class Workshop:
    """The folder of this process below `<root>/.tmp/`, made and swept at first use."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._starting = threading.Lock()
        self._pid: int | None = None
        self._name = ""
        self._held: int | None = None

    @contextmanager
    def file(self) -> Iterator[tuple[int, str, int]]:
        """Make an empty file; give its folder, its name and itself. It is gone at the end."""
        self._start()
        with self._tree.folder(TEMP, self._name, create=True) as here:
            name = uuid.uuid4().hex
            handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=here)
            try:
                yield here, name, handle
            finally:
                os.close(handle)
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=here)

    @contextmanager
    def lock(self, *, exclusive: bool) -> Iterator[None]:
        """Keep compare-and-replace apart from other writers, of any process."""
        with self._tree.folder(TEMP, create=True) as here:
            handle = os.open(_LOCK, os.O_RDWR | os.O_CREAT, 0o666, dir_fd=here)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
                yield
            finally:
                os.close(handle)

    def name(self) -> str:
        """Return the name of this process's folder, made if need be."""
        self._start()
        return self._name

    def close(self) -> None:
        """Give this process's folder up; the next write takes it again."""
        with self._starting:
            if self._held is None or self._pid != os.getpid():
                return
            os.close(self._held)
            self._pid = self._held = None
            with suppress(OSError), self._tree.folder(TEMP) as here:
                # Another store of this process may use the folder: it is kept then.
                if _is_unlocked(here, self._name):
                    os.unlink(f"{self._name}/{_LOCK}", dir_fd=here)
                    os.rmdir(self._name, dir_fd=here)

    def _start(self) -> None:
        """Take a folder for this process; after a fork the child takes its own."""
        with self._starting:
            if self._pid == os.getpid():
                return
            self._name = _name_of(os.getpid())
            with self._tree.folder(TEMP, self._name, create=True) as here:
                self._held = os.open(_LOCK, os.O_RDWR | os.O_CREAT, 0o666, dir_fd=here)
                fcntl.flock(self._held, fcntl.LOCK_SH)
            self._pid = os.getpid()
            with self._tree.folder(TEMP) as here:
                _sweep_processes(here)
            with suppress(FileNotFoundError), self._tree.folder(TEMP, UPLOADS) as here:
                _sweep_uploads(here)


def seal(handle: int, *, lazy: bool = False) -> os.stat_result:
    """Make a finished file durable, unless `lazy`, and read-only; stamp it to the nanosecond."""
    now = time.time_ns()
    os.utime(handle, ns=(now, now))
    status = os.fstat(handle)
    os.fchmod(handle, status.st_mode & 0o444)
    if not lazy:
        os.fsync(handle)
    return os.fstat(handle)


def is_of_this_boot(owner: str) -> bool:
    """Tell whether a process of this name ran since the system was started."""
    match = _OWNER.fullmatch(owner)
    return match is not None and match["boot"] == _boot()


def _name_of(pid: int) -> str:
    return f"{_host()}-{_boot()}-{pid}-{_started(pid)}"


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())[:64] or "host"


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")


def _started(pid: int) -> str | None:
    """Return the start time of a process in ticks since boot (proc(5), field 22), or None."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()[19]


def has_ended(here: int, name: str) -> bool:
    """Tell whether the process whose folder in `here` has this name is gone for sure."""
    return _is_dead(name) and _is_unlocked(here, name)


def _sweep_processes(here: int) -> None:
    for name in os.listdir(here):
        if has_ended(here, name):
            shutil.rmtree(name, ignore_errors=True, dir_fd=here)


def _is_dead(name: str) -> bool:
    match = _OWNER.fullmatch(name)
    if match is None or match["host"] != _host():
        return False
    return match["boot"] != _boot() or _started(int(match["pid"])) != match["started"]


def _is_unlocked(here: int, name: str) -> bool:
    try:
        handle = os.open(f"{name}/{_LOCK}", os.O_RDWR | os.O_NOFOLLOW, dir_fd=here)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _sweep_uploads(here: int) -> None:
    for name in os.listdir(here):
        with suppress(FileNotFoundError):
            status = os.stat(name, dir_fd=here, follow_symlinks=False)
            if time.time() - status.st_mtime > UPLOAD_LIFE:
                shutil.rmtree(name, ignore_errors=True, dir_fd=here)
