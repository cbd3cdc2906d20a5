"""Each fault of the Hub double does what its name says, seen by a client that hides nothing."""

from __future__ import annotations

import gzip
import http.client
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.hub import (
    ChangeEtag,
    Chunked,
    Corrupt,
    Cut,
    Drip,
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
from tests.support.hub_content import BLOCK
from tests.support.web import Fetched, fetch, get_json

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 3 * BLOCK + 17
LARGE = Synthetic(SIZE, seed=1)
BYTES = b"".join(bytes(part) for part in LARGE.read(0, SIZE))


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as running:
        running.repo("org/name").commit({"w.bin": LARGE, "a.txt": b"hello", "b.txt": b"b"})
        yield running


def signed_url(hub: Hub, name: str = "w.bin") -> str:
    """Return a new address of a large file at the CDN."""
    location = fetch(f"{hub.endpoint}/org/name/resolve/main/{name}").header("Location")
    assert location is not None
    return location


def cdn_get(hub: Hub, span: str | None = None, headers: dict[str, str] | None = None) -> Fetched:
    return fetch(signed_url(hub), range=span, headers=headers)


def strike(hub: Hub, effect: Effect, place: str = "cdn") -> None:
    hub.faults.add(Fault(place, effect))


# --- correct answers first: what the faults depart from


@pytest.mark.parametrize(
    ("span", "start", "stop"),
    [
        ("0-0", 0, 1),
        ("5-9", 5, 10),
        (f"{BLOCK - 1}-{BLOCK}", BLOCK - 1, BLOCK + 1),
        ("100-", 100, SIZE),
        ("-10", SIZE - 10, SIZE),
        (f"0-{SIZE + 5}", 0, SIZE),
    ],
)
def test_ranges_are_answered_exactly(hub: Hub, span: str, start: int, stop: int) -> None:
    got = cdn_get(hub, span)
    assert (got.status, got.body) == (206, BYTES[start:stop])
    assert got.header("Content-Range") == f"bytes {start}-{stop - 1}/{SIZE}"
    assert got.header("Content-Length") == str(stop - start)


def test_range_beyond_the_end_is_416(hub: Hub) -> None:
    got = cdn_get(hub, f"{SIZE}-")
    assert (got.status, got.header("Content-Range")) == (416, f"bytes */{SIZE}")


def test_senseless_range_gets_the_whole_file(hub: Hub) -> None:
    for span in ("9-5", "x-y", "1-2,4-5"):
        assert cdn_get(hub, span).status == 200


def test_conditions_are_honoured(hub: Hub) -> None:
    url = signed_url(hub)
    etag = fetch(url, method="HEAD").header("ETag") or ""
    assert LARGE.sha256 not in etag
    assert fetch(url, range="0-9", headers={"If-Range": etag}).status == 206
    assert fetch(url, range="0-9", headers={"If-Range": '"x"'}).status == 200
    assert fetch(url, headers={"If-Match": '"x"'}).status == 412
    assert fetch(url, headers={"If-None-Match": etag}).status == 304


def test_redirects_carry_what_the_client_needs(hub: Hub) -> None:
    commit = hub.repos[0].head()
    large = fetch(f"{hub.endpoint}/org/name/resolve/main/w.bin", method="HEAD")
    small = fetch(f"{hub.endpoint}/org/name/resolve/main/a.txt", method="HEAD")
    assert (large.status, small.status) == (302, 307)
    assert (large.header("Location") or "").startswith(f"{hub.cdn_endpoint}/")
    assert (small.header("Location") or "").startswith("/api/resolve-cache/models/org/name/")
    for got, size, etag in (
        (large, SIZE, LARGE.sha256),
        (small, 5, hub.repos[0].blob("a.txt").oid),
    ):
        assert got.header("X-Repo-Commit") == commit
        assert got.header("X-Linked-Size") == str(size)
        assert got.header("X-Linked-ETag") == f'"{etag}"'


def test_cdn_refuses_token_tampering_and_age(hub: Hub) -> None:
    url = signed_url(hub)
    assert fetch(url, headers={"Authorization": "Bearer hf_good"}).status == 400
    assert fetch(url.replace("X-Id=", "X-Id=9")).status == 403
    assert fetch(url.partition("?")[0]).status == 403
    assert fetch(url, method="POST").status == 405
    hub.expire_urls()
    assert fetch(url).status == 403
    assert cdn_get(hub, "0-0").status == 206
    hub.url_life = -1
    assert cdn_get(hub).status == 403


def test_every_answer_of_the_hub_tells_the_quota(hub: Hub) -> None:
    for path in ("/api/models/org/name", "/api/models/org/absent", "/org/name/resolve/main/a.txt"):
        got = fetch(hub.endpoint + path)
        bucket = "resolvers" if "resolve" in path else "api"
        assert (got.header("RateLimit") or "").startswith(f'"{bucket}";r=')
        assert "w=300" in (got.header("RateLimit-Policy") or "")


def test_used_up_quota_is_429_until_the_window_ends(hub: Hub) -> None:
    hub.limit("api", 2, window=0.3)
    url = f"{hub.endpoint}/api/models/org/name"
    assert [fetch(url).status for _ in range(3)] == [200, 200, 429]
    time.sleep(0.35)
    assert fetch(url).status == 200


def test_hub_keeps_connections_open(hub: Hub) -> None:
    connection = http.client.HTTPConnection(hub.endpoint.removeprefix("http://"))
    for _ in range(3):
        connection.request("GET", "/api/models/org/name")
        connection.getresponse().read()
    connection.close()
    assert len({one.connection for one in hub.requests}) == 1


def test_two_gibibyte_file_needs_no_disk(hub: Hub) -> None:
    big = Synthetic(2 << 30, seed=5)
    hub.repo("org/big").commit({"big.bin": big})
    tail = bytes(next(big.read(big.size - 4, big.size)))
    location = fetch(f"{hub.endpoint}/org/big/resolve/main/big.bin").header("Location") or ""
    assert fetch(location, range="-4").body == tail


# --- when a fault strikes


def test_fault_strikes_the_nth_matching_call_as_often_as_told(hub: Hub) -> None:
    fault = Fault("resolve", Status(503), path="*.txt", method="GET", nth=2, times=2)
    hub.faults.add(fault)
    files = f"{hub.endpoint}/org/name/resolve/main"
    assert fetch(f"{files}/w.bin").status == 302
    assert fetch(f"{files}/a.txt", method="HEAD").status == 307
    statuses = [fetch(f"{files}/a.txt").status for _ in range(4)]
    assert statuses == [307, 503, 503, 307]
    assert hub.faults.hits(fault) == 2


def test_fault_without_end_lasts_until_cleared(hub: Hub) -> None:
    hub.faults.add(Fault("refs", Status(500), times=None))
    url = f"{hub.endpoint}/api/models/org/name/refs"
    assert [fetch(url).status for _ in range(3)] == [500] * 3
    hub.faults.clear()
    assert fetch(url).status == 200


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("api", "/api/models/org/name"),
        ("info", "/api/models/org/name/revision/main"),
        ("refs", "/api/models/org/name/refs"),
        ("tree", "/api/models/org/name/tree/main"),
        ("commits", "/api/models/org/name/commits/main"),
        ("whoami", "/api/whoami-v2"),
        ("resolve", "/org/name/resolve/main/a.txt"),
        ("hub", "/anything"),
        ("*", "/anything"),
    ],
)
def test_every_place_can_be_struck(hub: Hub, place: str, path: str) -> None:
    strike(hub, Status(418, (("X-Why", "test"),)), place)
    got = fetch(hub.endpoint + path)
    assert (got.status, got.header("X-Why")) == (418, "test")


