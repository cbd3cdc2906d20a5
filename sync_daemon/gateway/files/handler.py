"""Answers for one file: its head, its bytes, or a link to the bucket.

A HEAD is always answered from memory: the link of a GET is none for a HEAD, and a client that
learns the bucket's address from the HEAD never comes back here, not even when the link has ended
(huggingface_hub). So only a GET is redirected, and each one, resumed or not, gets a link of its
own, whatever the client thinks of other ports of the same host.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from sync_daemon.config import Settings
from sync_daemon.domain import keys
from sync_daemon.domain.errors import StoreRefused, StoreUnavailable, SyncError
from sync_daemon.domain.events import Event, FileCut, FileUnusable
from sync_daemon.domain.manifest import FileEntry
from sync_daemon.gateway.files.agents import LARGEST_ANNOUNCED, parse_agent
from sync_daemon.gateway.files.blobs import LARGEST_SMALL, Blobs, WrongBlob
from sync_daemon.gateway.files.headers import (
    NO_STORE,
    VARY,
    RawHeaders,
    describe,
    keep,
    show,
)
from sync_daemon.gateway.files.links import Links
from sync_daemon.gateway.files.ranges import Span, holds_tag, parse_range
from sync_daemon.gateway.files.streaming import Answer, StreamedAnswer
from sync_daemon.gateway.published.shelf import Edition, Snapshot
from sync_daemon.gateway.request.errors import HubError
from sync_daemon.ports import Emit, ObjectStore

RETRY_AFTER = 5
"""Seconds after which a client may ask again for what the store did not give."""

T = TypeVar("T")


def ignore(event: Event, /) -> None:
    """Listen to nothing."""


class Files:
    """Answers requests for the files of one store. `emit` hears of files that cannot be given.

    `largest_announced` is what huggingface_hub takes of a file whose size it knows, in bytes.
    """

    def __init__(
        self,
        store: ObjectStore,
        settings: Settings,
        *,
        emit: Emit = ignore,
        largest_announced: int = LARGEST_ANNOUNCED,
    ) -> None:
        self._blobs = Blobs(store)
        self._links = Links(store, settings)
        self._emit = emit
        self._largest_announced = largest_announced

    async def answer(
        self, request: Request, snapshot: Snapshot, entry: FileEntry, *, by_commit: bool
    ) -> Response:
        """Answer a GET or a HEAD of one file. `by_commit`: the URL names a full commit.

        Raises HubError for a range that is not there (416), an If-Match that does not hold
        (412), a client that is too old for the file (403) and a store that fails (500, 503).
        """
        agent = parse_agent(request.headers.get("user-agent"))
        huge, is_head = entry.size > self._largest_announced, request.method == "HEAD"
        if huge and agent.limits_size and agent.needs_size:
            raise _too_old()
        sized = not huge or (is_head and not agent.limits_size)
        ids = describe(entry, snapshot.edition.commit, sized=sized)
        known = request.state.caller.known
        kept = keep(known=known, by_commit=by_commit, by_agent=huge and is_head)
        if _has_it(request, entry):
            return Answer(304, ids + kept)
        if is_head:
            extent = _extent(Span(0, entry.size), entry) if sized else []
            return Answer(200, ids + show(entry.path) + kept + extent)
        span = _find_span(request, entry)
        served = _Served(self._emit, snapshot.edition, entry)
        if self._links.fits(request, agent, span.length):
            url = await served.expect(to_thread.run_sync(self._links.make, entry))
            return _redirect(url, ids)
        headers = ids + show(entry.path) + kept + _extent(span, entry)
        return await self._send(served, span, headers)

    async def _send(self, served: _Served, span: Span, headers: RawHeaders) -> Response:
        status, entry = 206 if span.partial else 200, served.entry
        if entry.size <= LARGEST_SMALL:
            data = await served.expect(self._blobs.read_small(entry))
            return Answer(status, headers, data[span.start : span.stop])
        opened = await served.expect(self._blobs.open(entry, span))
        return StreamedAnswer(
            status,
            headers,
            opened.source,
            first=opened.first,
            length=span.length,
            cut=served.tell_cut,
        )


@dataclass(frozen=True, slots=True)
class _Served:
    """A file that is given out, and who hears when that fails."""

    emit: Emit
    edition: Edition
    entry: FileEntry

    async def expect(self, work: Awaitable[T]) -> T:
        """Return what `work` does; turn its failure into an answer."""
        try:
            return await work
        except FileNotFoundError:
            self._tell("it is missing")
        except WrongBlob as error:
            self._tell(str(error))
        except (StoreUnavailable, StoreRefused) as error:
            self._tell(str(error))
            again = {"Retry-After": str(RETRY_AFTER)}
            raise HubError(503, None, "The mirror's store does not answer", again) from error
        except SyncError as error:
            self._tell(str(error))
        message = "The mirror cannot read this file; its operator finds the reason in the log"
        raise HubError(500, None, message)

    def tell_cut(self, sent: int, error: Exception | None) -> None:
        """Say that an answer ended after `sent` bytes."""
        one, text = self.edition, "the object ends here" if error is None else str(error)
        self.emit(FileCut(one.model, one.version, self.entry.path, sent, text))

    def _tell(self, problem: str) -> None:
        one, key = self.edition, keys.blob(self.entry.sha256)
        self.emit(FileUnusable(one.model, one.version, self.entry.path, key, problem))


def _has_it(request: Request, entry: FileEntry) -> bool:
    """Tell whether the client says that it has the file. Raises HubError when it has another."""
    etag = f'"{entry.hub_id}"'
    if (wanted := request.headers.get("if-match")) and not holds_tag(wanted, etag, weak=False):
        raise HubError(412, None, "The file has another ETag")
    held = request.headers.get("if-none-match")
    return bool(held) and holds_tag(held or "", etag, weak=True)


def _find_span(request: Request, entry: FileEntry) -> Span:
    etag, wanted = f'"{entry.hub_id}"', request.headers.get("if-range")
    if wanted and not holds_tag(wanted, etag, weak=False):
        return Span(0, entry.size)
    span = parse_range(request.headers.get("range"), entry.size)
    if span is None:
        extent = {"Content-Range": f"bytes */{entry.size}", "Accept-Ranges": "bytes"}
        raise HubError(416, None, "The file has no such bytes", extent)
    return span


def _extent(span: Span, entry: FileEntry) -> RawHeaders:
    length = (b"content-length", b"%d" % span.length)
    if not span.partial:
        return [length]
    return [length, (b"content-range", b"bytes %d-%d/%d" % (span.start, span.stop - 1, entry.size))]


def _redirect(url: str, ids: RawHeaders) -> Response:
    kept = [NO_STORE, VARY, (b"content-length", b"0"), (b"location", url.encode())]
    return Answer(302, [*ids, *kept])


def _too_old() -> HubError:
    """A refusal whose message these clients show: any other is "check your connection"."""
    return HubError(
        403,
        "GatedRepo",
        "huggingface_hub before 1.31 cannot load a file of more than 50 GB from a mirror: "
        "use `sync-daemon pull`, or upgrade huggingface_hub",
    )
