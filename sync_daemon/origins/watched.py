"""An origin of one endpoint that tells how each request went, as `endpoints` does for several.

A sample is a look at the whole repository, or a file's body from its opening to its end. A
refusal is an answer. How long an opening takes is what the way to the server takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sync_daemon.domain.digests import CommitId
from sync_daemon.domain.errors import OriginLied, OriginUnavailable, SyncError
from sync_daemon.domain.events import EndpointAsked, EndpointMeasured
from sync_daemon.domain.listing import Listing, Refs, RemoteFile, Repository, Resolved
from sync_daemon.origins.body import WatchedBody
from sync_daemon.ports import Clock, Emit, Origin, Reader, Record

_FAILURES = (OriginUnavailable, OriginLied)


class Watched:
    """An origin around an origin. `endpoint` is where it is, for people."""

    def __init__(
        self,
        origin: Origin,
        endpoint: str,
        *,
        clock: Clock,
        emit: Emit,
        waited: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`waited` returns for how many seconds this thread ever kept its requests back."""
        self._origin = origin
        self._endpoint = endpoint
        self._clock = clock
        self._emit = emit
        self._waited = waited

    @property
    def name(self) -> str:
        """Its name in the YAML."""
        return self._origin.name

    @property
    def type(self) -> str:
        """What a manifest records."""
        return self._origin.type

    @property
    def hops(self) -> int:
        """Requests that a file costs besides its ranges."""
        return self._origin.hops

    @property
    def record(self) -> Record | None:
        """What it counts of its endpoints."""
        return self._origin.record

    def refs(self, repository: Repository) -> Refs:
        """Return all branches and tags."""
        with self._judged():
            return self._origin.refs(repository)

    def resolve(self, repository: Repository, revision: str) -> Resolved:
        """Return what a revision means."""
        with self._judged():
            return self._origin.resolve(repository, revision)

    def list(self, repository: Repository, commit: CommitId) -> Listing:
        """Return every file."""
        with self._judged():
            return self._origin.list(repository, commit)

    def open(
        self, repository: Repository, commit: CommitId, file: RemoteFile, start: int, stop: int
    ) -> Reader:
        """Open a range of a file; its end is judged."""
        began, waited = self._clock.monotonic(), self._waited()
        try:
            reader = self._origin.open(repository, commit, file, start, stop)
        except SyncError as error:
            self._tell(error)
            raise
        seconds = max(0.0, self._clock.monotonic() - began - (self._waited() - waited))
        self._emit(EndpointMeasured(self.name, self._endpoint, round(seconds, 6)))
        return WatchedBody(reader, self._clock, lambda _, error: self._tell(error))

    def distrust(
        self, repository: Repository, commit: CommitId, file: RemoteFile, reason: SyncError
    ) -> None:
        """Take note that the bytes of a file were wrong."""
        self._origin.distrust(repository, commit, file, reason)

    def check(self) -> str:
        """Prove that the origin answers."""
        return self._origin.check()

    @contextmanager
    def _judged(self) -> Iterator[None]:
        try:
            yield
        except SyncError as error:
            self._tell(error)
            raise
        self._tell(None)

    def _tell(self, error: BaseException | None) -> None:
        self._emit(EndpointAsked(self.name, self._endpoint, isinstance(error, _FAILURES)))
