"""What the Hub's answers hold, made of what is published: plain values, ready for JSON.

Fields and their meaning: huggingface_hub 2.4 `hf_api.py`, as its classes parse them. There is
never a hint at Xet, which leads clients to servers behind the firewall. A `sha256` is added
to every file, and `mirror` to every repository; other clients pass over them.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from sync_daemon.domain.digests import GitOid
from sync_daemon.domain.manifest import FileEntry
from sync_daemon.gateway.published.shelf import DEFAULT_REVISION, Edition, Repository, Snapshot

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NO_SCAN = {"scansDone": False, "filesWithIssues": []}
Item = dict[str, Any]


# -- repositories ------------------------------------------------------------------------


def describe(repository: Repository, edition: Edition, name: str) -> Item:
    """Return what the Hub says of a repository at a revision, without its files.

    `name` is the id under which it is shown.
    """
    found: Item = {
        "_id": hashlib.sha256(f"{repository.kind}/{name}".encode()).hexdigest()[:24],
        "id": name,
        "author": name.partition("/")[0] if "/" in name else None,
        "sha": edition.commit,
        "lastModified": show_time(edition.published_at),
        "createdAt": show_time(edition.stored_at or edition.published_at),
        "private": False,
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "downloadsAllTime": 0,
        "likes": 0,
        "tags": list(tags_of(edition)),
        "usedStorage": edition.size,
        "cardData": {"license": edition.licence} if edition.licence else {},
        "mirror": {
            "model": edition.model,
            "version": edition.version,
            "manifest": edition.manifest,
            "origin": edition.source.type,
            "repo": edition.source.repo,
            "commit": edition.source.commit,
            "requires": dict(edition.requires),
        },
    }
    if repository.kind == "model":
        found |= {"modelId": name} | _facts(edition)
    return found


def _facts(edition: Edition) -> Item:
    facts, found = edition.facts, Item()
    if facts.architecture:
        found["config"] = {"architectures": [facts.architecture]}
    if facts.dtype and facts.parameters:
        count = facts.parameters
        found["safetensors"] = {"parameters": {facts.dtype: count}, "total": count}
    return found


def tags_of(edition: Edition) -> tuple[str, ...]:
    """Return the tags of a repository: the formats of its files, and its licence."""
    licence = (f"license:{edition.licence}",) if edition.licence else ()
    return (*edition.formats, *licence)


def siblings(snapshot: Snapshot, *, blobs: bool) -> list[Item]:
    """Return all files, with `blobs` their sizes and digests, too."""
    if not blobs:
        return [{"rfilename": path} for path in snapshot.files]
    return [_sibling(entry) for entry in snapshot.files.values()]


def _sibling(entry: FileEntry) -> Item:
    found: Item = {
        "rfilename": entry.path,
        "size": entry.size,
        "blobId": git_oid(entry),
        "sha256": entry.sha256,
    }
    if is_large(entry):
        pointer = len(pointer_text(entry))
        found["lfs"] = {"sha256": entry.sha256, "size": entry.size, "pointerSize": pointer}
    return found


def refs(repository: Repository) -> dict[str, list[Item]]:
    """Return branches and tags: what moves is a branch, every other version a tag."""
    branches: dict[str, str] = {}
    tags: dict[str, str] = {}
    for model in repository.models:
        for edition in model.editions:
            if edition.source.repo_type != repository.kind:
                continue
            moves = edition.pointer is not None and not edition.pointer.pin
            named = branches if moves else tags
            named.setdefault(edition.version.replace("%2F", "/"), edition.commit)
            revision = edition.source.revision
            if revision and revision != edition.source.commit:
                named.setdefault(revision, edition.commit)
        for alias in model.aliases:
            if (found := repository.find(alias)) is not None:
                branches.setdefault(alias, found.commit)
    if (main := repository.find(DEFAULT_REVISION)) is not None:
        branches.setdefault(DEFAULT_REVISION, main.commit)
    return {
        "branches": _refs(branches, "refs/heads/"),
        "converts": [],
        "tags": _refs(tags, "refs/tags/"),
        "pullRequests": [],
    }


def _refs(found: Mapping[str, str], prefix: str) -> list[Item]:
    return [
        {"name": name, "ref": f"{prefix}{name}", "targetCommit": commit}
        for name, commit in sorted(found.items())
    ]


def commits(editions: Iterable[Edition]) -> list[Item]:
    """Return a commit for each edition, in the given order; one that comes twice once."""
    found: dict[str, Item] = {}
    for edition in editions:
        item = {
            "id": edition.commit,
            "title": f"{edition} as mirrored",
            "message": "",
            "authors": [{"user": "sync-daemon"}],
            "date": show_time(edition.published_at),
        }
        found.setdefault(edition.commit, item)
    return list(found.values())


def who(name: str) -> Item:
    """Return what a token's owner is told."""
    return {
        "type": "user",
        "id": hashlib.sha256(name.encode()).hexdigest()[:24],
        "name": name,
        "fullname": name,
        "isPro": False,
        "canPay": False,
        "avatarUrl": "",
        "orgs": [],
        "auth": {"type": "access_token", "accessToken": {"displayName": name, "role": "read"}},
    }


