"""The Hub as an origin: requests, tokens, endpoints, and every way in which it can go wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from sync_daemon.domain.admission import admit
from sync_daemon.domain.digests import CommitId
from sync_daemon.domain.errors import (
    ConfigurationError,
    Forbidden,
    OriginFileNotFound,
    OriginLied,
    OriginRefused,
    OriginUnavailable,
    RepositoryNotFound,
    RevisionNotFound,
    SyncError,
)
from sync_daemon.domain.events import EndpointRested, EndpointSwitched, Event
from sync_daemon.domain.listing import Listing, RemoteFile, Repository
from sync_daemon.domain.selection import Selection
from sync_daemon.meter import Meter, use
from sync_daemon.origins.endpoint import Endpoint
from sync_daemon.origins.endpoints import Endpoints
from sync_daemon.origins.huggingface import HuggingFace
from sync_daemon.wire import Http
from tests.support.fakes import FakeClock
from tests.support.hub import (
    ChangeEtag,
    Chunked,
    Cut,
    DropHeader,
    Effect,
    ExpireAfter,
    Fault,
    Gzip,
    Html,
    Hub,
    IgnoreRange,
    NoLength,
    RedirectLoop,
    RedirectTo,
    ReplaceBody,
    Repo,
    Reset,
    Resize,
    SetHeader,
    Stall,
    Status,
    Synthetic,
    TruncateList,
    WrongLength,
    WrongRange,
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


@pytest.fixture
def bench() -> Iterator[Bench]:
    with ExitStack() as stack:
        hub = stack.enter_context(Hub())
        http = Http("origin", connect_timeout=2, read_timeout=0.5)
        stack.callback(http.close)
        repo = hub.repo(NAME)
        repo.commit({"config.json": b"{}", LARGE: Synthetic(SIZE, seed=3)})
        yield Bench(hub, http, repo)


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


def test_refs_cost_one_request_a_listing_two_and_a_file_one_more_than_its_ranges(
    bench: Bench,
) -> None:
    origin = bench.origin()
    with use(Meter()) as meter:
        commit = head(origin)
        assert (meter.origin_requests, bench.hub.count()) == (1, 1)
        listing = origin.list(REPOSITORY, commit)
        assert (meter.origin_requests, bench.hub.count()) == (3, 3)
        file = file_of(listing)
        for start in range(0, SIZE, 1024 * 1024):
            stop = min(start + 1024 * 1024, SIZE)
            assert read(origin, listing, file, start, stop) == content(bench, LARGE, start, stop)
        assert (meter.origin_requests, bench.hub.count()) == (8, 8)
        assert (bench.hub.count("resolve"), bench.hub.count("cdn")) == (1, 4)


def test_sixteen_ranges_at_once_resolve_their_file_once(bench: Bench) -> None:
    origin = bench.origin()
    listing = list_head(origin)
    file = file_of(listing)
    with ThreadPoolExecutor(16) as pool:
        parts = pool.map(
            lambda n: read(origin, listing, file, n * 1000, n * 1000 + 1000), range(64)
        )
        assert b"".join(parts) == content(bench, LARGE, 0, 64_000)
    assert (bench.hub.count("resolve"), bench.hub.count("cdn")) == (1, 64)
    bench.hub.expire_urls()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: read(origin, listing, file, n, n + 1), range(64)))
    assert bench.hub.count("resolve") == 2
    assert bench.hub.count("cdn", status=206) == 128


def test_branches_and_tags_are_read(bench: Bench) -> None:
    first = bench.repo.head()
    bench.repo.tag("v1.0", first)
    second = bench.repo.commit({"b": b"2"}, branch="feature/x")
    refs = bench.origin().refs(REPOSITORY)
    assert refs.branches == {"main": first, "feature/x": second}
    assert refs.tags == {"v1.0": first}


def test_revisions_that_refs_do_not_name_are_resolved(bench: Bench) -> None:
    change = bench.repo.commit({"b": b"2"}, branch="refs/pr/1")
    bench.repo.tag("v1", change)
    origin = bench.origin()
    assert origin.resolve(REPOSITORY, "refs/pr/1").commit == change
    assert not origin.resolve(REPOSITORY, "refs/pr/1").pin
    assert origin.resolve(REPOSITORY, "refs/tags/v1").pin
    assert origin.resolve(REPOSITORY, change).kind == "commit"


def test_a_long_listing_is_read_page_by_page(bench: Bench) -> None:
    bench.repo.commit({f"part-{number:05}": b"x" for number in range(2500)})
    bench.hub.clear()
    with use(Meter()) as meter:
        listing = list_head(bench.origin())
    assert len(listing.files) == 2502
    assert bench.hub.count("tree") == 3
    assert meter.origin_requests == 1 + 1 + 3


@pytest.mark.parametrize("effect", [DropHeader("Link"), TruncateList(10)])
def test_a_lost_page_is_not_taken_for_a_small_model(bench: Bench, effect: Effect) -> None:
    bench.repo.commit({f"part-{number:05}": b"x" for number in range(1500)})
    bench.hub.faults.add(Fault("tree", effect))
    with pytest.raises(OriginLied, match="incomplete") as caught:
        list_head(bench.origin())
    assert "Link" in (caught.value.hint or "")


def test_page_links_that_go_in_a_circle_end(bench: Bench) -> None:
    commit = bench.repo.head()
    url = f"{bench.hub.endpoint}/api/models/{NAME}/tree/{commit}?recursive=true&expand=false"
    bench.hub.faults.add(Fault("tree", SetHeader("Link", f'<{url}>; rel="next"'), times=None))
    with pytest.raises(OriginLied, match="circle"):
        list_head(bench.origin())


def test_what_is_listed_is_what_admission_needs(bench: Bench) -> None:
    listing = list_head(bench.origin())
    large, small = file_of(listing), file_of(listing, "config.json")
    blob = bench.repo.blob(LARGE)
    assert (large.sha256, large.size, large.lfs) == (blob.sha256, SIZE, True)
    assert (small.sha256, small.git_oid, small.lfs) == (
        None,
        bench.repo.blob("config.json").oid,
        False,
    )


@pytest.mark.parametrize(
    ("card", "tags", "licence"),
    [
        ({"license": "mit"}, (), "mit"),
        ({"license": ["mit", "apache-2.0"]}, (), "mit, apache-2.0"),
        ({"license": "other", "license_name": "llama3"}, (), "llama3"),
        ({"license": "other"}, (), "other"),
        ({}, ("license:gpl-3.0",), "gpl-3.0"),
        ({}, (), None),
    ],
)
def test_the_licence_is_the_authors_word(
    bench: Bench, card: dict[str, object], tags: tuple[str, ...], licence: str | None
) -> None:
    repo = bench.hub.repo("org/licensed", license=None, tags=tags)
    repo.commit({"a": b"1"}, card=card)
    assert list_head(bench.origin(), Repository("org/licensed")).licence == licence


def test_hostile_names_reach_admission_as_they_are(bench: Bench) -> None:
    names = ["../up", "/abs", "a\\b", "line\nbreak", "a//b", "a/./b", "x" * 2000]
    for name in names:
        item = {"type": "file", "oid": "0" * 40, "size": 1, "path": name}
        bench.repo.raw_tree_item(item)
    listing = list_head(bench.origin())
    assert set(names) <= {file.path for file in listing.files}
    assert len(admit(listing, Selection()).reasons) == len(names)


@pytest.mark.parametrize("kind", ["dataset", "space"])
def test_datasets_and_spaces_are_read_too(bench: Bench, kind: str) -> None:
    repository = Repository("org/other", kind)
    repo = bench.hub.repo("org/other", kind=kind)
    repo.commit({"data.parquet": Synthetic(SIZE, seed=9), "r.md": b"hi"})
    origin = bench.origin()
    listing = list_head(origin, repository)
    for path in ("data.parquet", "r.md"):
        file = file_of(listing, path)
        data = read(origin, listing, file, repository=repository)
        assert len(data) == file.size
    assert origin.resolve(repository, "main").commit == listing.commit


def test_a_renamed_repository_answers_under_its_old_name(bench: Bench) -> None:
    bench.repo.rename("org/new")
    origin = bench.origin()
    listing = list_head(origin)
    file = file_of(listing)
    assert read(origin, listing, file, 5, 10) == content(bench, LARGE, 5, 10)
    assert origin.resolve(REPOSITORY, "main").commit == listing.commit


def test_xet_hints_are_ignored(bench: Bench) -> None:
    bench.hub.xet = True
    origin = bench.origin()
    listing = list_head(origin)
    assert len(read(origin, listing, file_of(listing))) == SIZE
    assert bench.hub.count("xet-read-token") == 0


def test_a_token_opens_a_private_repository_and_stays_with_the_hub(bench: Bench) -> None:
    bench.repo.private = True
    with pytest.raises(RepositoryNotFound) as caught:
        bench.origin().refs(REPOSITORY)
    assert "origins.hf.token" in (caught.value.hint or "")
    bench.hub.clear()
    origin = bench.origin(token="hf_good")
    listing = list_head(origin)
    for path in (LARGE, "config.json"):
        file = file_of(listing, path)
        read(origin, listing, file, 0, 1)
        read(origin, listing, file)
    assert bench.hub.count("cdn") == 2
    assert bench.hub.authorized("cdn") == []
    assert len(bench.hub.authorized("hub")) == bench.hub.count("hub")


def test_without_a_token_nobodys_cached_token_is_sent(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    origin = bench.origin()
    listing = list_head(origin)
    read(origin, listing, file_of(listing))
    assert origin.check().endswith("no token")
    assert bench.hub.authorized() == []


def test_a_page_link_to_another_host_gets_no_token(bench: Bench) -> None:
    with Hub() as elsewhere:
        link = f'<{elsewhere.endpoint}/api/models/x/tree/main?page=2>; rel="next"'
        bench.hub.faults.add(Fault("tree", SetHeader("Link", link)))
        with pytest.raises(SyncError):
            list_head(bench.origin(token="hf_good"))
        assert elsewhere.count() == 1
        assert elsewhere.authorized() == []


@pytest.mark.parametrize("place", ["refs", "info", "resolve"])
def test_a_redirect_to_another_host_gets_no_token(bench: Bench, place: str) -> None:
    origin = bench.origin(token="hf_good")
    listing = list_head(origin)
    with Hub() as elsewhere:
        bench.hub.faults.add(Fault(place, RedirectTo(f"{elsewhere.endpoint}/x"), times=None))
        with pytest.raises(SyncError):
            CALLS[place](origin, listing)
        assert elsewhere.count() > 0
        assert elsewhere.authorized() == []


CALLS = {
    "refs": lambda origin, _: origin.refs(REPOSITORY),
    "info": lambda origin, _: origin.resolve(REPOSITORY, "main"),
    "tree": lambda origin, listing: origin.list(REPOSITORY, listing.commit),
    "resolve": lambda origin, listing: read(origin, listing, file_of(listing), 10, 5010),
    "cdn": lambda origin, listing: read(origin, listing, file_of(listing), 10, 5010),
    "small": lambda origin, listing: read(origin, listing, file_of(listing, "config.json")),
}
JSON_PLACES = ("refs", "info", "tree")


BUSY = (408, 429, 500, 502, 503, 504)
HEALS: dict[str, Effect] = {
    **{f"status {code}": Status(code) for code in BUSY},
    "reset": Reset(),
    "closed": Cut(),
    "stall": Stall(1.5),
}
BODY_HEALS: dict[str, Effect] = {
    "reset in the body": Reset(1000),
    "short body": Cut(1000),
    "stall in the body": Stall(1.5, 1000),
}


@pytest.mark.parametrize("place", CALLS)
@pytest.mark.parametrize("name", HEALS)
def test_what_can_heal_is_said_to_be_unavailable_at_once(
    bench: Bench, place: str, name: str
) -> None:
    """One request, one error: the engine retries, and nobody below it.

    Only a connection that was used before and then closed without an answer is replaced.
    """
    origin = bench.origin()
    listing = list_head(origin)
    bench.hub.clear()
    asked = 2 if place != "cdn" and name in {"reset", "closed"} else 1
    bench.hub.faults.add(Fault(place, HEALS[name], times=asked))
    with pytest.raises(OriginUnavailable):
        CALLS[place](origin, listing)
    assert bench.hub.count(place) == asked
    CALLS[place](origin, listing)


@pytest.mark.parametrize("name", BODY_HEALS)
def test_a_body_that_breaks_off_can_be_asked_for_again(bench: Bench, name: str) -> None:
    origin = bench.origin()
    listing = list_head(origin)
    file = file_of(listing)
    bench.hub.faults.add(Fault("cdn", BODY_HEALS[name]))
    with pytest.raises(OriginUnavailable):
        read(origin, listing, file, 0, 100_000)
    assert len(read(origin, listing, file, 0, 100_000)) == 100_000
    assert bench.hub.count("resolve") == 1


SOON = format_datetime(datetime.now(UTC) + timedelta(seconds=3600), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ((("RateLimit", '"api";r=0;t=42'),), 42, 42),
        ((("Retry-After", "17"),), 17, 17),
        ((("RateLimit", '"api";r=0;t=42'), ("Retry-After", "17")), 42, 42),
        ((("RateLimit", '"api";r=7;t=42'), ("Retry-After", "17")), 17, 17),
        ((("Retry-After", SOON),), 3000, 3600),
    ],
)
@pytest.mark.parametrize("place", ["refs", "tree", "resolve"])
def test_the_wish_to_wait_is_passed_on(
    bench: Bench, place: str, headers: tuple[tuple[str, str], ...], low: int, high: int
) -> None:
    origin = bench.origin()
    listing = list_head(origin)
    bench.hub.faults.add(Fault(place, Status(429, headers)))
    with pytest.raises(OriginUnavailable) as caught:
        CALLS[place](origin, listing)
    assert low <= (caught.value.retry_after or 0) <= high


LIES: dict[str, Effect] = {
    "the whole file for a range": IgnoreRange(),
    "other bytes": WrongRange(),
    "no word which bytes": WrongRange(None),
    "compressed": Gzip(),
    "a longer body": Resize(10),
    "a longer body, chunked": Resize(10),
    "a shorter body": Resize(-10),
    "a login page": Html(),
    "redirects in a circle": RedirectLoop(),
    "a redirect elsewhere than the web": RedirectTo("file:///etc/passwd"),
}


@pytest.mark.parametrize("name", LIES)
def test_an_answer_that_contradicts_the_request_is_a_lie(bench: Bench, name: str) -> None:
    origin = bench.origin()
    listing = list_head(origin)
    bench.hub.faults.add(Fault("cdn", LIES[name]))
    if name.endswith("chunked"):
        bench.hub.faults.add(Fault("cdn", Chunked()))
    with pytest.raises(OriginLied):
        read(origin, listing, file_of(listing), 10, 5010)
    assert read(origin, listing, file_of(listing), 10, 20) == content(bench, LARGE, 10, 20)


def test_a_login_page_is_not_taken_for_a_whole_file(bench: Bench) -> None:
    """Even when its length is right, for a large file."""
    origin = bench.origin()
    listing = list_head(origin)
    bench.hub.faults.add(Fault("cdn", Html(b"<html>" + bytes(SIZE - 6))))
    with pytest.raises(OriginLied, match="web page"):
        read(origin, listing, file_of(listing))
    bench.hub.faults.add(Fault("small", Html()))
    with pytest.raises(OriginLied):
        read(origin, listing, file_of(listing, "config.json"))


def test_a_file_that_is_replaced_between_two_ranges_is_noticed(bench: Bench) -> None:
    origin = bench.origin()
    listing = list_head(origin)
    file = file_of(listing)
    read(origin, listing, file, 0, 10)
    bench.hub.faults.add(Fault("cdn", ChangeEtag()))
    with pytest.raises(OriginLied, match="ETag"):
        read(origin, listing, file, 10, 20)


@pytest.mark.parametrize("effect", [Chunked(), NoLength()])
@pytest.mark.parametrize("span", [(10, 5010), (0, SIZE)])
def test_bodies_without_a_length_are_read_exactly(
    bench: Bench, effect: Effect, span: tuple[int, int]
) -> None:
    origin = bench.origin()
    listing = list_head(origin)
    bench.hub.faults.add(Fault("cdn", effect, times=None))
    assert read(origin, listing, file_of(listing), *span) == content(bench, LARGE, *span)


@pytest.mark.parametrize("effect", [NoLength(), Chunked()])
def test_a_short_body_without_a_length_is_unavailable(bench: Bench, effect: Effect) -> None:
    origin = bench.origin()
    listing = list_head(origin)
    bench.hub.faults.add(Fault("cdn", Resize(-10)), Fault("cdn", effect))
    with pytest.raises(OriginUnavailable, match="too early"):
        read(origin, listing, file_of(listing), 10, 5010)


def test_a_length_that_is_wrong_is_a_lie(bench: Bench) -> None:
    origin = bench.origin()
    listing = list_head(origin)
    for delta in (-1, 1):
        bench.hub.faults.add(Fault("cdn", WrongLength(delta)))
        with pytest.raises(OriginLied, match="announced"):
            read(origin, listing, file_of(listing), 10, 5010)


def test_an_expired_address_is_resolved_again(bench: Bench) -> None:
    origin = bench.origin()
    listing = list_head(origin)
    file = file_of(listing)
    bench.hub.faults.add(Fault("cdn", ExpireAfter(2), times=None))
    for start in range(5):
        assert read(origin, listing, file, start, start + 1) == content(
            bench, LARGE, start, start + 1
        )
    assert bench.hub.count("resolve") == 3
    assert bench.hub.count("cdn", status=206) == 5


def test_an_address_that_is_refused_when_new_is_a_lie_of_the_hub(bench: Bench) -> None:
    origin = bench.origin()
    listing = list_head(origin)
    bench.hub.faults.add(Fault("cdn", Status(403), times=None))
    with pytest.raises(OriginLied, match="refused the address") as caught:
        read(origin, listing, file_of(listing), 0, 1)
    assert "clock" in (caught.value.hint or "")
    assert bench.hub.count("cdn") == 1


def test_another_commit_than_the_one_asked_for_is_a_lie(bench: Bench) -> None:
    origin = bench.origin()
    listing = list_head(origin)
    bench.hub.faults.add(Fault("resolve", SetHeader("X-Repo-Commit", "f" * 40)))
    with pytest.raises(OriginLied, match="commit"):
        read(origin, listing, file_of(listing), 0, 1)


def test_a_gated_repository_asks_for_its_licence_to_be_accepted(bench: Bench) -> None:
    bench.repo.gated = "manual"
    origin = bench.origin(token="hf_good")
    listing = list_head(origin)
    with pytest.raises(Forbidden, match="licence") as caught:
        read(origin, listing, file_of(listing))
    assert "accept the licence" in (caught.value.hint or "")
    bench.hub.gated_listing = True
    with pytest.raises(Forbidden, match="licence"):
        list_head(origin)
    bench.repo.granted.add("hf_good")
    assert len(read(origin, listing, file_of(listing))) == SIZE


def test_a_bad_token_is_forbidden_and_never_shown(bench: Bench) -> None:
    origin = bench.origin(token="hf_SECRET")
    listing = list_head(bench.origin())
    checks = (origin.check, *(lambda call=call: call(origin, listing) for call in CALLS.values()))
    for call in checks:
        with pytest.raises(Forbidden) as caught:
            call()
        shown = f"{caught.value} {caught.value.hint}"
        assert "hf_SECRET" not in shown
        assert "origins.hf.token" in shown


def test_a_disabled_repository_is_forbidden(bench: Bench) -> None:
    bench.repo.disabled = True
    with pytest.raises(Forbidden, match="disabled"):
        bench.origin().refs(REPOSITORY)


def test_refusals_in_the_middle_are_told_apart(bench: Bench) -> None:
    origin = bench.origin()
    listing = list_head(origin)
    file = file_of(listing)
    kinds = {
        "EntryNotFound": OriginFileNotFound,
        "RevisionNotFound": RevisionNotFound,
        "RepoNotFound": RepositoryNotFound,
        "GatedRepo": Forbidden,
        "": OriginFileNotFound,
    }
    for code, kind in kinds.items():
        bench.hub.faults.add(Fault("resolve", Status(404, (("X-Error-Code", code),))))
        with pytest.raises(kind):
            read(origin, listing, file, 0, 1)
    bench.hub.faults.add(Fault("cdn", Status(416)))
    with pytest.raises(OriginLied, match="shorter"):
        read(origin, listing, file, 0, 1)


ODD_JSON = {
    "a login page": Html(),
    "no JSON": ReplaceBody(b"<html>"),
    "not UTF-8": ReplaceBody(b"\xff\xfe{}"),
    "a list": ReplaceBody(b"[1]"),
    "a number": ReplaceBody(b"1"),
    "nothing": ReplaceBody(b"null"),
    "too deep": ReplaceBody(b"[" * 100_000),
}


@pytest.mark.parametrize("place", JSON_PLACES)
@pytest.mark.parametrize("name", ODD_JSON)
def test_odd_json_is_a_lie(bench: Bench, place: str, name: str) -> None:
    origin = bench.origin()
    listing = list_head(origin)
    bench.hub.faults.add(Fault(place, ODD_JSON[name], times=None))
    with pytest.raises(OriginLied):
        CALLS[place](origin, listing)


ODD_ITEMS = {
    "no path": {"type": "file", "oid": "0" * 40, "size": 1},
    "no size": {"type": "file", "oid": "0" * 40, "path": "a"},
    "a size in words": {"type": "file", "oid": "0" * 40, "path": "a", "size": "1"},
    "half a size": {"type": "file", "oid": "0" * 40, "path": "a", "size": 1.5},
    "a path of numbers": {"type": "file", "oid": "0" * 40, "path": 7, "size": 1},
    "an empty lfs": {"type": "file", "oid": "0" * 40, "path": "a", "size": 1, "lfs": {}},
    "an oid of numbers": {"type": "file", "oid": 5, "path": "a", "size": 1},
    "no type": {"path": "a", "oid": "0" * 40, "size": 1},
}


@pytest.mark.parametrize("name", ODD_ITEMS)
def test_an_odd_item_spoils_the_listing(bench: Bench, name: str) -> None:
    body = json.dumps([ODD_ITEMS[name]]).encode()
    bench.hub.faults.add(Fault("tree", ReplaceBody(body)))
    with pytest.raises(OriginLied):
        list_head(bench.origin())


def test_a_ref_without_a_commit_id_is_a_lie(bench: Bench) -> None:
    ref = {"name": "main", "ref": "refs/heads/main", "targetCommit": "abc"}
    body = json.dumps({"branches": [ref], "tags": [], "converts": []}).encode()
    bench.hub.faults.add(Fault("refs", ReplaceBody(body)))
    with pytest.raises(OriginLied):
        bench.origin().refs(REPOSITORY)


def test_an_endpoint_that_is_down_gives_way_to_the_next_and_is_not_asked_again(
    bench: Bench,
) -> None:
    dead = "http://127.0.0.1:9"
    origin = bench.origin(dead, bench.hub.endpoint)
    listing = list_head(origin)
    assert len(read(origin, listing, file_of(listing))) == SIZE
    rest, switch = bench.notable()
    assert isinstance(rest, EndpointRested)
    assert (rest.origin, rest.endpoint, rest.seconds) == ("hf", dead, 30)
    assert isinstance(switch, EndpointSwitched)
    assert (switch.from_endpoint, switch.to_endpoint) == (dead, bench.hub.endpoint)
    assert "refused" in switch.reason or "connect" in switch.reason
    assert dead in origin.check()


@pytest.mark.parametrize("place", ["refs", "tree", "resolve", "cdn"])
def test_a_mirror_steps_in_wherever_the_first_endpoint_fails(bench: Bench, place: str) -> None:
    with Hub() as mirror:
        mirror.repos.append(bench.repo)
        origin = bench.origin(bench.hub.endpoint, mirror.endpoint)
        listing = list_head(origin)
        bench.hub.faults.add(Fault(place, Status(503), times=None))
        CALLS[place](origin, listing)
        assert mirror.count() > 0
        assert [event.name for event in bench.notable()] == ["endpoint.rested", "endpoint.switched"]


def test_a_mirror_that_lacks_a_repository_does_not_hide_that_the_hub_was_down(
    bench: Bench,
) -> None:
    with Hub() as mirror:
        origin = bench.origin(bench.hub.endpoint, mirror.endpoint)
        bench.hub.faults.add(Fault("refs", Status(503)))
        with pytest.raises(OriginUnavailable, match="503"):
            origin.refs(REPOSITORY)
        assert origin.refs(REPOSITORY).branches
        with pytest.raises(RepositoryNotFound):
            origin.refs(Repository("org/none"))


def test_a_refusal_of_the_first_endpoint_is_final(bench: Bench) -> None:
    with Hub() as mirror:
        origin = bench.origin(bench.hub.endpoint, mirror.endpoint)
        with pytest.raises(RepositoryNotFound):
            origin.refs(Repository("org/none"))
        assert mirror.count() == 0


def test_after_a_switch_a_mirrors_refusal_is_checked_with_the_hub(bench: Bench) -> None:
    with Hub() as mirror:
        shared = mirror.repo("org/shared")
        shared.commit({"a": b"1"})
        bench.hub.repos.append(shared)
        origin = bench.origin(bench.hub.endpoint, mirror.endpoint)
        bench.hub.faults.add(Fault("refs", Status(500)))
        origin.refs(Repository("org/shared"))
        assert bench.notable()[-1].name == "endpoint.switched"
        assert origin.refs(REPOSITORY).branches


def test_the_check_tells_whose_token_it_is(bench: Bench) -> None:
    assert "token of tester" in bench.origin(token="hf_good").check()


def test_a_name_that_no_repository_can_have_is_refused_without_a_request(bench: Bench) -> None:
    for name in ("a--b", "a..b", "x/y/z", "a.git", "-a"):
        with pytest.raises(RepositoryNotFound):
            bench.origin().refs(Repository(name))
    with pytest.raises(RepositoryNotFound, match="no kernels"):
        bench.origin().refs(Repository("a", "kernel"))
    assert bench.hub.count() == 0


@pytest.mark.parametrize("token", ["hf_ä", "hf\nX: y", "hf x"])
def test_a_token_that_cannot_be_sent_is_a_configuration_error(bench: Bench, token: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        bench.origin(token=token)
    assert token not in str(caught.value)


def test_a_wrong_endpoint_is_a_configuration_error(bench: Bench) -> None:
    with pytest.raises(ConfigurationError, match="endpoint"):
        bench.origin("huggingface.co")


def test_other_answers_are_refusals(bench: Bench) -> None:
    bench.hub.faults.add(Fault("refs", Status(418)))
    with pytest.raises(OriginRefused, match="418"):
        bench.origin().refs(REPOSITORY)
