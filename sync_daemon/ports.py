"""The seams: where models come from, where they go, and who is told about it.

Adapters translate the errors of their SDK into `domain.errors`; they never retry (the
engine does, in one place) and never verify digests (the vault does, in one place).
Every method may be called from several threads at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol, Self, runtime_checkable

from sync_daemon.domain.digests import CommitId
from sync_daemon.domain.errors import SyncError
from sync_daemon.domain.events import Event
from sync_daemon.domain.listing import Listing, Refs, RemoteFile, Repository, Resolved
from sync_daemon.domain.report import EndpointTally, PastTally

Buffer = bytes | bytearray | memoryview
ChecksumKind = Literal["crc64nvme", "crc32c", "md5", "none"]


class Reader(Protocol):
    """Bytes on their way: read until 0 comes back, then close. A context manager."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the front of `buffer` and return how many bytes; 0 at the end.

        Raises Unavailable when the stream breaks before the end that was announced.
        """

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...


History = Callable[[datetime], Iterable[PastTally]]
"""Returns what former runs counted since a time; never raises, and costs requests."""


class Record(Protocol):
    """What an origin counts of its endpoints, to be kept from run to run."""

    def begin(self, history: History) -> None:
        """Begin a run: count anew. `history` is for whoever needs it, when it does."""

    def tallies(self) -> tuple[EndpointTally, ...]:
        """Return the counts since `begin`, of endpoints that were asked."""


class Origin(Protocol):
    """A place that models come from."""

    @property
    def name(self) -> str:
        """The name it has in the YAML."""

    @property
    def type(self) -> str:
        """`huggingface`, `http` or `directory`: what a manifest records."""

    @property
    def hops(self) -> int:
        """Requests that a file usually costs besides one for each range (redirects)."""

    def refs(self, repository: Repository) -> Refs:
        """Return all branches and tags, by at most one request.

        Raises RepositoryNotFound, Forbidden, OriginUnavailable. An origin without names
        returns a `main` branch.
        """

    def resolve(self, repository: Repository, revision: str) -> Resolved:
        """Return what a revision means that `refs` does not name (a commit, `refs/pr/1`).

        Raises RevisionNotFound besides the errors of `refs`.
        """

    def list(self, repository: Repository, commit: CommitId) -> Listing:
        """Return every file at `commit`, all pages, or raise: never a part of them."""

    def open(
        self, repository: Repository, commit: CommitId, file: RemoteFile, start: int, stop: int
    ) -> Reader:
        """Open bytes `start` to `stop` (exclusive) of a file.

        For a file with `ranges=False` the engine asks for the whole of it only.

        The reader gives exactly `stop - start` bytes or raises: OriginUnavailable for what
        can heal (resets, stalls, 5xx, a short body), OriginLied for an answer that
        contradicts the request (another range, a longer body, a changed ETag, HTML).
        """

    def distrust(
        self, repository: Repository, commit: CommitId, file: RemoteFile, reason: SyncError
    ) -> None:
        """Take note that the bytes of a file were wrong, so that another endpoint, if there is
        one, sends it the next time."""

    @property
    def record(self) -> Record | None:
        """What it counts of its endpoints; None where there are none to choose from."""

    def check(self) -> str:
        """Prove that the origin answers; return a line for `doctor`. Raises as `refs` does."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store can do, as data: probed or declared, never assumed.

    Sizes in bytes. `key_bytes` is what is left for a key after the prefix.
    """

    conditional_put: bool = True
    checksum: ChecksumKind = "none"
    min_part: int = 5 * 1024**2
    max_parts: int = 10_000
    key_bytes: int = 1024


@dataclass(frozen=True, slots=True)
class Traits:
    """What a store is by its kind, known without asking it.

    `key_bytes` is what is left for a key after the prefix; `shares`: objects of the same
    content can share their room.
    """

    key_bytes: int = 1024
    shares: bool = False


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object as the store lists it. `etag` is opaque; `modified` is by the store's clock."""

    key: str
    size: int
    etag: str
    modified: datetime


@dataclass(frozen=True, slots=True)
class Content:
    """A small object, whole."""

    data: bytes
    etag: str
    modified: datetime


@dataclass(frozen=True, slots=True)
class Part:
    """A stored part of a multipart upload. Numbers start at 1."""

    number: int
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class StoreCapacity:
    """The room of a store, in bytes.

    `used` counts what others keep there too. `used`, and with it mostly `free`, is None where
    only the size is known, from the YAML or a quota: who knows what is stored calls `counting`.
    """

    total: int
    used: int | None = None
    free: int | None = None

    def counting(self, stored: int) -> StoreCapacity:
        """Return it with `stored` bytes counted as used, where the store does not say."""
        if self.used is not None:
            return self
        left = max(0, self.total - stored)
        return StoreCapacity(
            self.total, stored, left if self.free is None else min(left, self.free)
        )