def test_fault_at_small_files_sees_their_path(hub: Hub) -> None:
    hub.faults.add(Fault("small", Corrupt(), path="a.txt"))
    base = hub.endpoint
    for name, body in (("b.txt", b"b"), ("a.txt", b"\x97ello"), ("a.txt", b"hello")):
        location = fetch(f"{base}/org/name/resolve/main/{name}").header("Location") or ""
        assert fetch(base + location).body == body


# --- what a fault does


def test_reset_ends_in_an_error_after_its_bytes(hub: Hub) -> None:
    strike(hub, Reset(after_bytes=100_000))
    host, _, target = signed_url(hub).removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host)
    connection.request("GET", f"/{target}")
    answer = connection.getresponse()
    got = answer.read(100_000)
    with pytest.raises(ConnectionResetError):
        answer.read(1)
    connection.close()
    assert got == BYTES[:100_000]


def test_reset_and_cut_may_come_before_the_status(hub: Hub) -> None:
    strike(hub, Reset())
    with pytest.raises(ConnectionResetError):
        cdn_get(hub)
    strike(hub, Cut())
    with pytest.raises(http.client.RemoteDisconnected):
        cdn_get(hub)
    assert [one.status for one in hub.seen("cdn")] == [0, 0]


@pytest.mark.parametrize("after", [0, 1, 100_000, SIZE - 1])
def test_cut_ends_the_body_short_of_its_length(hub: Hub, after: int) -> None:
    strike(hub, Cut(after_bytes=after))
    got = cdn_get(hub)
    assert not got.complete
    assert got.body == BYTES[:after]
    assert hub.bytes_sent("cdn") == after


