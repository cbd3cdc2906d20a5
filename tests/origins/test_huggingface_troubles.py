"""The Hub as an origin, and every way in which it can go wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from sync_daemon.domain.errors import (
    Forbidden,
    OriginFileNotFound,
    OriginLied,
    OriginUnavailable,
    RepositoryNotFound,
    RevisionNotFound,
)
from tests.support.hub import (
    ChangeEtag,
    Chunked,
    Cut,
    Effect,
    ExpireAfter,
    Fault,
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
    WrongLength,
    WrongRange,
)
from tests.support.hub_bench import (
    CALLS,
    LARGE,
    REPOSITORY,
    SIZE,
    Bench,
    content,
    file_of,
    list_head,
    read,
)

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


# Made when tests are collected: an hour of tests may pass before it is used.
SOON = format_datetime(datetime.now(UTC) + timedelta(seconds=7200), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ((("RateLimit", '"api";r=0;t=42'),), 42, 42),
        ((("Retry-After", "17"),), 17, 17),
        ((("RateLimit", '"api";r=0;t=42'), ("Retry-After", "17")), 42, 42),
        ((("RateLimit", '"api";r=7;t=42'), ("Retry-After", "17")), 17, 17),
        ((("Retry-After", SOON),), 3600, 7200),
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
