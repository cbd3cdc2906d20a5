"""Fills the cache of huggingface_hub, so that `from_pretrained` finds a version offline.

    models--ORG--NAME/blobs/<etag>                what the Hub's ETag is: SHA-256 of a large
                                                  file, git's id of a small one
    models--ORG--NAME/snapshots/<commit>/<path>   a relative link to its blob
    models--ORG--NAME/refs/<revision>             the commit that a branch or tag means

A blob there is a link to the blob of our cache, so that nothing is stored twice. Files over
50 GB, which that client refuses over plain HTTP, get in this way too.
"""

from __future__ import annotations

import os
import secrets
import stat
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from sync_daemon.client.cache import Cache
from sync_daemon.client.linking import give_name
from sync_daemon.client.placing import Outcome
from sync_daemon.client.sites import user_cache
from sync_daemon.domain.digests import CommitId
from sync_daemon.domain.errors import Interrupted
from sync_daemon.domain.listing import Repository
from sync_daemon.domain.manifest import FileEntry
from sync_daemon.stores.local_paths import Tree, translated

_FOLDERS = ("blobs", "snapshots", "refs")


def default_hub_cache(environ: Mapping[str, str]) -> Path:
    """Return the directory that huggingface_hub uses by itself."""
    if environ.get("HF_HUB_CACHE"):
        return Path(environ["HF_HUB_CACHE"]).expanduser()
    if environ.get("HF_HOME"):
        return Path(environ["HF_HOME"]).expanduser() / "hub"
    return user_cache(environ) / "huggingface" / "hub"


def repository_folder(root: Path, repository: Repository) -> Path:
    """Return the folder of a repository in the cache of huggingface_hub at `root`."""
    return root.absolute() / f"{repository.kind}s--{repository.name.replace('/', '--')}"


def find_snapshot(root: Path, repository: Repository, revision: str) -> Path | None:
    """Return what `snapshot_download` would return offline, or None."""
    folder = repository_folder(root, repository)
    ref = folder / "refs" / revision
    commit = ref.read_text() if ref.is_file() else revision
    found = folder / "snapshots" / commit
    return found if found.is_dir() else None


class HubCache:
    """One repository in the cache of huggingface_hub at `root`."""

    def __init__(self, root: Path, repository: Repository, cache: Cache) -> None:
        self.folder = repository_folder(root, repository)
        self._cache = cache
        self._tree = Tree(self.folder)

    def fill(
        self,
        entries: Sequence[FileEntry],
        commit: CommitId,
        revision: str,
        *,
        copy: bool,
        stop: threading.Event,
    ) -> Outcome:
        """Put the files of a version there, then the name of its revision. Raises StoreFull,
        StoreRefused, Interrupted."""
        with translated(self.folder, self.folder):
            for name in _FOLDERS:
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            ways = [self._put(entry, commit, copy=copy, stop=stop) for entry in entries]
            if revision != commit:
                self._name(revision, commit)
        return Outcome(ways.count("linked"), ways.count("copied"), ways.count("kept"))

    def _put(self, entry: FileEntry, commit: CommitId, *, copy: bool, stop: threading.Event) -> str:
        if stop.is_set():
            message = f"{self.folder}: stopped; the next pull completes it"
            raise Interrupted(message)
        way = self._put_blob(entry, copy=copy)
        self._point(f"snapshots/{commit}/{entry.path}", self.folder / "blobs" / _etag(entry))
        return way

    def _put_blob(self, entry: FileEntry, *, copy: bool) -> str:
        blob = self._cache.path(entry.sha256)
        ours = blob.lstat()
        with self._tree.folder("blobs") as blobs:
            with suppress(FileNotFoundError):
                there = os.stat(_etag(entry), dir_fd=blobs, follow_symlinks=False)
                if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino) and not copy:
                    return "kept"
                same = (there.st_size, there.st_mtime_ns) == (ours.st_size, ours.st_mtime_ns)
                if same and stat.S_ISREG(there.st_mode) and there.st_dev != ours.st_dev:
                    return "kept"  # a copy of ours: it has the blob's own time
            return give_name(blob, blobs, _etag(entry), blobs, copy=copy)

    def _point(self, path: str, blob: Path) -> None:
        target = os.path.relpath(blob, (self.folder / path).parent)
        with self._tree.parent(path, create=True) as (folder, name):
            with suppress(OSError):
                if os.readlink(name, dir_fd=folder) == target:
                    return
            fresh = f".{secrets.token_hex(8)}"
            os.symlink(target, fresh, dir_fd=folder)
            try:
                os.rename(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                os.unlink(fresh, dir_fd=folder)
                raise

    def _name(self, revision: str, commit: CommitId) -> None:
        with self._tree.parent(f"refs/{revision}", create=True) as (folder, name):
            fresh = f".{secrets.token_hex(8)}"
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=folder)
            try:
                os.write(handle, commit.encode())
            finally:
                os.close(handle)
            os.rename(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)


def _etag(entry: FileEntry) -> str:
    return entry.git_oid if entry.git_oid is not None and not entry.lfs else entry.sha256
