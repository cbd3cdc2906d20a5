"""From what a request names to what is published: repository, edition, files.

A caller sees of each repository the models that their token allows; where nothing is left, the
repository is not there. What is in memory is found without waiting, the rest by threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar
from urllib.parse import quote

from anyio import CapacityLimiter, to_thread

from sync_daemon.domain.digests import CommitId
from sync_daemon.domain.errors import SyncError
from sync_daemon.gateway.published.library import Library
from sync_daemon.gateway.published.shelf import (
    DEFAULT_REVISION,
    Edition,
    Repository,
    Shelf,
    Snapshot,
)
from sync_daemon.gateway.request import errors
from sync_daemon.gateway.request.callers import Caller
from sync_daemon.gateway.request.errors import HubError
from sync_daemon.gateway.request.paths import Target

MAKERS = 2
"""Long answers that are made at the same time. They wait for nothing: more of them would only
take the CPU from all others, and those that do wait, for a store, must not hold them up."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    """A reading of the path whose repository is there, as far as the caller may see it."""

    target: Target
    repository: Repository

    @property
    def revision(self) -> str:
        """The revision that is asked for."""
        return self.target.revision or DEFAULT_REVISION

    @property
    def by_commit(self) -> bool:
        """Tell whether the path names a full commit."""
        return CommitId.is_one(self.target.revision or "")


class Lookup:
    """Finds things in a library."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._makers = CapacityLimiter(MAKERS)

    async def make(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a long answer in a thread of its own kind, of which there are few."""
        return await to_thread.run_sync(lambda: work(*args, **kwargs), limiter=self._makers)

    def find(
        self, shelf: Shelf, caller: Caller, targets: Iterable[Target], query: bytes = b""
    ) -> Found:
        """Return the first reading of a path that leads to a repository.

        Raises HubError: 307 where only case differs, else that there is no such repository.
        """
        seen = tuple(targets)
        for target in seen:
            if found := _visible(shelf, caller, target.kind, target.name):
                return Found(target, found)
        for target in seen:
            names = shelf.spelt(target.kind, target.name)
            right = [name for name in names if _visible(shelf, caller, target.kind, name)]
            if len(right) == 1:
                raise _moved(target, right[0], query)
        raise errors.repo_not_found(caller)

    async def edition(self, found: Found) -> Edition:
        """Return the edition that a revision means. Raises HubError, or as the store does."""
        if (edition := found.repository.find(found.revision)) is not None:
            return edition
        if found.by_commit:
            former = await in_thread(self._library.find_former, found.repository, found.revision)
            if former is not None:
                return former
        raise errors.revision_not_found(found.revision)

    async def snapshot(self, found: Found, edition: Edition | None = None) -> Snapshot:
        """Return an edition with its files, by default the one that the path means."""
        edition = edition or await self.edition(found)
        if (held := self._library.held(edition)) is not None:
            return held
        try:
            return await in_thread(self._library.snapshot, edition)
        except FileNotFoundError:  # pruned a moment ago
            raise errors.revision_not_found(found.revision) from None

    async def history(self, edition: Edition) -> tuple[Edition, ...]:
        """Return an edition and those that its version had before, the newest first."""
        before = await in_thread(self._library.formers, edition)
        if edition.pointer is None:
            before = tuple(one for one in before if not _newer(one, edition))
        return (edition, *before)

    async def manifest(self, edition: Edition, revision: str) -> bytes:
        """Return a manifest's bytes. Raises HubError, or as the store does."""
        try:
            return await in_thread(self._library.manifest_bytes, edition)
        except FileNotFoundError:
            raise errors.revision_not_found(revision) from None


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do what may wait for the store. Raises HubError 503 for a store that fails."""
    try:
        return await to_thread.run_sync(lambda: work(*args, **kwargs))
    except SyncError as error:
        raise errors.store_trouble() from error


def _visible(shelf: Shelf, caller: Caller, kind: str, name: str) -> Repository | None:
    found = shelf.repository(kind, name)
    seen = found.visible(caller.may_read) if found else None
    return seen if seen and seen.editions else None


def _moved(target: Target, name: str, query: bytes) -> HubError:
    location = f"{target.before}{quote(name)}{target.after}"
    if query:
        location = f"{location}?{query.decode('ascii', 'replace')}"
    return HubError(307, None, f"The repository is spelt {name}", {"Location": location})


def _newer(one: Edition, other: Edition) -> bool:
    if one.stored_at is None or other.stored_at is None:
        return False
    return one.stored_at >= other.stored_at
