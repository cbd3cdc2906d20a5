"""The pages: `/` lists every model that its reader may see, `/MODEL` shows one of them.

Everything is written by the server: no script runs, no other host is asked, and the policy that
goes along forbids both. Addresses are those of the Hub: `/NAME`, `/NAME/tree/REVISION`,
`/datasets/NAME`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from importlib.resources import files
from typing import Any

from anyio import move_on_after, to_thread
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from sync_daemon import __version__
from sync_daemon.domain.errors import InvalidName
from sync_daemon.domain.names import ModelName
from sync_daemon.domain.words import exact_size, human_age, human_size, plural
from sync_daemon.gateway.pages.commands import Place, recipes
from sync_daemon.gateway.pages.overview import Collector, Overview, last_words
from sync_daemon.gateway.published.library import Library
from sync_daemon.gateway.published.lookup import Lookup
from sync_daemon.gateway.published.shelf import Edition
from sync_daemon.gateway.request.callers import Caller
from sync_daemon.gateway.request.errors import HubError
from sync_daemon.gateway.request.paths import STYLE, Target, read_page
from sync_daemon.gateway.request.questions import Question
from sync_daemon.ports import Clock

MOST_FILES = 5_000
"""Rows of a table of files; a page with more is of no use, `sync-daemon show` has them all."""

LONGEST_WAIT = 2.0
"""Seconds that a page waits for what it tells besides the shelf."""

_NOT_FOUND = 404
_SERVER = 500
_POLICY = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'"
_HEADERS = {
    "Content-Security-Policy": f"{_POLICY}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-cache",
    "Vary": "Authorization",
}


class Pages:
    """The application that writes the pages. `places` tells how readers reach an edition.

    `coming` of the collector, and `places`, are what the configuration says; all else is read
    from the store.
    """

    def __init__(
        self,
        library: Library,
        collector: Collector,
        clock: Clock,
        places: Callable[[Edition, str], Place],
        *,
        public_url: str | None = None,
    ) -> None:
        self._library, self._lookup = library, Lookup(library)
        self._collector, self._clock, self._places = collector, clock, places
        self._public_url = public_url
        self._environment = Environment(
            loader=PackageLoader("sync_daemon.gateway.pages"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {"size": human_size, "exact": exact_size, "plural": plural}
        self._style = files("sync_daemon.gateway.pages").joinpath("style.css").read_bytes()
        self._style_tag = f'"{sha256(self._style).hexdigest()[:16]}"'

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        caller = scope.get("state", {}).get("caller", Caller())
        question = Question(scope, caller, self._public_url)
        try:
            page = await self._answer(question)
        except UnicodeDecodeError:  # of the path: nothing has such a name
            page = self._page("error.html", status=_NOT_FOUND)
        except HubError as error:
            page = self._answer_error(error)
        await page(scope, receive, send)

    async def _answer(self, question: Question) -> Response:
        path = question.path.decode("ascii", "replace")
        if path == STYLE:
            return self._answer_style(question)
        if path == "/":
            return await self._index(question)
        return await self._model(question, read_page(question.segments))

    def _answer_error(self, error: HubError) -> Response:
        if (location := error.headers.get("Location")) is not None:
            return RedirectResponse(location, error.status, headers=_HEADERS)
        status = error.status if error.status >= _SERVER else _NOT_FOUND
        return self._page("error.html", status=status)

    def _answer_style(self, question: Question) -> Response:
        headers = {"Cache-Control": "public, max-age=3600", "ETag": self._style_tag}
        if question.known_tag == self._style_tag.encode():
            return Response(status_code=304, headers=headers)
        return Response(self._style, media_type="text/css", headers=headers)

    async def _index(self, question: Question) -> Response:
        caller, shelf = question.caller, self._library.shelf
        overview = await self._overview()
        models = tuple(one for one in shelf.models.values() if caller.may_read(one.name))
        hidden = len(models) != len(shelf.models)
        published = {str(one) for model in models for one in model.editions}
        words = last_words(overview.runs)
        return await self._lookup.make(
            self._page,
            "index.html",
            models=models,
            overview=_limit(overview, caller) if hidden else overview,
            hidden=hidden,
            words=words,
            missing={} if hidden else {n: w for n, w in words.items() if n not in published},
            problems={} if hidden else shelf.problems,
            editions=len(published),
        )

    async def _model(self, question: Question, targets: tuple[Target, ...]) -> Response:
        found = self._lookup.find(self._library.shelf, question.caller, targets)
        snapshot = await self._lookup.snapshot(found)
        overview = await self._overview()
        edition, entries = snapshot.edition, tuple(snapshot.files.values())
        return await self._lookup.make(
            self._page,
            "model.html",
            editions=found.repository.editions,
            edition=edition,
            entries=entries[:MOST_FILES],
            more=max(0, len(entries) - MOST_FILES),
            words=last_words(overview.runs),
            recipes=recipes(edition, self._places(edition, question.public_url)),
        )

    async def _overview(self) -> Overview:
        """Return how things stand, or how they stood when a store that hangs takes too long."""
        with move_on_after(LONGEST_WAIT):
            return await to_thread.run_sync(self._collector.collect, abandon_on_cancel=True)
        return self._collector.last

    def _page(self, template: str, *, status: int = 200, **values: Any) -> Response:
        now = self._clock.now()

        def age(moment: datetime) -> str:
            return human_age(moment, now)

        text = self._environment.get_template(template).render(
            style=STYLE,
            version=__version__,
            now=now,
            age=age,
            address=address,
            status=status,
            **values,
        )
        return HTMLResponse(text, status_code=status, headers=_HEADERS)


def address(kind: str, name: str, version: str | None = None) -> str:
    """Return the path of a page, as the Hub has it."""
    start = "/" if kind == "model" else f"/{kind}s/"
    return f"{start}{name}" + (f"/tree/{version}" if version else "")


def _limit(overview: Overview, caller: Caller) -> Overview:
    """Leave out what a caller must not learn who may see some of the models only."""

    def seen(name: str) -> bool:
        try:
            return caller.may_read(ModelName(name))
        except InvalidName:
            return False

    alerts = tuple(
        one for one in overview.alerts if seen(dict(one.finding.labels).get("model", ""))
    )
    coming = tuple(one for one in overview.coming if not one.model or seen(one.model))
    return replace(overview, runs=(), alerts=alerts, coming=coming, size=0, distinct=0, troubles=())
