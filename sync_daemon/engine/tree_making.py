"""Makes one tree of plain copies whole, under its version's lock, and says so in the pointer.

A folder that is about to change is first said not to be whole. After an interruption what lies
there already is used again, as far as it is certain whose content it is: always in the folder
of a commit, and in a plain one when the manifest that it was made from has the same file, or
when it was written after the version's pointer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from sync_daemon import meter
from sync_daemon.domain import keys
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.errors import (
    Interrupted,
    LockLost,
    StoreFull,
    StoreRefused,
    SyncError,
    Unavailable,
)
from sync_daemon.domain.events import TreePublished, VersionWarning
from sync_daemon.domain.manifest import Current, Manifest, Tree
from sync_daemon.domain.names import RepoPath
from sync_daemon.domain.trees import (
    TreeFile,
    TreePlan,
    find_folder,
    find_problems,
    is_whole,
    plan_tree,
)
from sync_daemon.domain.wanted import Wanted
from sync_daemon.engine.locks import SILENCE, Lock
from sync_daemon.engine.publish import Pointer
from sync_daemon.engine.tools import COPIES, Tools
from sync_daemon.ports import ObjectInfo

T = TypeVar("T")
R = TypeVar("R")

_FINAL = (Unavailable, Interrupted, LockLost, StoreFull)
"""Errors of one file after which the others are not tried."""


@dataclass(frozen=True, slots=True)
class Made:
    """What made a folder whole. `stored` is in bytes."""

    plan: TreePlan
    stored: int
    warnings: tuple[str, ...]


class Making:
    """The making of one tree, under its version's lock."""

    def __init__(self, wanted: Wanted, tools: Tools, lock: Lock) -> None:
        self._wanted, self._tools, self._lock, self._folder = wanted, tools, lock, ""
        self._store, self._ended = tools.vault.store, threading.Event()
        self._began = tools.clock.monotonic()

    def run(self, fresh: tuple[Pointer, Manifest] | None) -> Made:
        """Make the folder whole and say so in the pointer.

        A pointer that was not written a moment ago is read again: its date is needed.
        """
        pointer, etag, since = (*fresh[0], None) if fresh else self._read()
        self._folder = find_folder(self._wanted, pointer.commit, pin=pointer.pin)
        manifest = fresh[1] if fresh else self._manifest(pointer)
        files = files_of(manifest)
        self._check(files)
        found = list_folder(self._folder, self._tools)
        base = find_base(self._wanted, pointer, self._folder, manifest, self._tools)
        plan = plan_tree(
            self._folder,
            files,
            {key: info.size for key, info in found.items()},
            trust(pin=pointer.pin, base=base, found=found, folder=self._folder, since=since),
            shares=self._store.traits.shares,
        )
        loose = self._find_loose(plan.kept, found)
        tree = pointer.tree
        if not plan.idle and tree is not None and tree.whole and tree.key == self._folder:
            pointer, etag = self._say(replace(pointer, tree=replace(tree, whole=False)), etag)
        self._remove(plan.removes)
        stored = self._copy(plan.copies)
        self._tie(loose)
        if not is_whole(pointer, self._folder):
            self._say(replace(pointer, tree=Tree(self._folder, pointer.manifest)), etag)
        if not plan.idle or tree != Tree(self._folder, pointer.manifest):
            self._tell(pointer, plan, stored)
        return Made(plan, stored, self._warn(stored))

    def _read(self) -> tuple[Current, str, datetime]:
        found = self._tools.vault.dated(self._wanted.model, self._wanted.version)
        if found is None:
            message = f"{self._wanted}: its current.json is gone"
            raise StoreRefused(message, hint="run again")
        return found

    def _manifest(self, pointer: Current) -> Manifest:
        wanted = self._wanted
        try:
            return self._tools.vault.manifest(wanted.model, wanted.version, pointer.manifest)
        except FileNotFoundError as error:
            message = f"its manifest {pointer.manifest} is gone from the store"
            raise StoreRefused(message, hint="`sync-daemon run-once --full` mends it") from error

    def _check(self, files: tuple[TreeFile, ...]) -> None:
        room = self._store.traits.key_bytes
        if problems := find_problems(self._folder, (file.path for file in files), room):
            raise StoreRefused("; ".join(problems))

    def _say(self, pointer: Current, etag: str) -> tuple[Current, str]:
        """Write the pointer, if it still is the one that was read."""
        wanted, tools = self._wanted, self._tools
        tools.locks.check(self._lock)
        return pointer, tools.vault.publish_current(wanted.model, wanted.version, pointer, etag)

    def _remove(self, removes: tuple[str, ...]) -> None:
        """Remove before copying: what was a file may become a folder."""

        def remove(key: str) -> None:
            self._check_owner()
            self._tools.retry(f"delete {key}", lambda: self._store.delete(key))

        self._each(removes, remove)

    def _copy(self, files: tuple[TreeFile, ...]) -> int:
        largest_first = sorted(files, key=lambda file: -file.size)
        return sum(self._each(tuple(largest_first), self._share))

    def _share(self, file: TreeFile) -> int:
        self._check_owner()
        digest, target = file.digest, self._folder + file.path
        if digest is None:
            message = f"{file.path}: its digest is not known"
            raise StoreRefused(message)
        source = keys.blob(digest)
        try:
            return self._tools.retry(
                f"copy {target}",
                lambda: self._store.share(source, target, file.size, self._is_stopped),
            )
        except FileNotFoundError as error:
            message = f"{file.path}: its blob {source} is gone from the store"
            raise StoreRefused(message, hint="`sync-daemon run-once --full` mends it") from error

    def _find_loose(
        self, kept: tuple[TreeFile, ...], found: Mapping[str, ObjectInfo]
    ) -> tuple[TreeFile, ...]:
        """Return files that are not the blob itself, in a store where they could be: the blob
        was replaced since, or the file system cannot link. Smallest first."""
        if not self._store.traits.shares:
            return ()
        loose = []
        for file in kept:
            blob = self._store.stat(keys.blob(file.digest)) if file.digest else None
            if blob is not None and blob.etag != found[self._folder + file.path].etag:
                loose.append(file)
        return tuple(sorted(loose, key=lambda file: file.size))

    def _tie(self, loose: tuple[TreeFile, ...]) -> None:
        """Make them the blob itself, until the first one shows that this cannot be."""
        for file in loose:
            if self._share(file) > 0:
                return

    def _check_owner(self) -> None:
        """Raise unless the version is still ours to write, and nobody asked to stop."""
        if self._is_stopped():
            message = f"{self._folder}: stopped; the next run goes on with it"
            raise Interrupted(message)
        lock, clock = self._lock, self._tools.clock
        if lock.lost is not None or clock.monotonic() - lock.refreshed > SILENCE / 2:
            self._tools.locks.check(lock)

    def _is_stopped(self) -> bool:
        return self._tools.clock.wait(0)

    def _each(self, items: tuple[T, ...], work: Callable[[T], R]) -> tuple[R, ...]:
        """Do `work` on all, several at a time. One error does not stop the others, unless they
        would meet it as well. Raises one that stands for all."""
        spent, errors = meter.active(), list[SyncError]()

        def attempt(item: T) -> R | None:
            if self._ended.is_set():
                return None
            with self._tools.copying, meter.use(spent):
                try:
                    return work(item)
                except SyncError as error:
                    errors.append(error)
                    if isinstance(error, _FINAL):
                        self._ended.set()
                    return None

        with ThreadPoolExecutor(COPIES, thread_name_prefix="tree") as pool:
            done = tuple(pool.map(attempt, items))
        if errors:
            raise _summary(errors, len(items))
        return tuple(one for one in done if one is not None)

    def _tell(self, pointer: Current, plan: TreePlan, stored: int) -> None:
        self._tools.emit(
            TreePublished(
                model=self._wanted.model,
                version=self._wanted.version,
                commit=pointer.commit,
                key=self._folder,
                files=len(plan.copies) + len(plan.kept),
                copied=len(plan.copies),
                removed=len(plan.removes),
                copied_bytes=stored,
                seconds=round(self._tools.clock.monotonic() - self._began, 3),
            )
        )

    def _warn(self, stored: int) -> tuple[str, ...]:
        if not (stored and self._store.traits.shares):
            return ()
        message = (
            f"the file system cannot link: {stored:,} bytes of {self._folder} are copies, and"
            " take their room again"
        )
        wanted = self._wanted
        warning = VersionWarning(model=wanted.model, version=wanted.version, message=message)
        self._tools.emit(warning)
        return (message,)


