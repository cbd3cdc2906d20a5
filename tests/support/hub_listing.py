"""Tree items of the Hub double: files and folders of one commit as the Hub's JSON shows them.

Items carry `oid` (git id; of the pointer when the file is large), `lfs` with oid, size and
pointerSize, and `xetHash` when the Hub double plays an Xet one.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .hub_repo import Blob, Commit, Repo

Item = dict[str, Any]


def list_folder(commit: Commit, folder: str, *, recursive: bool, xet: bool) -> list[Item] | None:
    """Return the items below a folder ("" is the root) by path; None when there is none."""
    prefix = f"{folder}/" if folder else ""
    files = {path: blob for path, blob in commit.files.items() if path.startswith(prefix)}
    if folder and not files:
        return None
    items = [folder_item(commit, path) for path in folders_of(files) if path.startswith(prefix)]
    items += [file_item(path, blob, xet=xet) for path, blob in files.items()]
    items += [dict(extra) for extra in commit.extra if _is_below(extra, prefix)]
    if not recursive:
        items = [item for item in items if "/" not in str(item.get("path", ""))[len(prefix) :]]
    return sorted(items, key=lambda item: str(item.get("path", "")))


def list_paths(commit: Commit, paths: Iterable[str], *, xet: bool) -> Iterator[Item]:
    """Yield the items of these paths, leaving out those that are not there."""
    folders = folders_of(commit.files)
    for path in paths:
        if path in commit.files:
            yield file_item(path, commit.files[path], xet=xet)
        elif path in folders:
            yield folder_item(commit, path)
        else:
            yield from (dict(extra) for extra in commit.extra if extra.get("path") == path)


def file_item(path: str, blob: Blob, *, xet: bool) -> Item:
    """Return the item of a file."""
    item: Item = {"type": "file", "oid": blob.oid, "size": blob.size, "path": path}
    if not blob.lfs:
        return item
    item["lfs"] = {"oid": blob.sha256, "size": blob.size, "pointerSize": len(blob.pointer)}
    if xet:
        item["xetHash"] = blob.xet_hash
    return item


def folder_item(commit: Commit, path: str) -> Item:
    """Return the item of a folder; its git id changes with every commit."""
    text = f"tree {commit.sha} {path}".encode("utf-8", "surrogatepass")
    oid = hashlib.sha1(text, usedforsecurity=False).hexdigest()
    return {"type": "directory", "oid": oid, "size": 0, "path": path}


def expand_item(item: Item, repo: Repo, commit: Commit) -> Item:
    """Return the item with the last commit and, for a file, what the scanners said."""
    last = {"id": commit.sha, "title": commit.message, "date": commit.date}
    if item.get("type") != "file":
        return {**item, "lastCommit": last}
    level = repo.unsafe_files.get(str(item["path"]), "safe")
    scan = {"status": level, "message": "", "reportLink": "", "reportLabel": ""}
    security = {
        "status": level,
        "avScan": {"status": level, "virusFound": level == "unsafe", "virusNames": []},
        "pickleImportScan": {"status": level, "pickleImports": []},
        "jFrogScan": scan,
        "protectAiScan": scan,
    }
    return {**item, "lastCommit": last, "securityFileStatus": security}


def folders_of(paths: Iterable[str]) -> set[str]:
    """Return every folder that these paths need."""
    found: set[str] = set()
    for path in paths:
        at = path.rfind("/")
        while at > 0 and path[:at] not in found:
            found.add(path[:at])
            at = path.rfind("/", 0, at)
    return found


def _is_below(extra: Any, prefix: str) -> bool:
    return str(extra.get("path", "")).startswith(prefix)