class ObjectStore(Protocol):
    """Named bytes. Keys are `/`-separated, relative to the store's prefix.

    A write is whole or not there at all, also after kill -9 or power loss; a failed
    write leaves nothing behind under its key.
    """

    @property
    def url(self) -> str:
        """Where it is, for people: never with a secret."""

    @property
    def traits(self) -> Traits:
        """What it is by its kind; costs nothing, and writes nothing."""

    def capabilities(self) -> Capabilities:
        """Return what this store can do; the first call may probe (and write under `staging/`)."""

    def put(
        self, key: str, data: Buffer, *, if_absent: bool = False, if_match: str | None = None
    ) -> str:
        """Store `data` and return its etag.

        `if_absent` or `if_match` (an etag) make it conditional; raises PreconditionFailed
        when the condition does not hold, or when another writer came between.
        Raises StoreFull, StoreRefused, StoreUnavailable.
        """

    def get(self, key: str) -> Content:
        """Return a small object. Raises FileNotFoundError."""

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        """Open bytes `start` to `stop` (exclusive; None: the end). Raises FileNotFoundError."""

    def stat(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None when there is none."""

    def list(self, prefix: str, start_after: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key starts with `prefix`, in order of their UTF-8 bytes."""

    def delete(self, key: str) -> None:
        """Delete an object; it is no error if there is none."""

    def copy(self, source: str, target: str) -> None:
        """Copy an object inside the store, of any size, without moving its bytes through here.

        `target` appears whole or not at all. Raises FileNotFoundError.
        """

    def share(
        self, source: str, target: str, size: int, stopped: Callable[[], bool] = lambda: False
    ) -> int:
        """Give the object `source`, of `size` bytes, a second name; return the bytes that this
        stores anew: none where both names can share their room.

        Nobody writes to `target` at the same time: what an earlier call left unfinished there
        is dropped. `target` appears whole or not at all. `stopped` is asked now and then; raises
        Interrupted when it says so, and FileNotFoundError.
        """

    def create_upload(self, key: str) -> str:
        """Begin a multipart upload and return its id. Nothing shows under `key` yet."""

    def put_part(self, key: str, upload: str, number: int, offset: int, data: Buffer) -> Part:
        """Store one part; `offset` is its place in the object, in bytes.

        Parts may come in any order and several at once; a part sent again replaces the
        former. Raises UploadGone.
        """

    def parts(self, key: str, upload: str) -> Sequence[Part]:
        """Return the stored parts of an upload, by number. Raises UploadGone."""

    def complete_upload(self, key: str, upload: str, parts: Sequence[Part]) -> None:
        """Make the object of exactly these parts, ascending. Raises UploadGone."""

    def abort_upload(self, key: str, upload: str) -> None:
        """Forget an upload and its parts; it is no error if there is none."""

    def orphans(self) -> Sequence[tuple[str, str]]:
        """Return key and id of uploads whose process is gone: of no use to anybody unless a
        journal names them. A store that expires uploads by itself returns none."""

    def now(self) -> datetime:
        """Return the store's clock, which alone judges the age of locks."""

    def free_bytes(self) -> int | None:
        """Return the free space in bytes, or None where the store does not say."""

    def capacity(self) -> StoreCapacity | None:
        """Return the room of the store, or None where it is not known. Nothing is listed: it
        costs three small requests at most, and never raises because a right is missing."""


@runtime_checkable
class LinksObjects(Protocol):
    """A store that others can read from by themselves, by a signed link."""

    def link(
        self, key: str, *, endpoint: str | None, life: timedelta, overrides: Mapping[str, str]
    ) -> str:
        """Return a URL that whoever has it can GET, once or often, for `life` or less.

        `endpoint` is the store's address as its readers see it; None: as it is seen from here.
        `overrides` are S3's `response-...` parameters. The object is not looked for. May wait
        for fresh keys. Raises StoreRefused, StoreUnavailable.
        """


@runtime_checkable
class OpensFiles(Protocol):
    """A store whose objects are files of this machine."""

    def open_file(self, key: str) -> tuple[int, int]:
        """Return a file descriptor, which the caller closes, and the size in bytes.

        Raises FileNotFoundError, StoreRefused, StoreUnavailable.
        """


class Clock(Protocol):
    """Time as the engine sees it; a test's clock never waits."""

    def monotonic(self) -> float:
        """Return seconds that only grow."""

    def now(self) -> datetime:
        """Return the time of day, aware, in UTC."""

    def wait(self, seconds: float) -> bool:
        """Wait, but not after the stop event is set; return whether it is set."""


class Emit(Protocol):
    """Whoever listens: logs, progress, later metrics and alerts. Must not raise or block."""

    def __call__(self, event: Event, /) -> None: ...
