"""Models that lie in a folder: a USB disk, an NFS mount, the output of a training run.

A repository is a folder below the root. There are no commits: a digest over names, sizes
and modification times stands for one, so a folder in which nothing was touched is known
without reading it. A file that changes while it is read is caught.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Self

from sync_daemon import meter
from sync_daemon.domain import canonical
from sync_daemon.domain.digests import CommitId, Digest
from sync_daemon.domain.errors import (
    Forbidden,
    OriginChanged,
    OriginFileNotFound,
    OriginRefused,
    OriginUnavailable,
    RepositoryNotFound,
    RevisionNotFound,
    SyncError,
)
from sync_daemon.domain.listing import Listing, RawFile, Refs, RemoteFile, Repository, Resolved
from sync_daemon.domain.words import plural

MAIN = "main"
_NOT_LISTED = ".git"


class DirectoryOrigin:
    """Folders below `root`, each of them a repository with one branch, `main`.

    Links are followed as long as they stay inside `root`.
    """

    type = "directory"
    hops = 0
    record = None

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self._root = root

    def refs(self, repository: Repository) -> Refs:
        """Return `main` as it is now; reads no file."""
        meter.count("origin")
        return Refs({MAIN: _identify(self._scan(repository))}, {})

    def resolve(self, repository: Repository, revision: str) -> Resolved:
        """Return `main`, or the present state if `revision` is its very digest."""
        commit = self.refs(repository).branches[MAIN]
        if revision == MAIN:
            return Resolved(revision, commit, "branch")
        if revision != commit:
            self._fail_revision(repository, revision)
        return Resolved(revision, commit, "commit")

    def list(self, repository: Repository, commit: CommitId) -> Listing:
        """Return every file. Raises RevisionNotFound when the folder is no longer at `commit`."""
        meter.count("origin")
        files = self._scan(repository)
        if _identify(files) != commit:
            self._fail_revision(repository, commit)
        return Listing(commit, files)

    def open(
        self, repository: Repository, commit: CommitId, file: RemoteFile, start: int, stop: int
    ) -> _FileReader:
        """Open a range of a file. Raises OriginChanged when it is not the file that was listed."""
        del commit  # the file's own token says whether it is still the same
        meter.count("origin")
        path = self._folder(repository) / file.path
        with _translated(self.name, path):
            real = self._forbid_escape(path)
            descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        reader = _FileReader(self.name, path, file, descriptor, start, stop)
        try:
            reader.check_unchanged()
        except BaseException:
            reader.close()
            raise
        return reader

    def distrust(
        self, repository: Repository, commit: CommitId, file: RemoteFile, reason: SyncError
    ) -> None:
        """Do nothing: nobody else could send the file."""

    def check(self) -> str:
        """Say how many folders there are. Raises OriginUnavailable when the root is missing."""
        with _translated(self.name, self._root):
            folders = sum(entry.is_dir() for entry in os.scandir(self._real_root()))
        return f"{self._root}: readable, {plural(folders, 'folder')}"

    def _real_root(self) -> Path:
        try:
            return self._root.resolve(strict=True)
        except FileNotFoundError as error:
            message = f"origin {self.name!r}: the directory {self._root} is not there"
            raise OriginUnavailable(message, hint="is the disk or share mounted?") from error

    def _folder(self, repository: Repository) -> Path:
        root = self._real_root()
        parts = repository.name.split("/")
        if any(part in {"", ".", ".."} for part in parts) or "\0" in repository.name:
            message = f"origin {self.name!r}: {repository.name!r} is not a folder below {root}"
            raise RepositoryNotFound(message, hint="name it relative to the origin's path")
        return root.joinpath(*parts)

    def _forbid_escape(self, path: Path) -> Path:
        real = path.resolve(strict=True)
        if not real.is_relative_to(self._real_root()):
            message = f"origin {self.name!r}: {path} is a link that leads out of {self._root}"
            raise Forbidden(message, hint="put the file itself there, or widen the origin's path")
        return real

    def _scan(self, repository: Repository) -> tuple[RawFile, ...]:
        folder = self._folder(repository)
        try:
            with _translated(self.name, folder):
                top = self._forbid_escape(folder)
                files = sorted(self._walk(top, "", (top,)), key=lambda file: file.path)
        except OriginFileNotFound as error:
            if folder.is_dir():
                raise
            message = f"origin {self.name!r}: there is no folder {folder}"
            hint = "check the model's repo and the origin's path"
            raise RepositoryNotFound(message, hint=hint) from error
        return tuple(files)

    def _walk(self, folder: Path, prefix: str, above: tuple[Path, ...]) -> Iterator[RawFile]:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name == _NOT_LISTED:
                    continue
                path = f"{prefix}{entry.name}"
                status = self._stat(entry)
                if stat.S_ISREG(status.st_mode):
                    yield RawFile(path, status.st_size, token=_token(status))
                    continue
                below = Path(entry.path)
                if entry.is_symlink():
                    below = below.resolve(strict=True)
                self._forbid_odd(entry, status, below, above)
                yield from self._walk(below, f"{path}/", (*above, below))

    def _stat(self, entry: os.DirEntry[str]) -> os.stat_result:
        if entry.is_symlink():
            self._forbid_escape(Path(entry.path))
        return entry.stat()

    def _forbid_odd(
        self, entry: os.DirEntry[str], status: os.stat_result, real: Path, above: tuple[Path, ...]
    ) -> None:
        if not stat.S_ISDIR(status.st_mode):
            problem = "is neither a file nor a folder"
        elif real in above:
            problem = "is a link to a folder that it lies in"
        else:
            return
        message = f"origin {self.name!r}: {entry.path} {problem}"
        raise OriginRefused(message, hint="remove it from the folder")

    def _fail_revision(self, repository: Repository, revision: str) -> NoReturn:
        message = (
            f"origin {self.name!r}: {repository.name} is not at {revision}; a directory only"
            f" has {MAIN}, which is what lies there now"
        )
        hint = "if the YAML pins it, remove `revision`, for it is gone; else run again"
        raise RevisionNotFound(message, hint=hint)


@dataclass(slots=True)
class _FileReader:
    """Bytes `at` to `stop` of an open file, straight into the caller's buffer."""

    origin: str
    path: Path
    file: RemoteFile
    descriptor: int
    at: int
    stop: int

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the front of `buffer`; the last bytes come only if the file did not change."""
        wanted = min(len(buffer), self.stop - self.at)
        if wanted <= 0:
            return 0
        with _translated(self.origin, self.path):
            got = os.preadv(self.descriptor, [buffer[:wanted]], self.at)
        self.at += got
        if not got or self.at == self.stop:
            self.check_unchanged()
        if not got:
            self._fail_changed("it is shorter")
        return got

    def check_unchanged(self) -> None:
        """Raise OriginChanged unless size and modification time are those of the listing."""
        status = os.fstat(self.descriptor)
        if status.st_size != self.file.size:
            self._fail_changed(f"{status.st_size} bytes instead of {self.file.size}")
        if self.file.token is not None and _token(status) != self.file.token:
            self._fail_changed("its modification time is another")

    def close(self) -> None:
        """Close the file; once is enough."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _fail_changed(self, what: str) -> NoReturn:
        message = f"origin {self.origin!r}: {self.path} changed after it was listed: {what}"
        raise OriginChanged(message, hint="run again when nothing writes to the folder")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _token(status: os.stat_result) -> str:
    return str(status.st_mtime_ns)


def _identify(files: tuple[RawFile, ...]) -> CommitId:
    """Return what stands for a commit. File names that are not UTF-8 are escaped."""
    entries = [
        {
            "path": os.fsencode(file.path).decode("utf-8", "backslashreplace"),
            "size": file.size,
            "mtime_ns": int(file.token or 0),
        }
        for file in files
    ]
    return CommitId(Digest.of(canonical.encode({"files": entries})))


@contextmanager
def _translated(origin: str, path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        message = f"origin {origin!r}: {path} is not there, or leads nowhere ({error.filename})"
        raise OriginFileNotFound(message) from error
    except PermissionError as error:
        message = f"origin {origin!r}: no permission to read {error.filename or path}"
        raise Forbidden(message, hint="let the daemon's user read it") from error
    except (OSError, RuntimeError) as error:  # RuntimeError: links that go in a circle
        message = f"origin {origin!r}: cannot read {path}: {error}"
        raise OriginUnavailable(message) from error
