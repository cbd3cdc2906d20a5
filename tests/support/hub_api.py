"""The JSON API of the Hub double: info, refs, tree, paths-info, commits, whoami.

Paths are split before they are decoded, so that a slash inside a name (%2F) stays one.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlencode

from .hub_listing import expand_item, list_folder, list_paths
from .hub_state import KINDS, HubState, Refused, json_answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .hub_listing import Item
    from .hub_message import Answer, Request
    from .hub_repo import Blob, Commit, Repo

Query = dict[str, list[str]]
CACHED_LISTINGS = 64


class Api:
    """Answers everything below /api/."""

    def __init__(self, state: HubState) -> None:
        self._state = state
        self._listings: dict[tuple[object, ...], list[Item] | None] = {}

    def answer(self, request: Request, segments: Sequence[str]) -> Answer:
        """Answer a request whose raw path segments after /api/ are these."""
        if segments[0] == "whoami-v2":
            return self._whoami(request)
        kind = KINDS.get(segments[0])
        if kind is None:
            raise Refused(404, "", "Sorry, we can't find the page you are looking for.")
        if len(segments) == 1:
            return self._search(kind)
        name, found, rest = self._state.split_name(kind, segments[1:])
        repo = self._state.admit(request, found, name)
        return self._route(request, repo, rest)

    def _route(self, request: Request, repo: Repo, rest: list[str]) -> Answer:
        query = parse_qs(request.query, keep_blank_values=True)
        if not rest:
            return self._info(repo, self._state.revision(repo, "main"), query)
        if rest[0] == "auth-check":
            self._state.admit_files(request, repo)
            return json_answer({})
        if rest[0] == "refs":
            return _refs(repo, query)
        if rest[0] == "revision":
            revision, _ = split_revision(rest[1:])
            return self._info(repo, self._state.revision(repo, revision), query)
        return self._list(request, repo, rest)

    def _list(self, request: Request, repo: Repo, rest: list[str]) -> Answer:
        verb, revision, below = rest[0], *split_revision(rest[1:])
        if verb not in ("tree", "paths-info", "commits"):
            raise Refused(404, "", f"no such call: {verb}")
        if self._state.gated_listing:
            self._state.admit_files(request, repo)
        commit = self._state.revision(repo, revision)
        if verb == "tree":
            return self._tree(request, repo, commit, below)
        if verb == "paths-info":
            return self._paths_info(request, repo, commit)
        return self._commits(request, repo, commit)

    def _whoami(self, request: Request) -> Answer:
        if self._state.token(request) is None:
            raise Refused(401, "", "Invalid username or password.")
        name = self._state.user
        access = {"displayName": "test", "role": "read"}
        who = {"type": "user", "id": "0" * 24, "name": name, "fullname": name, "orgs": []}
        return json_answer({**who, "auth": {"type": "access_token", "accessToken": access}})

    def _search(self, kind: str) -> Answer:
        shown = [repo for repo in self._state.repos if repo.kind == kind and not repo.private]
        return json_answer([{"id": repo.name, "private": False} for repo in shown])

    def _info(self, repo: Repo, commit: Commit, query: Query) -> Answer:
        wanted = query.get("expand", []) + query.get("expand[]", [])
        with_blobs = query.get("blobs") == ["true"]
        facts = _facts(repo, commit)
        facts["siblings"] = [
            _sibling(path, blob, with_blobs=with_blobs)
            for path, blob in sorted(commit.files.items())
        ]
        facts["siblings"] += [{"rfilename": extra.get("path")} for extra in commit.extra]
        if query.get("securityStatus") == ["true"] or "securityRepoStatus" in wanted:
            facts["securityRepoStatus"] = _security(repo)
        if wanted:
            facts = {key: facts[key] for key in ("_id", "id", *wanted) if key in facts}
        return json_answer(facts)

    def _tree(self, request: Request, repo: Repo, commit: Commit, below: list[str]) -> Answer:
        folder = "/".join(unquote(part) for part in below).strip("/")
        query = parse_qs(request.query, keep_blank_values=True)
        recursive, expand = (query.get(key) == ["true"] for key in ("recursive", "expand"))
        items = self._listing(commit, folder, recursive=recursive)
        if items is None:
            where = (("X-Repo-Commit", commit.sha),)
            raise Refused(404, "EntryNotFound", f"{folder} does not exist", where)
        page = self._state.expand_page_size if expand else self._state.page_size
        start, stop = _page(query, page)
        shown = items[start:stop]
        if expand:
            shown = [expand_item(item, repo, commit) for item in shown]
        headers = self._link(request, stop) if stop < len(items) else ()
        return json_answer(shown, headers=headers)

    def _listing(self, commit: Commit, folder: str, *, recursive: bool) -> list[Item] | None:
        xet = self._state.xet
        key = (commit.sha, len(commit.extra), folder, recursive, xet)
        if key not in self._listings:
            if len(self._listings) >= CACHED_LISTINGS:
                self._listings.clear()
            self._listings[key] = list_folder(commit, folder, recursive=recursive, xet=xet)
        return self._listings[key]

    def _paths_info(self, request: Request, repo: Repo, commit: Commit) -> Answer:
        if request.method != "POST":
            raise Refused(405, "", "use POST")
        asked = _form(request)
        items = list(list_paths(commit, asked.get("paths", []), xet=self._state.xet))
        if asked.get("expand", [""])[0].lower() == "true":
            items = [expand_item(item, repo, commit) for item in items]
        return json_answer(items)

    def _commits(self, request: Request, repo: Repo, commit: Commit) -> Answer:
        query = parse_qs(request.query, keep_blank_values=True)
        start, stop = _page(query, self._state.page_size)
        history = repo.history(commit)
        shown = [
            {
                "id": one.sha,
                "title": one.message,
                "message": "",
                "date": one.date,
                "authors": [{"user": self._state.user}],
            }
            for one in history[start:stop]
        ]
        return json_answer(shown, headers=self._link(request, stop) if stop < len(history) else ())

    def _link(self, request: Request, position: int) -> tuple[tuple[str, str], ...]:
        """Return the Link header to the next page: absolute, with all parameters."""
        query = parse_qs(request.query, keep_blank_values=True)
        query["cursor"] = [base64.urlsafe_b64encode(f"at:{position}".encode()).decode()]
        host = request.headers.get("host", "")
        url = f"http://{host}{request.path}?{urlencode(query, doseq=True)}"
        return (("Link", f'<{url}>; rel="next"'),)


def split_revision(segments: list[str]) -> tuple[str, list[str]]:
    """Split raw segments into a decoded revision and the rest; refs/pr/1 may come unquoted."""
    if segments[:1] == ["refs"] and len(segments) > 2:
        return "/".join(unquote(part) for part in segments[:3]), segments[3:]
    return unquote(segments[0]) if segments else "main", segments[1:]


def _facts(repo: Repo, commit: Commit) -> dict[str, Any]:
    licences = commit.card.get("license") or []
    licences = [licences] if isinstance(licences, str) else licences
    facts: dict[str, Any] = {
        "_id": hashlib.sha1(repo.origin_name.encode(), usedforsecurity=False).hexdigest()[:24],
        "id": repo.name,
        "author": repo.name.partition("/")[0],
        "sha": commit.sha,
        "lastModified": commit.date,
        "createdAt": commit.date,
        "private": repo.private,
        "gated": repo.gated,
        "disabled": repo.disabled,
        "downloads": 0,
        "likes": 0,
        "tags": [*repo.tags, *(f"license:{one}" for one in licences)],
        "cardData": dict(commit.card),
        "usedStorage": sum(blob.size for blob in commit.files.values()),
    }
    if repo.kind == "model":
        facts["modelId"] = repo.name
    return facts


def _sibling(path: str, blob: Blob, *, with_blobs: bool) -> Item:
    if not with_blobs:
        return {"rfilename": path}
    sibling: Item = {"rfilename": path, "size": blob.size, "blobId": blob.oid}
    if blob.lfs:
        pointer = len(blob.pointer)
        sibling["lfs"] = {"sha256": blob.sha256, "size": blob.size, "pointerSize": pointer}
    return sibling


def _security(repo: Repo) -> dict[str, Any]:
    issues = [{"path": path, "level": level} for path, level in sorted(repo.unsafe_files.items())]
    return {"scansDone": True, "filesWithIssues": issues}


def _refs(repo: Repo, query: Query) -> Answer:
    def named(prefix: str) -> list[dict[str, str]]:
        return [
            {"name": ref.removeprefix(prefix), "ref": ref, "targetCommit": commit}
            for ref, commit in sorted(repo.refs.items())
            if ref.startswith(prefix)
        ]

    refs = {
        "branches": named("refs/heads/"),
        "converts": named("refs/convert/"),
        "tags": named("refs/tags/"),
    }
    if query.get("include_prs", [""])[0] in ("1", "true"):
        refs["pullRequests"] = named("refs/pr/")
    return json_answer(refs)


def _page(query: Query, size: int) -> tuple[int, int]:
    """Return first and last item of the page that is asked for; `limit` may only lower it."""
    try:
        size = min(size, int(query.get("limit", [str(size)])[0]))
        cursor = query.get("cursor", [""])[0]
        start = int(base64.urlsafe_b64decode(cursor).removeprefix(b"at:")) if cursor else 0
    except ValueError as error:
        raise Refused(400, "", "limit or cursor makes no sense") from error
    return start, start + size


def _form(request: Request) -> Query:
    """Return the form or JSON body of a POST as lists of text."""
    if "json" not in request.headers.get("content-type", ""):
        return parse_qs(request.body.decode(), keep_blank_values=True)
    asked = json.loads(request.body)
    paths = asked.get("paths", [])
    listed = [paths] if isinstance(paths, str) else list(paths)
    return {"paths": listed, "expand": [str(asked.get("expand", False))]}


def quote_path(path: str) -> str:
    """Return a file path as it stands in an address; slashes stay."""
    return quote(path, errors="surrogatepass")
