"""Archives inside a model, unpacked so that nothing leaves their folder.

`NAME.tar.gz`, `NAME.tgz` and `NAME.zip` become a folder `NAME` beside the archive, which appears
whole or not at all; `NAME.zz` (a zlib stream) becomes the file `NAME`. Members that are no plain
file or folder, or whose path would lead elsewhere, refuse the whole archive.
"""

from __future__ import annotations

import gzip
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from stat import S_IFMT, S_ISREG
from typing import IO, Protocol

from sync_daemon.domain.errors import InvalidName, StoreFull, SyncError
from sync_daemon.domain.names import RepoPath

SUFFIXES = (".tar.gz", ".tgz", ".zip", ".zz")
MOST_MEMBERS = 1_000_000
_BLOCK = 1024**2
_SPARE = 64 * 1024**2


class ArchiveRefused(SyncError):
    """An archive that is damaged, or whose members are not what can be unpacked."""


class _Room(Protocol):
    def __call__(self, count: int) -> None:
        """Take note that `count` bytes are about to be written."""


def is_archive(path: str) -> bool:
    """Tell by its name whether a file can be unpacked here."""
    return _stem(PurePosixPath(path).name) is not None


def unpack(archive: Path | str, *, spare: int = _SPARE) -> Path:
    """Unpack an archive beside itself and return the folder, or the file of a `.zz`.

    What is there under that name is replaced. At least `spare` bytes of the disk stay free.
    Raises ArchiveRefused, StoreFull; nothing is left behind then.
    """
    archive = Path(archive)
    stem = _stem(archive.name)
    if stem is None:
        message = f"{archive.name}: is no archive that can be unpacked here"
        raise ArchiveRefused(message, hint=f"known are {', '.join(SUFFIXES)}")
    target = archive.with_name(stem)
    with tempfile.TemporaryDirectory(prefix=f".{stem[:64]}.", dir=archive.parent) as folder:
        place = Path(folder) / "out"
        room = _room(archive.parent, spare, archive.name)
        try:
            with _refusing(archive.name):
                _unpack(archive, place, room)
        except OSError as error:
            message = f"{archive.name}: cannot be unpacked: {error.strerror or error}"
            raise ArchiveRefused(message, hint="look at the disk and its rights") from error
        _replace(place, target)
    return target


def _unpack(archive: Path, place: Path, room: _Room) -> None:
    if archive.name.endswith(".zz"):
        _unpack_zlib(archive, place, room)
        return
    place.mkdir()
    members = _zip_members if archive.name.endswith(".zip") else _tar_members
    for count, (name, content) in enumerate(members(archive)):
        if count >= MOST_MEMBERS:
            message = f"{archive.name}: has more than {MOST_MEMBERS} members"
            raise ArchiveRefused(message)
        if not name and content is None:  # the folder that was packed
            continue
        path = place / RepoPath(name)
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with content, path.open("xb") as file:
            _copy(content, file, room)


def _tar_members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    with gzip.open(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            name = _trim(member.name)
            if member.isdir():
                yield name, None
                continue
            if not member.isreg():
                _refuse_member(archive, member.name)
            content = tar.extractfile(member)
            if content is not None:
                yield name, content
        while stream.read(_BLOCK):  # its checksum comes last, and tar stops before
            pass


def _zip_members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            mode = info.external_attr >> 16
            if info.is_dir():
                yield _trim(info.filename), None
                continue
            if S_IFMT(mode) and not S_ISREG(mode):
                _refuse_member(archive, info.filename)
            yield _trim(info.filename), file.open(info)


def _unpack_zlib(archive: Path, place: Path, room: _Room) -> None:
    stream = zlib.decompressobj()
    with archive.open("rb") as source, place.open("xb") as target:
        while block := source.read(_BLOCK):
            while block:
                data = stream.decompress(block, _BLOCK)
                room(len(data))
                target.write(data)
                block = stream.unconsumed_tail
        if not stream.eof or stream.unused_data:
            message = f"{archive.name}: the stream is cut short, or something follows it"
            raise ArchiveRefused(message, hint="fetch the file again")


def _copy(source: IO[bytes], target: IO[bytes], room: _Room) -> None:
    while block := source.read(_BLOCK):
        room(len(block))
        target.write(block)


def _trim(name: str) -> str:
    """Drop what tar programs put around a relative path: `./a/` is `a`, `./` is nothing."""
    trimmed = name.removeprefix("./").rstrip("/")
    return "" if trimmed == "." else trimmed


def _stem(name: str) -> str | None:
    for suffix in SUFFIXES:
        if name.endswith(suffix) and name != suffix:
            return name.removesuffix(suffix)
    return None


def _room(folder: Path, spare: int, name: str) -> _Room:
    left = shutil.disk_usage(folder).free - spare

    def take(count: int) -> None:
        nonlocal left
        left -= count
        if left < 0:
            message = f"{name}: does not fit on the disk once it is unpacked"
            raise StoreFull(message, hint="make room, or leave --unpack out")

    return take


def _refuse_member(archive: Path, name: str) -> None:
    message = f"{archive.name}: {name!r} is neither a file nor a folder"
    raise ArchiveRefused(message, hint="links and devices are not unpacked; look at it by hand")


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    try:
        yield
    except InvalidName as error:
        raise ArchiveRefused(f"{name}: {error}", hint="do not trust this archive") from error
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        message = f"{name}: two members have the same name, or one lies below a file"
        raise ArchiveRefused(message, hint="do not trust this archive") from error
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        message = f"{name}: is damaged: {error}"
        raise ArchiveRefused(message, hint="fetch the file again") from error
    except (RuntimeError, NotImplementedError) as error:  # zipfile: encrypted, unknown method
        raise ArchiveRefused(f"{name}: {error}", hint="unpack it by hand") from error


def _replace(place: Path, target: Path) -> None:
    """Put `place` where `target` is. A folder that was there before moves out of the way first."""
    former = place.with_name("former")
    with suppress(FileNotFoundError):
        target.rename(former)
    place.rename(target)
