"""A double of the Hugging Face Hub: a real HTTP server for the real client and for our engine.

    with Hub() as hub:
        repo = hub.repo("org/name")
        commit = repo.commit({"config.json": b"{}", "model.safetensors": Synthetic(1 << 31)})
        repo.tag("v1.0", commit)
        hub.faults.add(Fault("cdn", Reset(100_000), nth=2))
        ...  # talk to hub.endpoint
        assert hub.count("api") == 2

Two servers listen on 127.0.0.1: the Hub, and a CDN on another port that has the large files.
Everything asked of them is in `hub.requests`. Nothing here imports the product or needs a
network.
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote

from .hub_api import Api
from .hub_faults import (
    ChangeEtag,
    Chunked,
    Corrupt,
    Cut,
    Drip,
    DropHeader,
    Effect,
    ExpireAfter,
    Fault,
    Faults,
    Gzip,
    Html,
    IgnoreRange,
    NoLength,
    RedirectLoop,
    RedirectTo,
    ReplaceBody,
    Reset,
    Resize,
    SetHeader,
    Stall,
    Status,
    TruncateList,
    WrongLength,
    WrongRange,
)
from .hub_files import Cdn, Files
from .hub_message import Answer, Request, Seen
from .hub_repo import Bytes, Content, Repo, Stored, Synthetic, synthetic_safetensors
from .hub_state import HubState, Quota, Refused
from .hub_wire import WireServer

if TYPE_CHECKING:
    from types import TracebackType

__all__ = [
    "Bytes",
    "ChangeEtag",
    "Chunked",
    "Content",
    "Corrupt",
    "Cut",
    "Drip",
    "DropHeader",
    "Effect",
    "ExpireAfter",
    "Fault",
    "Gzip",
    "Html",
    "Hub",
    "IgnoreRange",
    "NoLength",
    "Quota",
    "RedirectLoop",
    "RedirectTo",
    "ReplaceBody",
    "Repo",
    "Reset",
    "Resize",
    "Seen",
    "SetHeader",
    "Stall",
    "Status",
    "Stored",
    "Synthetic",
    "TruncateList",
    "WrongLength",
    "WrongRange",
    "synthetic_safetensors",
]

FULL_COMMIT = re.compile(r"[0-9a-f]{40}")
FILE_FOLDERS = {"datasets": "dataset", "spaces": "space"}
LISTINGS = frozenset(("refs", "tree", "paths-info", "commits", "auth-check", "xet-read-token"))


class Hub(HubState):
    """The Hub double; a context manager, with the switches of `HubState` as attributes.

    requests: what both servers were asked, oldest first. faults: what goes wrong.
    rate_per_connection, rate_total: limits of the CDN in bytes per second, None for none.
    """

    def __init__(self, *, tokens: set[str] | None = None, cdn_host: str = "127.0.0.1") -> None:
        super().__init__()
        if tokens is not None:
            self.tokens = tokens
        self.faults = Faults()
        self.requests: list[Seen] = []
        self._cdn = Cdn(self)
        self._api = Api(self)
        self._files = Files(self, self._cdn)
        self.hub_server = WireServer("hub", self._answer_hub, self.requests)
        self.cdn_server = WireServer("cdn", self._answer_cdn, self.requests, cdn_host)
        self._cdn.url = self.cdn_server.url
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self.hub_server)
        self._stack.enter_context(self.cdn_server)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
        failures = self.hub_server.failures + self.cdn_server.failures
        if failures and kind is None:
            message = "the Hub double itself failed:\n" + "\n".join(failures)
            raise AssertionError(message)

    @property
    def endpoint(self) -> str:
        """Address of the Hub, for HF_ENDPOINT."""
        return self.hub_server.url

    @property
    def cdn_endpoint(self) -> str:
        """Address of the CDN."""
        return self.cdn_server.url

    @property
    def rate_per_connection(self) -> float | None:
        """Bytes per second that one connection to the CDN gets."""
        return self.cdn_server.rate_per_connection

    @rate_per_connection.setter
    def rate_per_connection(self, rate: float | None) -> None:
        self.cdn_server.rate_per_connection = rate

    @property
    def rate_total(self) -> float | None:
        """Bytes per second that all connections to the CDN share."""
        return self.cdn_server.rate_total

    @rate_total.setter
    def rate_total(self, rate: float | None) -> None:
        self.cdn_server.rate_total = rate

    def repo(
        self,
        name: str,
        kind: str = "model",
        *,
        private: bool = False,
        gated: bool | str = False,
        license: str | None = "apache-2.0",  # noqa: A002 - the Hub's own word
        tags: tuple[str, ...] = (),
    ) -> Repo:
        """Make an empty repository; raises ValueError when the name is taken."""
        if any(repo.kind == kind and repo.name == name for repo in self.repos):
            message = f"there is a {kind} {name} already"
            raise ValueError(message)
        made = Repo(name, kind, private=private, gated=gated, license=license, tags=tags)
        made.lfs_threshold = self.lfs_threshold
        self.repos.append(made)
        return made

    def remove(self, repo: Repo) -> None:
        """Delete a repository, as an author may do at any time."""
        self.repos.remove(repo)

    def expire_urls(self) -> None:
        """Make every signed address that was handed out so far expire now."""
        self._cdn.expire()

    def clear(self) -> None:
        """Forget the requests and peaks seen so far; requests under way still finish."""
        self.requests.clear()
        self.hub_server.peak = self.cdn_server.peak = 0

    def seen(
        self,
        place: str = "*",
        *,
        method: str | None = None,
        status: int | None = None,
        path: str = "*",
    ) -> list[Seen]:
        """Return the requests at a place (see hub_faults) whose file or path matches."""
        return [
            one
            for one in list(self.requests)
            if (place == "*" or place in one.places)
            and method in (None, one.method)
            and status in (None, one.status)
            and (fnmatchcase(one.file, path) or fnmatchcase(unquote(one.path), path))
        ]

    def count(
        self,
        place: str = "*",
        *,
        method: str | None = None,
        status: int | None = None,
        path: str = "*",
    ) -> int:
        """Return how many requests `seen` would return."""
        return len(self.seen(place, method=method, status=status, path=path))

    def bytes_sent(self, place: str = "cdn", *, path: str = "*") -> int:
        """Return the body bytes that were sent at a place."""
        return sum(one.bytes_sent for one in self.seen(place, path=path))

    def cdn_bytes(self) -> dict[str, int]:
        """Return the body bytes that the CDN sent, by SHA-256 of the file."""
        total: Counter[str] = Counter()
        for one in self.seen("cdn"):
            total[one.sha256] += one.bytes_sent
        return dict(total)

    def file_bytes(self) -> dict[str, int]:
        """Return the body bytes of files, large and small, by path in their repository."""
        total: Counter[str] = Counter()
        for one in (*self.seen("cdn"), *self.seen("small")):
            total[one.file] += one.bytes_sent
        return dict(total)

    def authorized(self, place: str = "*") -> list[Seen]:
        """Return the requests at a place that carried an Authorization header."""
        return [one for one in self.seen(place) if one.authorization is not None]

    def _answer_hub(self, request: Request, seen: Seen) -> Answer:
        segments = request.path.split("/")[1:]
        self._classify(segments, seen)
        struck = self.faults.draw(seen)
        for effect, hit in struck:
            request = effect.before(request, hit)
        answer = self._with_quota(request, seen, segments)
        for effect, hit in struck:
            answer = effect.after(answer, request, hit)
        return self._delayed(answer)

    def _answer_cdn(self, request: Request, seen: Seen) -> Answer:
        seen.places = frozenset(("cdn",))
        request = self._cdn.count_use(request, seen)
        struck = self.faults.draw(seen)
        for effect, hit in struck:
            request = effect.before(request, hit)
        answer = self._cdn.answer(request)
        for effect, hit in struck:
            answer = effect.after(answer, request, hit)
        return self._delayed(answer)

    def _with_quota(self, request: Request, seen: Seen, segments: list[str]) -> Answer:
        bucket = "resolvers" if {"resolve", "small"} & seen.places else "api"
        headers, used_up = self.take_quota(bucket)
        try:
            if used_up:
                raise Refused(429, "", "We had to rate limit you.")  # noqa: TRY301
            answer = self._route(request, seen, segments)
        except Refused as refused:
            answer = refused.answer()
        identity = ("X-Request-Id", f"Root=1-{len(self.requests):08x}")
        return replace(answer, headers=(*answer.headers, identity, *headers))

    def _route(self, request: Request, seen: Seen, segments: list[str]) -> Answer:
        if request.method not in ("GET", "HEAD") and "paths-info" not in seen.places:
            raise Refused(405, "", "Method not allowed")
        if segments[:2] == ["api", "resolve-cache"]:
            return self._files.cached(request, seen, segments[2:])
        if segments[0] == "api" and len(segments) > 1:
            return self._api.answer(request, segments[1:])
        kind = FILE_FOLDERS.get(segments[0], "model")
        below = segments[1:] if kind != "model" else segments
        if "resolve" in seen.places:
            return self._files.resolve(request, seen, kind, below)
        raise Refused(404, "", "Sorry, we can't find the page you are looking for.")

    def _classify(self, segments: list[str], seen: Seen) -> None:
        """Note what kind of request this is, before anything can go wrong with it."""
        places = {"hub"}
        if segments[:2] == ["api", "resolve-cache"]:
            places.add("small")
            seen.file = _path_after(segments, _index_of_commit(segments) + 1)
        elif segments[0] == "api":
            verbs = LISTINGS.intersection(segments[3:5])
            places |= {"api", *verbs}
            if segments[1:] == ["whoami-v2"]:
                places.add("whoami")
            elif not verbs and len(segments) > 2:
                places.add("info")
        elif "resolve" in segments:
            places.add("resolve")
            seen.file = _path_after(segments, segments.index("resolve") + 2)
        seen.places = frozenset(places)

    def _delayed(self, answer: Answer) -> Answer:
        if not self.latency:
            return answer
        return replace(answer, flow=replace(answer.flow, delay=self.latency))


def _index_of_commit(segments: list[str]) -> int:
    found = (at for at, part in enumerate(segments) if FULL_COMMIT.fullmatch(part))
    return next(found, len(segments))


def _path_after(segments: list[str], start: int) -> str:
    return "/".join(unquote(part) for part in segments[start:])