def files_of(manifest: Manifest) -> tuple[TreeFile, ...]:
    return tuple(TreeFile(entry.path, entry.size, entry.sha256) for entry in manifest.files)


def list_folder(folder: str, tools: Tools) -> dict[str, ObjectInfo]:
    store = tools.vault.store
    return tools.retry(f"list {folder}", lambda: {info.key: info for info in store.list(folder)})


def find_base(
    wanted: Wanted, pointer: Current, folder: str, manifest: Manifest, tools: Tools
) -> Mapping[RepoPath, Digest]:
    """Return the files that the folder was last made of, as far as that is known."""
    tree = pointer.tree
    if tree is None or tree.key != folder:
        return {}
    if tree.manifest != pointer.manifest:
        if not pointer.pin:
            return {}  # a commit's folder is trusted without it
        try:
            manifest = tools.vault.manifest(wanted.model, wanted.version, tree.manifest)
        except (FileNotFoundError, StoreRefused):
            return {}
    return {entry.path: entry.sha256 for entry in manifest.files}


def trust(
    *,
    pin: bool,
    base: Mapping[RepoPath, Digest] | None = None,
    found: Mapping[str, ObjectInfo] | None = None,
    folder: str = "",
    since: datetime | None = None,
) -> Callable[[TreeFile], bool]:
    """Return what tells of a file of the right size whether its content is right.

    One of the same commit is; so is one that the folder's last manifest has as well, and one
    that was written in a later second than the pointer (which HEAD and GET tell to the second).
    """

    def trusted(file: TreeFile) -> bool:
        known = (base or {}).get(file.path)
        if not pin or (known is not None and known == file.digest):
            return True
        info = (found or {}).get(folder + file.path)
        return info is not None and since is not None and info.modified >= _next_second(since)

    return trusted


def _next_second(time: datetime) -> datetime:
    return datetime.fromtimestamp(int(time.timestamp()) + 1, time.tzinfo)


def _summary(errors: list[SyncError], asked: int) -> SyncError:
    first = next((one for one in errors if isinstance(one, _FINAL)), errors[0])
    if len(errors) == 1:
        return first
    message = f"{len(errors)} of {asked} files failed, the first: {first}"
    return type(first)(message, hint=first.hint)
