"""What the origins' names mean in this run: one refs request serves all versions of a repo."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from sync_daemon.domain.digests import CommitId
from sync_daemon.domain.errors import RevisionNotFound, SyncError
from sync_daemon.domain.listing import Refs, Repository, Resolved
from sync_daemon.domain.versions import newest_tags
from sync_daemon.domain.wanted import Wanted, WantedTags
from sync_daemon.engine.retry import Retry
from sync_daemon.ports import Origin


class Catalog:
    """Resolves revisions; make a new one for each run, since it remembers every answer."""

    def __init__(self, origins: Mapping[str, Origin], retry: Retry) -> None:
        self._origins = origins
        self._retry = retry
        self._lock = threading.Lock()
        self._locks: dict[tuple[str, Repository], threading.Lock] = {}
        self._refs: dict[tuple[str, Repository], Refs | SyncError] = {}

    def origin(self, name: str) -> Origin:
        """Return an origin by its name in the YAML."""
        return self._origins[name]

    def resolve(self, wanted: Wanted) -> Resolved:
        """Return the commit that a version's revision means now; a full commit costs nothing.

        A name that is both a tag and a branch is the tag, as for git.
        """
        revision = wanted.revision
        if CommitId.is_one(revision):
            return Resolved(revision, CommitId(revision), "commit")
        refs = self.refs(wanted.origin, wanted.repository)
        tag, branch = revision.removeprefix("refs/tags/"), revision.removeprefix("refs/heads/")
        if tag in refs.tags:
            return Resolved(revision, refs.tags[tag], "tag")
        if branch in refs.branches:
            return Resolved(revision, refs.branches[branch], "branch")
        origin = self._origins[wanted.origin]
        return self._retry(
            f"resolve {wanted.repository.name}@{revision}",
            lambda: origin.resolve(wanted.repository, revision),
        )

    def tags(self, wanted: WantedTags) -> tuple[str, ...]:
        """Return the tags that an entry means, newest first.

        Raises RevisionNotFound when none matches: a pattern that mirrors nothing is a mistake.
        """
        refs = self.refs(wanted.origin, wanted.repository)
        found = newest_tags(refs.tags, wanted.pattern, wanted.latest)
        if not found:
            message = f"no tag of {wanted.repository.name} matches {wanted.pattern!r}"
            hint = f"it has {len(refs.tags)} tags; correct the pattern, or leave the entry out"
            raise RevisionNotFound(message, hint=hint)
        return found

    def refs(self, origin: str, repository: Repository) -> Refs:
        """Return a repository's names; asked once a run, an error is remembered too."""
        key = (origin, repository)
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._refs:
                self._refs[key] = self._ask(origin, repository)
            found = self._refs[key]
        if isinstance(found, SyncError):
            raise found
        return found

    def _ask(self, origin: str, repository: Repository) -> Refs | SyncError:
        try:
            return self._retry(
                f"read the refs of {repository.name}",
                lambda: self._origins[origin].refs(repository),
            )
        except SyncError as error:
            return error
