"""Fakes for the engine's tests: an origin in memory, a clock that never waits, a breaking store."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from sync_daemon import meter
from sync_daemon.domain.digests import CommitId, Digest, GitOid
from sync_daemon.domain.errors import (
    RepositoryNotFound,
    RevisionNotFound,
    StoreUnavailable,
    SyncError,
)
from sync_daemon.domain.events import Event
from sync_daemon.domain.listing import Listing, RawFile, Refs, RemoteFile, Repository, Resolved
from sync_daemon.domain.names import ModelName, VersionName
from sync_daemon.domain.selection import Selection
from sync_daemon.domain.wanted import Wanted
from sync_daemon.engine.hours import Hours
from sync_daemon.engine.limits import MIB, Limits
from sync_daemon.engine.locks import Locks
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.run import Engine
from sync_daemon.engine.throttle import Throttle
from sync_daemon.engine.transfer import Transfer
from sync_daemon.engine.vault import Vault
from sync_daemon.ports import ObjectStore, Origin, Record


class FakeClock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._time = 0.0
        self.stop = threading.Event()

    def monotonic(self) -> float:
        return self._time

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self._time)

    def wait(self, seconds: float) -> bool:
        with self._lock:
            self._time += seconds
        return self.stop.is_set()


class Hasty:
    """Real time in which waiting between two tries takes none."""

    def __init__(self) -> None:
        self.stop = threading.Event()

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def wait(self, seconds: float) -> bool:
        return self.stop.is_set()


class StoreTime:
    """A store's clock, which is not ours."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Recorder:
    """Keeps every event."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def named(self, name: str) -> list[Event]:
        return [event for event in self.events if event.name == name]


class BytesReader:
    """A reader over bytes that are at hand."""

    def __init__(self, data: bytes) -> None:
        self._view = memoryview(data)

    def readinto(self, buffer: memoryview, /) -> int:
        count = min(len(buffer), len(self._view))
        buffer[:count] = self._view[:count]
        self._view = self._view[count:]
        return count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        return None


class FakeOrigin:
    """Repositories in memory, with commits, branches and tags like the Hub's.

    Files of `lfs_from` bytes and more promise a SHA-256, smaller ones a git oid;
    `promise=False` promises nothing, like a plain HTTP server. `corrupt` maps a path to
    the number of answers that are to be wrong.
    """

    name = "hf"
    type = "huggingface"
    hops = 0
    record: Record | None = None

    def __init__(self, *, lfs_from: int = 1000, promise: bool = True, ranges: bool = True) -> None:
        self._lfs_from, self._promise, self._ranges = lfs_from, promise, ranges
        self.commits: dict[str, dict[CommitId, dict[str, bytes]]] = {}
        self.branches: dict[str, dict[str, CommitId]] = {}
        self.tags: dict[str, dict[str, CommitId]] = {}
        self.opened: list[tuple[str, int, int]] = []
        self.corrupt: dict[str, int] = {}
        self.on_open: Callable[[str], None] = lambda path: None
        self.missing: set[str] = set()
        self.distrusted: list[tuple[str, SyncError]] = []

    def commit(self, repo: str, files: Mapping[str, bytes], *, branch: str = "main") -> CommitId:
        names = "".join(f"{path}{hashlib.sha256(data).hexdigest()}" for path, data in files.items())
        commit = CommitId(hashlib.sha1(names.encode()).hexdigest())
        self.commits.setdefault(repo, {})[commit] = dict(files)
        self.branches.setdefault(repo, {})[branch] = commit
        return commit

    def tag(self, repo: str, tag: str, commit: CommitId) -> None:
        self.tags.setdefault(repo, {})[tag] = commit

    def refs(self, repository: Repository) -> Refs:
        meter.count("origin")
        if repository.name not in self.commits:
            raise RepositoryNotFound(f"no repository {repository.name}")
        name = repository.name
        return Refs(dict(self.branches.get(name, {})), dict(self.tags.get(name, {})))

    def resolve(self, repository: Repository, revision: str) -> Resolved:
        meter.count("origin")
        raise RevisionNotFound(f"{repository.name} has no revision {revision}")

    def list(self, repository: Repository, commit: CommitId) -> Listing:
        meter.count("origin")
        try:
            files = self.commits[repository.name][commit]
        except KeyError:
            raise RevisionNotFound(f"{repository.name} has no commit {commit}") from None
        return Listing(commit, tuple(self._raw(p, d) for p, d in files.items()), "apache-2.0")

    def _raw(self, path: str, data: bytes) -> RawFile:
        if not self._promise:
            return RawFile(path, len(data), token="etag", ranges=self._ranges)
        if len(data) >= self._lfs_from:
            pointer = GitOid.of_blob(b"pointer to " + Digest.of(data).encode())
            return RawFile(path, len(data), Digest.of(data), pointer, lfs=True, ranges=self._ranges)
        return RawFile(path, len(data), git_oid=GitOid.of_blob(data), ranges=self._ranges)

    def open(
        self, repository: Repository, commit: CommitId, file: RemoteFile, start: int, stop: int
    ) -> BytesReader:
        meter.count("origin")
        self.on_open(file.path)
        self.opened.append((str(file.path), start, stop))
        data = self.commits[repository.name][commit][file.path][start:stop]
        if self.corrupt.get(file.path, 0) > 0:
            self.corrupt[file.path] -= 1
            data = bytes([data[0] ^ 1]) + data[1:]
        return BytesReader(data)

    def distrust(
        self, repository: Repository, commit: CommitId, file: RemoteFile, reason: SyncError
    ) -> None:
        self.distrusted.append((file.path, reason))

    def check(self) -> str:
        return "in memory"


class StoreBroke(StoreUnavailable):
    """The n-th call failed, and every one after it: the process may as well be dead."""


class BreakingStore:
    """A store that serves `calls` calls and then breaks for good.

    `late` lets the breaking call do its work and lose only the answer.
    """

    def __init__(self, store: ObjectStore, calls: int, *, late: bool = False) -> None:
        self._store, self._left, self._late = store, calls, late
        self._lock = threading.Lock()
        self.broke = False

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._store, name)
        if name in {"capabilities", "traits", "url", "now"}:
            return inner

        def call(*args: Any, **kwargs: Any) -> Any:
            with self._lock:
                self._left -= 1
                last, dead = self._left == -1, self._left < -1
            if last and self._late:
                self.broke = True
                inner(*args, **kwargs)
            if last or dead:
                self.broke = True
                raise StoreBroke(f"{name}: the store broke")
            return inner(*args, **kwargs)

        return call


def wanted(
    model: str = "m",
    version: str = "main",
    repo: str = "org/m",
    revision: str = "main",
    *,
    origin: str = "hf",
    include: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
) -> Wanted:
    return Wanted(
        ModelName(model),
        VersionName(version),
        origin,
        Repository(repo),
        revision,
        Selection(include, exclude),
    )


@contextmanager
def running(
    store: ObjectStore,
    *origins: Origin,
    emit: Callable[[Event], None] | None = None,
    limits: Limits | None = None,
    attempts: int = 3,
    clock: FakeClock | Hasty | None = None,
    hours: Hours | None = None,
    rate: Callable[[], int | None] = lambda: None,
) -> Iterator[Engine]:
    """An engine over fakes, ended at the end of the block."""
    clock, emit = clock or FakeClock(), emit or Recorder()
    limits = limits or Limits(connections=4, part_size=5 * MIB, memory=40 * MIB)
    retry = Retry(attempts, emit, clock)
    throttle = Throttle(rate, clock)
    locks = Locks(store, retry, clock, emit)
    transfer = Transfer(
        store,
        limits,
        throttle=throttle,
        retry=retry,
        clock=clock,
        emit=emit,
        stop=clock.stop,
        hours=hours,
    )
    with transfer:
        yield Engine(
            vault=Vault(store, retry),
            origins={origin.name: origin for origin in origins},
            transfer=transfer,
            locks=locks,
            retry=retry,
            clock=clock,
            emit=emit,
            stop=clock.stop,
            part_size=limits.part_size,
        )
    locks.close()