# -- files -------------------------------------------------------------------------------


def is_large(entry: FileEntry) -> bool:
    """Tell whether clients know a file by its SHA-256: of LFS, or where there is no git oid."""
    return entry.hub_id == entry.sha256


def pointer_text(entry: FileEntry) -> bytes:
    """Return what Git LFS keeps in the place of a file.

    Source: the Git LFS specification, "The Pointer".
    """
    head = "version https://git-lfs.github.com/spec/v1"
    return f"{head}\noid sha256:{entry.sha256}\nsize {entry.size}\n".encode()


def git_oid(entry: FileEntry) -> GitOid:
    """Return a file's id in the tree: of the file, or of its pointer if it is large."""
    return entry.git_oid or GitOid.of_blob(pointer_text(entry))


def tree_item(snapshot: Snapshot, path: str, *, expand: bool) -> Item:
    """Return a file or folder as the tree shows it."""
    entry = snapshot.find(path)
    found = _folder(snapshot, path) if entry is None else _file(entry)
    if expand:
        edition = snapshot.edition
        date = show_time(edition.published_at)
        found["lastCommit"] = {"id": edition.commit, "title": f"{edition}", "date": date}
    return found


def _file(entry: FileEntry) -> Item:
    found: Item = {
        "type": "file",
        "oid": git_oid(entry),
        "size": entry.size,
        "path": entry.path,
        "sha256": entry.sha256,
    }
    if is_large(entry):
        pointer = len(pointer_text(entry))
        found["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": pointer}
    return found


def _folder(snapshot: Snapshot, path: str) -> Item:
    name = f"{snapshot.edition.manifest}/{path}".encode()
    oid = hashlib.sha1(name, usedforsecurity=False).hexdigest()
    return {"type": "directory", "oid": oid, "size": 0, "path": path}


def has_folder(snapshot: Snapshot, path: str) -> bool:
    """Tell whether there is a folder at `path`; the root is one."""
    place = bisect_left(snapshot.entries, f"{path}/")
    below = place < len(snapshot.entries) and snapshot.entries[place].startswith(f"{path}/")
    return not path or below


def walk(snapshot: Snapshot, folder: str, after: str, *, recursive: bool) -> Iterator[str]:
    """Yield the paths below `folder` that come after the path `after`, sorted."""
    entries = snapshot.entries
    prefix = f"{folder}/" if folder else ""
    place = bisect_right(entries, max(after, prefix)) if after or prefix else 0
    while place < len(entries) and entries[place].startswith(prefix):
        path = entries[place]
        below, slash, _ = path.removeprefix(prefix).partition("/")
        if recursive or not slash:
            yield path
            place += 1
        else:  # over everything in this folder: '0' comes next after '/'
            place = bisect_left(entries, f"{prefix}{below}0", place)


def folder_size(snapshot: Snapshot, folder: str) -> int:
    """Return the bytes of all files below a folder, or of the file at that path."""
    if (entry := snapshot.find(folder)) is not None:
        return entry.size
    paths = walk(snapshot, folder, "", recursive=True)
    return sum(entry.size for path in paths if (entry := snapshot.find(path)))


def show_time(moment: datetime | None) -> str:
    """Return a time as the Hub writes it; its client reads no other form."""
    return (moment or EPOCH).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
