"""What can be asked of a repository: each question's answer, made of what is published."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from types import MappingProxyType
from typing import Any

from sync_daemon.gateway.hub import values
from sync_daemon.gateway.published.lookup import Found, Lookup
from sync_daemon.gateway.published.shelf import Snapshot
from sync_daemon.gateway.request import errors
from sync_daemon.gateway.request.errors import HubError
from sync_daemon.gateway.request.questions import Question, is_yes, make_cursor, read_form

MANY = 2_000
"""Files from which on a thread lists them."""

Headers = tuple[tuple[str, str], ...]
Action = Callable[[Lookup, Found, Question], Awaitable["Made"]]


@dataclass(frozen=True, slots=True)
class Made:
    """What an answer holds, to be rendered as JSON, and headers of its own.

    `long`: so much that others would wait too long if the event loop rendered it.
    """

    value: Any
    headers: Headers = ()
    long: bool = False


async def info(lookup: Lookup, found: Found, question: Question) -> Made:
    """Describe a repository at a revision; with `expand` only the fields that are named."""
    edition = await lookup.edition(found)
    wanted, long = question.all("expand"), False
    value = values.describe(found.repository, edition, found.repository.name)
    if not wanted or "siblings" in wanted:
        blobs = question.says("blobs") or question.says("files_metadata")
        snapshot = await lookup.snapshot(found, edition)
        long = len(snapshot.files) > MANY
        list_files = partial(values.siblings, snapshot, blobs=blobs)
        value["siblings"] = await lookup.make(list_files) if long else list_files()
    if question.says("securityStatus"):
        value["securityRepoStatus"] = values.NO_SCAN
    if wanted:
        value = {key: value[key] for key in value if key in {"_id", "id", *wanted}}
    return Made(value, long=long)


async def tree(lookup: Lookup, found: Found, question: Question) -> Made:
    """List the files and folders below a folder, in pages."""
    snapshot = await lookup.snapshot(found)
    folder, commit = found.target.path, snapshot.edition.commit
    if not values.has_folder(snapshot, folder):
        raise errors.entry_not_found(folder, commit)
    count, after = question.limit(), question.cursor()
    paths = values.walk(snapshot, folder, after, recursive=question.says("recursive"))
    page = list(islice(paths, count + 1))
    more = question.link(cursor=make_cursor(page[count - 1])) if len(page) > count else ()
    expand = question.says("expand")
    items = [values.tree_item(snapshot, path, expand=expand) for path in page[:count]]
    return Made(items, (("X-Repo-Commit", commit), *more))


async def treesize(lookup: Lookup, found: Found, question: Question) -> Made:
    """Count the bytes below a folder."""
    del question
    snapshot, path = await lookup.snapshot(found), found.target.path
    _check_path(snapshot, path)
    return Made({"path": f"/{path}", "size": values.folder_size(snapshot, path)})


async def refs(lookup: Lookup, found: Found, question: Question) -> Made:
    """List branches and tags."""
    del lookup, question
    return Made(values.refs(found.repository))


async def commits(lookup: Lookup, found: Found, question: Question) -> Made:
    """List what a version was, the newest first, in pages that are numbered."""
    edition = await lookup.edition(found)
    count, number = question.limit(), question.page()
    items = values.commits(await lookup.history(edition))
    start, stop = number * count, (number + 1) * count
    more = question.link(p=str(number + 1)) if len(items) > stop else ()
    return Made(items[start:stop], (("X-Total-Count", str(len(items))), *more))


async def auth_check(lookup: Lookup, found: Found, question: Question) -> Made:
    """Say that the caller may read the repository: otherwise it was not found."""
    del lookup, found, question
    return Made({"ok": True})


async def discussions(lookup: Lookup, found: Found, question: Question) -> Made:
    """There are none. Asked by transformers where a repository has no safetensors."""
    del lookup, found, question
    return Made({"discussions": [], "count": 0, "start": 0, "numClosedDiscussions": 0})


async def paths_info(lookup: Lookup, found: Found, question: Question, body: bytes) -> Made:
    """Describe the files and folders that a body names; those that are not there are left out."""
    paths, expand = _read_paths(question, body)
    snapshot = await lookup.snapshot(found)
    there = (path for path in paths if path and _has(snapshot, path))
    return Made([values.tree_item(snapshot, path, expand=expand) for path in there])


ACTIONS: Mapping[str, Action] = MappingProxyType(
    {
        "info": info,
        "revision": info,
        "tree": tree,
        "treesize": treesize,
        "refs": refs,
        "commits": commits,
        "auth-check": auth_check,
        "discussions": discussions,
    }
)
"""What a GET of a repository may ask, besides its files."""


def _read_paths(question: Question, body: bytes) -> tuple[tuple[str, ...], bool]:
    """Return paths without final slashes, and whether to expand. Raises HubError 400."""
    if b"json" not in question.header(b"content-type"):
        form = read_form(body, most=None)
        paths = [value for key, value in form if key in {"paths", "paths[]"}]
        expand = any(is_yes(value) for key, value in form if key == "expand")
    else:
        try:
            raw = json.loads(body)
            named = raw["paths"]
            paths = [str(one) for one in ([named] if isinstance(named, str) else list(named))]
            expand = raw.get("expand") is True
        except (ValueError, KeyError, TypeError, RecursionError):
            raise HubError(400, None, 'Send {"paths": ["a", "b"]}, or a form') from None
    return tuple(dict.fromkeys(path.rstrip("/") for path in paths)), expand


def _has(snapshot: Snapshot, path: str) -> bool:
    return snapshot.find(path) is not None or values.has_folder(snapshot, path)


def _check_path(snapshot: Snapshot, path: str) -> None:
    if not _has(snapshot, path):
        raise errors.entry_not_found(path, snapshot.edition.commit)
