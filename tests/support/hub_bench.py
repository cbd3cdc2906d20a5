"""An origin over the Hub double, and how it is read."""

from __future__ import annotations

from dataclasses import dataclass, field

from sync_daemon.domain.admission import admit
from sync_daemon.domain.digests import CommitId
from sync_daemon.domain.events import Event
from sync_daemon.domain.listing import Listing, RemoteFile, Repository
from sync_daemon.domain.selection import Selection
from sync_daemon.origins.endpoint import Endpoint
from sync_daemon.origins.endpoints import Endpoints
from sync_daemon.origins.huggingface import HuggingFace
from sync_daemon.wire import Http
from tests.support.fakes import FakeClock
from tests.support.hub import (
    Hub,
    Repo,
)

NAME = "org/name"
REPOSITORY = Repository(NAME)
SIZE = 3 * 1024 * 1024 + 5
LARGE = "model.safetensors"


class Secret:
    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "***"

    def reveal(self) -> str:
        return self._text


@dataclass
class Bench:
    """A Hub double and the means to make origins that use it."""

    hub: Hub
    http: Http
    repo: Repo
    events: list[Event] = field(default_factory=list)

    def origin(self, *endpoints: str, token: str | None = None) -> HuggingFace:
        """Return an origin; its endpoint is the double unless others are given."""
        secret = Secret(token) if token else None
        places = endpoints or (self.hub.endpoint,)
        ranked = (Endpoint(place, number) for number, place in enumerate(places, 1))
        choice = Endpoints("hf", ranked, clock=FakeClock(), emit=self.events.append)
        return HuggingFace("hf", choice, secret, http=self.http)

    def notable(self) -> list[Event]:
        """What was told besides each request."""
        return [event for event in self.events if event.level != "debug"]


def head(origin: HuggingFace) -> CommitId:
    return origin.refs(REPOSITORY).branches["main"]


def list_head(origin: HuggingFace, repository: Repository = REPOSITORY) -> Listing:
    return origin.list(repository, origin.refs(repository).branches["main"])


def file_of(listing: Listing, path: str = LARGE) -> RemoteFile:
    files = admit(listing, Selection()).files
    return next(file for file in files if file.path == path)


def read(
    origin: HuggingFace,
    listing: Listing,
    file: RemoteFile,
    start: int = 0,
    stop: int | None = None,
    *,
    repository: Repository = REPOSITORY,
) -> bytes:
    stop = file.size if stop is None else stop
    view, filled = memoryview(bytearray(stop - start)), 0
    with origin.open(repository, listing.commit, file, start, stop) as reader:
        while got := reader.readinto(view[filled:]):
            filled += got
    return bytes(view[:filled])


def content(bench: Bench, path: str, start: int, stop: int) -> bytes:
    return b"".join(bytes(part) for part in bench.repo.blob(path).content.read(start, stop))


CALLS = {
    "refs": lambda origin, _: origin.refs(REPOSITORY),
    "info": lambda origin, _: origin.resolve(REPOSITORY, "main"),
    "tree": lambda origin, listing: origin.list(REPOSITORY, listing.commit),
    "resolve": lambda origin, listing: read(origin, listing, file_of(listing), 10, 5010),
    "cdn": lambda origin, listing: read(origin, listing, file_of(listing), 10, 5010),
    "small": lambda origin, listing: read(origin, listing, file_of(listing, "config.json")),
}
"""Every kind of question, by the place of the double that answers it."""