@pytest.mark.parametrize("after", [None, 0, 1000])
def test_stall_is_silent_and_then_goes_on(hub: Hub, after: int | None) -> None:
    strike(hub, Stall(0.2, after_bytes=after))
    url, begun = signed_url(hub), time.monotonic()
    assert fetch(url).body == BYTES
    assert time.monotonic() - begun >= 0.2


def test_stalled_server_ends_at_once_with_its_context() -> None:
    begun = time.monotonic()
    with Hub() as hub:
        hub.repo("org/name").commit({"a.txt": b"a"})
        hub.faults.add(Fault("hub", Stall(60)))
        with pytest.raises(TimeoutError):
            fetch(f"{hub.endpoint}/api/models/org/name", timeout=0.1)
    assert time.monotonic() - begun < 5


def test_drip_and_connection_rate_slow_a_body_down(hub: Hub) -> None:
    url = signed_url(hub)
    for slow in ("drip", "connection", "total"):
        hub.faults.clear()
        hub.rate_per_connection = 500_000 if slow == "connection" else None
        hub.rate_total = 500_000 if slow == "total" else None
        if slow == "drip":
            strike(hub, Drip(500_000))
        begun = time.monotonic()
        assert fetch(url, range="0-99999").body == BYTES[:100_000]
        assert 0.19 <= time.monotonic() - begun < 1


def test_total_rate_is_shared_and_connection_rate_is_not(hub: Hub) -> None:
    took = {}
    for shared in (False, True):
        hub.rate_per_connection, hub.rate_total = (None, 400_000) if shared else (400_000, None)
        urls = [signed_url(hub) for _ in range(3)]
        workers = [
            threading.Thread(target=fetch, args=(url,), kwargs={"range": "0-39999"}) for url in urls
        ]
        begun = time.monotonic()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        took[shared] = time.monotonic() - begun
    assert took[True] >= 0.29
    assert took[False] < took[True]
    assert hub.cdn_server.peak == 3


def test_latency_delays_every_answer(hub: Hub) -> None:
    hub.latency = 0.1
    begun = time.monotonic()
    cdn_get(hub, "0-0")
    assert time.monotonic() - begun >= 0.2


@pytest.mark.parametrize("by", [10, -10])
def test_resized_body_differs_from_the_range_that_was_asked(hub: Hub, by: int) -> None:
    strike(hub, Resize(by))
    got = cdn_get(hub, "0-99")
    assert (got.status, len(got.body), got.complete) == (206, 100 + by, True)
    assert got.header("Content-Range") == f"bytes 0-99/{SIZE}"


@pytest.mark.parametrize(("delta", "size"), [(10, 100), (-10, 90)])
def test_wrong_length_is_only_announced(hub: Hub, delta: int, size: int) -> None:
    strike(hub, WrongLength(delta))
    got = cdn_get(hub, "0-99")
    assert (len(got.body), got.complete) == (size, delta < 0)
    assert got.header("Content-Length") == str(100 + delta)
    assert hub.bytes_sent("cdn") == 100


def test_ignored_range_gives_the_whole_file(hub: Hub) -> None:
    strike(hub, IgnoreRange())
    got = cdn_get(hub, "100-199")
    assert (got.status, got.body, got.header("Content-Range")) == (200, BYTES, None)


@pytest.mark.parametrize(("shift", "said"), [(7, f"bytes 107-206/{SIZE}"), (None, None)])
def test_wrong_content_range_hides_a_right_body(
    hub: Hub, shift: int | None, said: str | None
) -> None:
    strike(hub, WrongRange(shift))
    got = cdn_get(hub, "100-199")
    assert (got.body, got.header("Content-Range")) == (BYTES[100:200], said)


def test_changing_etag_makes_if_range_fail(hub: Hub) -> None:
    hub.faults.add(Fault("cdn", ChangeEtag(), times=None))
    url = signed_url(hub)
    first = fetch(url, range="0-9").header("ETag") or ""
    got = fetch(url, range="0-9", headers={"If-Range": first})
    assert got.status == 200
    assert got.header("ETag") != first


@pytest.mark.parametrize(("at", "place"), [(None, 100), (150, 150), (5000, None)])
def test_corruption_keeps_the_length(hub: Hub, at: int | None, place: int | None) -> None:
    strike(hub, Corrupt(at))
    got = cdn_get(hub, "100-199").body
    wrong = [100 + n for n, (a, b) in enumerate(zip(got, BYTES[100:200], strict=True)) if a != b]
    assert wrong == ([] if place is None else [place])


