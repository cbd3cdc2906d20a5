"""Puts the files of a version into a directory, and takes away what an earlier pull left there.

    look at everything -> refuse, or note what will be there -> link or copy -> remove what is stale

Nothing is touched before it is known that all of it can be done. A file that is right stays;
one that an earlier pull put there is replaced; one that somebody else put there is not, unless
`force` says so. Stale files go only if nobody changed them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from sync_daemon.client import state as states
from sync_daemon.client.cache import Cache, hash_file
from sync_daemon.client.linking import give_name
from sync_daemon.client.state import Placed, State
from sync_daemon.domain.errors import Interrupted, StoreFull, StoreRefused, SyncError
from sync_daemon.domain.manifest import FileEntry
from sync_daemon.stores.local_paths import Tree, translated

SPARE = ".sync-daemon.tmp"
"""Folder of the directory for files that are not ready; gone when a pull has ended."""

_WORKERS = 4
_POLL = 0.2
_NAMED = 5
_OTHER = "is there already, with another content"
Fate = Literal["keep", "place", "refuse"]


class OutputRefused(SyncError):
    """Something lies where a file of the version belongs."""


@dataclass(frozen=True, slots=True)
class How:
    """`copy`: no links. `force`: replace foreign files. `verify`: believe no recorded time."""

    copy: bool = False
    force: bool = False
    verify: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """Numbers of files, and paths: of those that are new, of those that somebody had changed and
    that were replaced, and of stale ones that were changed and so `left`."""

    linked: int = 0
    copied: int = 0
    kept: int = 0
    removed: int = 0
    fresh: tuple[str, ...] = ()
    edited: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    @property
    def placed(self) -> int:
        """Files that were put there now."""
        return self.linked + self.copied


@dataclass(frozen=True, slots=True)
class _Seen:
    """What lies at a file's place, and so what is to be done; a reason: nothing can be."""

    entry: FileEntry
    fate: Fate
    edited: bool = False
    reason: str = ""


def check_names(root: Path, paths: Iterable[str]) -> None:
    """Refuse names that pull needs for itself in `root`. Raises OutputRefused."""
    for path in sorted(paths):
        if path.split("/", maxsplit=1)[0].startswith((states.NAME, SPARE)):
            message = f"{root}: {path}: has a name that pull keeps for itself"
            raise OutputRefused(message, hint=f"leave it out: --exclude '{path}'")


