"""The Hub's read API: which question a request is, and who answers it.

One catch-all application: a path is read by `paths`, what it names is found by `lookup`, the
values come from `actions`, and finished answers are kept by `answers`. Nothing here waits on the
event loop. What a caller may not see is not there, in every question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from sync_daemon.domain.errors import InvalidName, SyncError
from sync_daemon.domain.manifest import FileEntry
from sync_daemon.domain.names import ModelName
from sync_daemon.gateway.hub import catalog, values
from sync_daemon.gateway.hub.actions import ACTIONS, Made, paths_info
from sync_daemon.gateway.hub.answers import Answer, Answers, caching, make_answer, render
from sync_daemon.gateway.published.library import Library
from sync_daemon.gateway.published.lookup import Found, Lookup
from sync_daemon.gateway.published.shelf import Repository, Shelf, Snapshot
from sync_daemon.gateway.request import errors
from sync_daemon.gateway.request.body import read_body
from sync_daemon.gateway.request.callers import Caller
from sync_daemon.gateway.request.errors import HubError
from sync_daemon.gateway.request.paths import KINDS, Target, decode, read_api, read_file
from sync_daemon.gateway.request.questions import Question, make_cursor, read_number

NOBODY = Caller()
"""Who came through no door: such a caller sees nothing."""

_READING = frozenset({"GET", "HEAD"})
_WHOAMI = b"/api/whoami-v2"
_HARMLESS: Mapping[str, Any] = MappingProxyType(
    {
        "agent-harnesses": {"standardEnvVars": [], "harnesses": {}},
        "models-tags-by-type": {},
        "datasets-tags-by-type": {},
        "telemetry": {},
    }
)
"""What clients ask besides, and the answer that means nothing to them."""


class AnswersFiles(Protocol):
    """Whoever gives the bytes of a file."""

    async def answer(
        self, request: Request, snapshot: Snapshot, entry: FileEntry, *, by_commit: bool
    ) -> Response:
        """Answer a GET or a HEAD. Raises HubError."""


class Routes:
    """The application behind the door; `otherwise` answers what is no path of the Hub's API."""

    def __init__(
        self,
        library: Library,
        files: AnswersFiles,
        *,
        public_url: str | None = None,
        otherwise: ASGIApp | None = None,
    ) -> None:
        self._library = library
        self._lookup = Lookup(library)
        self._files = files
        self._public_url = public_url
        self._otherwise = otherwise
        self._answers = Answers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            answer = await self._answer(scope, receive)
        except HubError as error:
            answer = errors.answer_error(error)
        except SyncError:
            answer = errors.answer_error(errors.store_trouble())
        except UnicodeDecodeError:  # of the path: nothing has such a name
            answer = errors.answer_error(errors.unknown_page())
        await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> ASGIApp:
        caller = scope.get("state", {}).get("caller", NOBODY)
        question = Question(scope, caller, self._public_url)
        shelf = self._library.shelf
        if question.method not in _READING:
            return await self._post(shelf, question, receive)
        if question.path == _WHOAMI:  # of one caller alone, so it is not kept
            return _show(_who(caller), question)
        key = question.key
        kept = self._answers.find(shelf, key)
        if kept is None:
            made = await self._make(shelf, question, receive)
            if not isinstance(made, Answer):
                return made
            self._answers.keep(shelf, key, made)
            kept = made
        return kept.unless(question.known_tag)

    async def _make(self, shelf: Shelf, question: Question, receive: Receive) -> ASGIApp:
        segments = question.segments
        if segments[0] == "api":
            if (answer := await self._special(shelf, question)) is not None:
                return answer
            targets = read_api(segments[1:])
        else:
            targets = read_file(segments)
        if not targets:
            return self._elsewhere()
        found = self._lookup.find(shelf, question.caller, targets, question.raw_query)
        if found.target.action == "resolve":
            return await self._file(found, question, receive)
        action = ACTIONS.get(found.target.action)
        if action is None:
            raise _unavailable(found.target)
        made = await action(self._lookup, found, question)
        if made.long:
            return await self._lookup.make(_show, made, question, by_commit=found.by_commit)
        return _show(made, question, by_commit=found.by_commit)

    def _elsewhere(self) -> ASGIApp:
        if self._otherwise is None:
            raise errors.unknown_page()
        return self._otherwise

    async def _file(self, found: Found, question: Question, receive: Receive) -> Response:
        snapshot = await self._lookup.snapshot(found)
        path = found.target.path
        if (entry := snapshot.find(path)) is None:
            raise errors.entry_not_found(path, snapshot.edition.commit)
        request = Request(question.scope, receive)
        return await self._files.answer(request, snapshot, entry, by_commit=found.by_commit)

    # -- what is asked of no repository ----------------------------------------------------

    async def _special(self, shelf: Shelf, question: Question) -> Answer | None:
        match question.segments[1:]:
            case [kind] if kind in KINDS:
                return _show(_list(shelf, KINDS[kind], question), question)
            case ["mirror", "manifests", *model, revision] if model:
                return await self._manifest(shelf, question, model, revision)
            case [name, *_] if name in _HARMLESS:
                return _show(Made(_HARMLESS[name]), question)
        return None

    async def _manifest(
        self, shelf: Shelf, question: Question, model: Sequence[str], revision: str
    ) -> Answer:
        """Answer with the very bytes of a manifest, for clients that verify everything."""
        target = Target("model", "/".join(map(decode, model)), "manifest", decode(revision))
        found = Found(target, _own(shelf, question.caller, target.name))
        edition = await self._lookup.edition(found)
        body = await self._lookup.manifest(edition, found.revision)
        more = (("X-Manifest-Sha256", edition.manifest), ("X-Repo-Commit", edition.commit))
        keep = caching(known=question.caller.known, by_commit=found.by_commit)
        return make_answer(body, caching=keep, etag=edition.manifest, more=more)

    # -- what comes with a body ------------------------------------------------------------

    async def _post(self, shelf: Shelf, question: Question, receive: Receive) -> ASGIApp:
        segments = question.segments
        if question.method != "POST" or segments[0] != "api":
            raise errors.not_allowed()
        targets = [one for one in read_api(segments[1:]) if one.action == "paths-info"]
        if not targets:
            raise errors.not_allowed()
        found = self._lookup.find(shelf, question.caller, targets, question.raw_query)
        body = await read_body(receive)
        made = await paths_info(self._lookup, found, question, body)
        return make_answer(render(made.value), caching="no-store", more=made.headers)


