"""The log file: one line a write, set aside when it is full, and never a reason to stop.

    sync.log -> sync.log.1 -> sync.log.2 -> ... -> gone

Several processes may write to one file (the daemon, and a run-once beside it). Lines are
appended whole, so they do not mix; only rotation needs care: who holds the file's lock does
it, the others go on writing and notice, by the inode, that there is a new file. So they do
when somebody else (logrotate) renames it.
"""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sync_daemon.domain.errors import ConfigurationError
from sync_daemon.observers.mask import Mask

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
_RIGHTS = 0o640


@dataclass(frozen=True, slots=True)
class Place:
    """Where the lines go: a new file after `size` bytes; `keep` old ones are kept."""

    path: Path
    size: int
    keep: int

    def old(self, number: int) -> Path:
        """Return the name of the `number`-th file back."""
        return self.path.with_name(f"{self.path.name}.{number}")


class LogFile:
    """An open log file; `mask` hides secrets. `complain` is told of the first failure only.

    Raises ConfigurationError when the file cannot be opened.
    """

    terminal = False

    def __init__(self, place: Place, mask: Mask, complain: Callable[[str], None]) -> None:
        self.place = place
        self.mask = mask
        self._complain = complain
        self._lock = threading.RLock()  # a complaint may come back here as a line
        self._told = self._closed = self._torn = False
        try:
            self._file: int | None = _open(place.path)
        except OSError as error:
            message = f"log.file: {place.path} cannot be opened: {error.strerror}"
            hint = "its folder must exist, and this user must be allowed to write there"
            raise ConfigurationError(message, hint=hint) from error

    def write(self, text: str, priority: int = 0) -> None:
        """Append one line. What cannot be written is lost, and told once."""
        del priority
        data = self.mask.text(text).encode("utf-8", "backslashreplace") + b"\n"
        with self._lock:
            if self._closed:
                return
            try:
                self._append(data)
            except OSError as error:
                self._tell(f"{self.place.path} cannot be written: {error.strerror}")

    def close(self) -> None:
        """Write nothing more."""
        with self._lock:
            self._closed = True
            self._let_go()

    def _append(self, data: bytes) -> None:
        file = self._current()
        size = os.fstat(file).st_size
        if size and size + len(data) > self.place.size:
            file = self._turn_over(file)
        if self._torn:
            data = b"\n" + data  # what the last, failed write left of its line ends here
        wrote = os.write(file, data)
        self._torn = wrote < len(data)
        if self._torn:
            os.write(file, data[wrote:])  # tells by its error why
            self._torn = False

    def _current(self) -> int:
        """Return the open file, anew when another one has its name by now."""
        if self._file is not None and _is_at(self._file, self.place.path):
            return self._file
        self._let_go()
        self._file = _open(self.place.path)
        return self._file

    def _turn_over(self, file: int) -> int:
        """Set the full file aside; where that fails, it just grows."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # another process is at it
            return file
        if not _is_at(file, self.place.path):
            return self._current()
        try:
            for number in range(self.place.keep - 1, 0, -1):
                with suppress(FileNotFoundError):
                    self.place.old(number).replace(self.place.old(number + 1))
            self.place.path.replace(self.place.old(1))
        except OSError as error:
            self._tell(f"{self.place.path} is full and cannot be renamed: {error.strerror}")
            fcntl.flock(file, fcntl.LOCK_UN)
            return file
        return self._current()

    def _let_go(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # a network's file system may tell of the disk only now
                os.close(file)

    def _tell(self, message: str) -> None:
        if not self._told:
            self._told = True
            self._complain(message)


def _open(path: Path) -> int:
    file = os.open(path, _FLAGS, _RIGHTS)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(0, "it is no regular file")
    return file


def _is_at(file: int, path: Path) -> bool:
    try:
        named = path.stat()
    except OSError:
        return False
    here = os.fstat(file)
    return (here.st_dev, here.st_ino) == (named.st_dev, named.st_ino)
