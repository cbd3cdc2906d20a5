"""Lists a directory tree in the order of S3: by the UTF-8 bytes of the whole key.

Within one folder that is the order of the names with a slash behind those of folders,
because every key below `a` begins with `a/`: `a-b` comes before `a/b`, as '-' comes
before '/'. So each folder is sorted by itself, and only the folders that lead to the
current key are held.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from sync_daemon.ports import ObjectInfo
from sync_daemon.stores.local_paths import TEMP, Tree, describe

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def walk(tree: Tree, prefix: str, start_after: str) -> Iterator[ObjectInfo]:
    """Yield the files whose key starts with `prefix` and comes after `start_after`."""
    folders = prefix.split("/")[:-1]
    if folders[:1] == [TEMP] or {"", ".", ".."} & set(folders):
        return
    start = "".join(f"{folder}/" for folder in folders).encode()
    with suppress(FileNotFoundError, NotADirectoryError), tree.folder(*folders) as here:
        yield from _walk(here, start, prefix.encode(), start_after.encode())


def _walk(here: int, start: bytes, prefix: bytes, after: bytes) -> Iterator[ObjectInfo]:
    for path, entry in _read_folder(here, start, prefix, after):
        with suppress(FileNotFoundError):  # deleted while we looked
            if path.endswith(b"/"):
                yield from _descend(here, entry, path, prefix, after)
            else:
                yield describe(path.decode(), entry.stat(follow_symlinks=False))


def _descend(
    here: int, entry: os.DirEntry[str], path: bytes, prefix: bytes, after: bytes
) -> Iterator[ObjectInfo]:
    deeper = os.open(entry.name, _FOLDER, dir_fd=here)
    try:
        yield from _walk(deeper, path, prefix, after)
    finally:
        os.close(deeper)


def _read_folder(
    here: int, start: bytes, prefix: bytes, after: bytes
) -> list[tuple[bytes, os.DirEntry[str]]]:
    """Return the files and folders that may hold wanted keys, in order."""
    found: list[tuple[bytes, os.DirEntry[str]]] = []
    with os.scandir(here) as entries:
        for entry in entries:
            path = _path(start, entry)
            if path is not None and _is_wanted(path, prefix, after):
                found.append((path, entry))
    found.sort(key=lambda pair: pair[0])
    return found


def _path(start: bytes, entry: os.DirEntry[str]) -> bytes | None:
    """Return the key, with a slash behind a folder's; None for what is no object of ours."""
    try:
        name = entry.name.encode()
    except UnicodeEncodeError:
        return None
    if not start and entry.name == TEMP:
        return None
    if entry.is_dir(follow_symlinks=False):
        return start + name + b"/"
    return start + name if entry.is_file(follow_symlinks=False) else None


def _is_wanted(path: bytes, prefix: bytes, after: bytes) -> bool:
    if path.endswith(b"/"):
        reaches = path.startswith(prefix) or prefix.startswith(path)
        return reaches and (path > after or after.startswith(path))
    return path.startswith(prefix) and path > after