def _own(shelf: Shelf, caller: Caller, name: str) -> Repository:
    """Return the repository that a model of this mirror is by itself. Raises HubError."""
    try:
        model = shelf.models.get(ModelName(name))
    except InvalidName:
        model = None
    if model is None or not caller.may_read(model.name):
        raise errors.repo_not_found(caller)
    return Repository(model.newest.source.repo_type, name, (model,))


def _who(caller: Caller) -> Made:
    if caller.name is None:
        raise HubError(401, None, "Invalid username or password.", {"WWW-Authenticate": "Bearer"})
    return Made(values.who(caller.name))


def _list(shelf: Shelf, kind: str, question: Question) -> Made:
    search = catalog.Search(
        words=question.one("search"),
        author=question.one("author"),
        tags=question.all("filter"),
        sort=question.one("sort"),
        ascending=question.one("direction", "-1") == "1",
    )
    found = catalog.find(shelf, kind, question.caller.may_read, search)
    start, count = read_number(question.cursor(), 0), question.limit()
    more = (
        question.link(cursor=make_cursor(f"{start + count}")) if len(found) > start + count else ()
    )
    items = [one.to_json() for one in found[start : start + count]]
    if wanted := question.all("expand"):
        items = [{key: one[key] for key in one if key in {"_id", "id", *wanted}} for one in items]
    return Made(items, more)


def _show(made: Made, question: Question, *, by_commit: bool = False) -> Answer:
    keep = caching(known=question.caller.known, by_commit=by_commit)
    return make_answer(render(made.value), caching=keep, more=made.headers)


def _unavailable(target: Target) -> HubError:
    if target.action == "paths-info":
        return HubError(405, None, "Send the paths with POST", {"Allow": "POST"})
    return HubError(404, None, "This mirror does not offer that; it serves files over plain HTTP")
