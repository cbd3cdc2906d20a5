"""The other published versions of a repository: their small files need not be fetched again.

A git oid says which content a file has, but only within the repository that computed it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress

from sync_daemon.domain.digests import Digest, GitOid
from sync_daemon.domain.listing import Repository
from sync_daemon.domain.manifest import Manifest
from sync_daemon.domain.names import ModelName, VersionName
from sync_daemon.domain.wanted import Wanted
from sync_daemon.engine.vault import Vault

Oids = dict[GitOid, Digest]


class Siblings:
    """Reads the manifests of a repository's versions at most once a run, and only when asked."""

    def __init__(self, vault: Vault, versions: Iterable[Wanted]) -> None:
        self._vault = vault
        self._lock = threading.Lock()
        self._oids: dict[tuple[str, Repository], Oids] = {}
        self._versions: dict[tuple[str, Repository], list[tuple[ModelName, VersionName]]] = {}
        for wanted in versions:
            place = (wanted.origin, wanted.repository)
            self._versions.setdefault(place, []).append((wanted.model, wanted.version))

    def oids(self, wanted: Wanted) -> Oids:
        """Return the digest of each git oid that any version of the repository holds."""
        place = (wanted.origin, wanted.repository)
        with self._lock:
            if place not in self._oids:
                self._oids[place] = self._read(place, wanted.repository)
            return self._oids[place]

    def _read(self, place: tuple[str, Repository], repository: Repository) -> Oids:
        found: Oids = {}
        for model, version in self._versions.get(place, ()):
            if (current := self._vault.current(model, version)) is not None:
                with suppress(FileNotFoundError):
                    manifest = self._vault.manifest(model, version, current[0].manifest)
                    found |= oids_of(manifest, repository)
        return found


def oids_of(manifest: Manifest, repository: Repository) -> Oids:
    """Return the git oids of a manifest, if it is of this repository."""
    source = manifest.source
    if (source.repo, source.repo_type) != (repository.name, repository.kind):
        return {}
    return {e.git_oid: e.sha256 for e in manifest.files if e.git_oid and not e.lfs}