def test_gzip_chunks_and_no_length_carry_the_same_bytes(hub: Hub) -> None:
    strike(hub, Gzip())
    packed = cdn_get(hub)
    assert packed.header("Content-Encoding") == "gzip"
    assert gzip.decompress(packed.body) == BYTES
    strike(hub, Chunked())
    chunked = cdn_get(hub)
    assert (chunked.header("Transfer-Encoding"), chunked.body) == ("chunked", BYTES)
    strike(hub, NoLength())
    endless = cdn_get(hub)
    assert (endless.header("Content-Length"), endless.body) == (None, BYTES)


def test_chunked_body_may_be_cut_too(hub: Hub) -> None:
    hub.faults.add(Fault("cdn", Chunked()), Fault("cdn", Cut(after_bytes=1000)))
    got = cdn_get(hub)
    assert (got.complete, got.body) == (False, BYTES[:1000])


def test_login_page_has_status_200(hub: Hub) -> None:
    strike(hub, Html())
    got = cdn_get(hub)
    assert got.status == 200
    assert b"<html>" in got.body


def test_redirect_loop_leads_back(hub: Hub) -> None:
    strike(hub, RedirectLoop(), "resolve")
    got = fetch(f"{hub.endpoint}/org/name/resolve/main/w.bin")
    assert (got.status, got.header("Location")) == (302, "/org/name/resolve/main/w.bin")


def test_redirect_to_another_host_keeps_what_a_redirect_said(hub: Hub) -> None:
    strike(hub, RedirectTo("http://other.invalid/x"), "resolve")
    got = fetch(f"{hub.endpoint}/org/name/resolve/main/w.bin")
    assert (got.status, got.header("Location")) == (302, "http://other.invalid/x")
    assert got.header("X-Linked-Size") == str(SIZE)
    strike(hub, RedirectTo("http://other.invalid/x", 301), "info")
    assert fetch(f"{hub.endpoint}/api/models/org/name").status == 301


def test_signed_address_expires_after_its_uses_and_a_new_one_works(hub: Hub) -> None:
    hub.faults.add(Fault("cdn", ExpireAfter(2), times=None))
    for _ in range(2):
        url = signed_url(hub)
        assert [fetch(url, range="0-0").status for _ in range(3)] == [206, 206, 403]


def test_listing_can_be_cut_in_two_ways(hub: Hub) -> None:
    hub.page_size = 2
    tree = f"{hub.endpoint}/api/models/org/name/tree/main"
    assert 'rel="next"' in (fetch(tree).header("Link") or "")
    strike(hub, DropHeader("Link"), "tree")
    assert fetch(tree).header("Link") is None
    strike(hub, TruncateList(1), "tree")
    cut = fetch(tree)
    assert cut.header("Link") is None
    hub.faults.add(Fault("tree", TruncateList(1)))
    assert len(get_json(tree)) == 1


def test_headers_and_json_can_lie(hub: Hub) -> None:
    strike(hub, SetHeader("X-Repo-Commit", "0" * 40), "resolve")
    got = fetch(f"{hub.endpoint}/org/name/resolve/main/a.txt")
    assert got.header("X-Repo-Commit") == "0" * 40
    strike(hub, ReplaceBody(b'{"id": '), "info")
    assert fetch(f"{hub.endpoint}/api/models/org/name").body == b'{"id": '


# --- what is recorded


def test_requests_are_counted_by_place_and_file(hub: Hub) -> None:
    cdn_get(hub, "0-99")
    cdn_get(hub, "100-149")
    fetch(f"{hub.endpoint}/api/models/org/name", headers={"Authorization": "Bearer hf_good"})
    assert (hub.count("resolve"), hub.count("api"), hub.count("cdn", status=206)) == (2, 1, 2)
    assert hub.cdn_bytes() == {LARGE.sha256: 150}
    assert hub.file_bytes() == {"w.bin": 150}
    assert [one.path for one in hub.authorized()] == ["/api/models/org/name"]
    assert [one.range for one in hub.seen("cdn")] == ["bytes=0-99", "bytes=100-149"]
    hub.clear()
    assert hub.count() == 0


def test_refusal_that_names_a_hostile_path_is_still_one_answer(hub: Hub) -> None:
    got = fetch(f"{hub.endpoint}/api/models/org/name/tree/main/a%0D%0AX-Evil:%201")
    assert (got.status, got.header("X-Error-Code")) == (404, "EntryNotFound")
    assert got.header("X-Evil") is None


def test_checked_repository_refuses_to_point_a_tag_at_nothing() -> None:
    with pytest.raises(KeyError, match="no commit"):
        Repo("org/name").tag("v1", "0" * 40)