class Folder:
    """A directory to be filled from the cache."""

    def __init__(self, root: Path, cache: Cache, how: How, stop: threading.Event) -> None:
        self._root = root.absolute()
        self._cache = cache
        self._how = how
        self._stop = stop
        self._tree = Tree(self._root)

    def fill(self, entries: Sequence[FileEntry], about: dict[str, str]) -> Outcome:
        """Make the directory hold these files. Raises OutputRefused, StoreFull, StoreRefused,
        Interrupted; what was placed by then is whole."""
        check_names(self._root, (entry.path for entry in entries))
        with translated(self._root, self._root):
            try:
                self._root.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError):
                message = f"{self._root}: is no directory, or lies below a file"
                raise OutputRefused(message, hint="name another one") from None
            with self._locked(), self._spare() as spare:
                return self._fill(entries, about, spare)

    def _fill(self, entries: Sequence[FileEntry], about: dict[str, str], spare: int) -> Outcome:
        before = states.read_state(self._root)
        seen = self._look(entries, before)
        self._refuse(seen, before)
        wanted: dict[str, Placed] = {entry.path: self._record(entry) for entry in entries}
        todo = [one for one in seen if one.fate == "place"]
        if todo:
            self._check_room(todo)
        stale = {path: one for path, one in before.files.items() if path not in wanted}
        states.write_state(self._root, State(about, {**stale, **wanted}))
        self._clear_the_way(entries, stale)
        ways = self._place(todo, spare)
        removed, left = self._remove(stale)
        states.write_state(self._root, State(about, self._records(entries)))
        return Outcome(
            ways.count("linked"),
            ways.count("copied"),
            len(entries) - len(todo),
            removed,
            fresh=tuple(one.entry.path for one in todo),
            edited=tuple(one.entry.path for one in todo if one.edited),
            left=left,
        )

    # -- looking -----------------------------------------------------------------------

    def _look(self, entries: Sequence[FileEntry], before: State) -> list[_Seen]:
        with ThreadPoolExecutor(_WORKERS, "look") as pool:
            return list(pool.map(partial(self._see, before=before), entries))

    def _see(self, entry: FileEntry, before: State) -> _Seen:
        if reason := self._blocked(entry.path, before):
            return _Seen(entry, "refuse", reason=reason)
        try:
            status = (self._root / entry.path).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return _Seen(entry, "place")
        if stat.S_ISDIR(status.st_mode):
            emptied = any(path.startswith(f"{entry.path}/") for path in before.files)
            return _Seen(entry, "place" if emptied else "refuse", reason="is a folder there")
        ours = before.files.get(entry.path)
        if stat.S_ISREG(status.st_mode) and self._is_right(entry, status, ours):
            return _Seen(entry, "keep")
        if ours is None and not self._how.force:
            return _Seen(entry, "refuse", reason=_OTHER)
        return _Seen(entry, "place", edited=ours is not None and not ours.fits(status))

    def _blocked(self, path: str, before: State) -> str:
        """Say what stands in the way of the folders of `path`; links would lead elsewhere."""
        parent, _, _ = path.rpartition("/")
        while parent:
            with suppress(FileNotFoundError, NotADirectoryError):
                mode = (self._root / parent).lstat().st_mode
                if stat.S_ISLNK(mode):
                    return f"would go through the link {parent}"
                if not stat.S_ISDIR(mode) and parent not in before.files:
                    return f"needs the folder {parent}, which is a file"
            parent, _, _ = parent.rpartition("/")
        return ""

    def _is_right(self, entry: FileEntry, status: os.stat_result, ours: Placed | None) -> bool:
        blob = self._cache.path(entry.sha256).lstat()
        if (status.st_dev, status.st_ino) == (blob.st_dev, blob.st_ino):
            return not self._how.copy
        if status.st_size != entry.size:
            return False
        known = ours is not None and ours.sha256 == entry.sha256 and ours.fits(status)
        if known and not self._how.verify:
            return True
        return hash_file(self._root / entry.path, self._stop) == entry.sha256

    def _refuse(self, seen: Iterable[_Seen], before: State) -> None:
        stuck = [one for one in seen if one.fate == "refuse"]
        refused = [f"{one.entry.path}: {one.reason}" for one in stuck]
        if before.foreign and not self._how.force:
            refused.append(f"{states.NAME}: is not readable as a file of pull")
        if not refused:
            return
        more = f" and {len(refused) - _NAMED} more" if len(refused) > _NAMED else ""
        message = f"{self._root}: {'; '.join(refused[:_NAMED])}{more}"
        replaceable = all(one.reason == _OTHER for one in stuck)
        way_out = "--force to replace files" if replaceable else "move away what is in the way"
        hint = f"nothing was touched there; take another directory, or {way_out}"
        raise OutputRefused(message, hint=hint)

    def _check_room(self, todo: Iterable[_Seen]) -> None:
        """Refuse copies for which there is no room; links need none."""
        here, there = self._root.stat().st_dev, self._cache.root.stat().st_dev
        if not self._how.copy and here == there:
            return
        needed = sum(one.entry.size for one in todo)
        free = shutil.disk_usage(self._root).free
        if needed > free:
            message = f"{self._root}: {needed:,} bytes are to be copied, and {free:,} are free"
            raise StoreFull(message, hint="free some space, or put the cache onto that disk")

    # -- acting ------------------------------------------------------------------------

    def _clear_the_way(self, entries: Iterable[FileEntry], stale: dict[str, Placed]) -> None:
        """Remove stale files where a folder is to be, and stale folders where a file is."""
        folders = {
            "/".join(parts[:count])
            for entry in entries
            for parts in [entry.path.split("/")]
            for count in range(1, len(parts))
        }
        files = {entry.path for entry in entries}
        for path in list(stale):
            above = path.split("/")
            inside = any("/".join(above[:count]) in files for count in range(1, len(above)))
            if path in folders or inside:
                self._remove({path: stale.pop(path)})

    def _place(self, todo: Sequence[_Seen], spare: int) -> list[str]:
        def place(one: _Seen) -> str:
            if self._stop.is_set():
                message = f"{self._root}: stopped; the next pull completes it"
                raise Interrupted(message)
            blob = self._cache.path(one.entry.sha256)
            with self._tree.parent(one.entry.path, create=True) as (folder, name):
                with suppress(FileNotFoundError, NotADirectoryError, OSError):
                    os.rmdir(name, dir_fd=folder)
                return give_name(blob, folder, name, spare, copy=self._how.copy)

        with ThreadPoolExecutor(_WORKERS, "place") as pool:
            return list(pool.map(place, todo))

    def _remove(self, stale: dict[str, Placed]) -> tuple[int, tuple[str, ...]]:
        """Remove what nobody changed; return the number, and the paths of what stays."""
        removed, left = 0, []
        for path, placed in sorted(stale.items()):
            try:
                status = self._tree.status(path)
            except OSError:
                status = None
            if status is None:
                continue
            if placed.fits(status):
                self._tree.remove(path)
                removed += 1
            else:
                left.append(path)
        return removed, tuple(left)

    def _record(self, entry: FileEntry) -> Placed:
        status = self._cache.path(entry.sha256).lstat()
        return Placed(entry.sha256, entry.size, status.st_mtime_ns)

    def _records(self, entries: Iterable[FileEntry]) -> dict[str, Placed]:
        return {
            entry.path: Placed(
                entry.sha256, entry.size, (self._root / entry.path).lstat().st_mtime_ns
            )
            for entry in entries
        }

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Wait until no other pull works on the directory."""
        handle = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if self._stop.wait(_POLL):
                        message = f"{self._root}: stopped while another pull worked on it"
                        raise Interrupted(message) from None
                except OSError:
                    break  # a file system without locks
            yield
        finally:
            os.close(handle)

    @contextmanager
    def _spare(self) -> Iterator[int]:
        place = self._root / SPARE
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            message = f"{place}: is in the way"
            raise StoreRefused(message, hint="remove it")
        shutil.rmtree(place, ignore_errors=True)  # of a pull that was killed
        place.mkdir()
        handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            yield handle
        finally:
            os.close(handle)
            shutil.rmtree(place, ignore_errors=True)
