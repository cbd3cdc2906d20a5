"""Web servers as an origin: what they leave out, what they ignore, and what they change."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import Any

import pytest

from sync_daemon.domain.admission import admit
from sync_daemon.domain.digests import CommitId
from sync_daemon.domain.errors import (
    ConfigurationError,
    Forbidden,
    OriginChanged,
    OriginFileNotFound,
    OriginLied,
    OriginUnavailable,
    RevisionNotFound,
)
from sync_daemon.domain.listing import RemoteFile, Repository
from sync_daemon.domain.selection import Selection
from sync_daemon.engine.tools import How
from sync_daemon.meter import Meter, use
from sync_daemon.origins.http import HttpFile, HttpOrigin
from sync_daemon.stores.memory import MemoryStore
from sync_daemon.wire import Http
from tests.support.fakes import Recorder, running, wanted
from tests.support.webroot import Page, WebRoot, page

REPOSITORY = Repository("m")
DATA = b"0123456789" * 100


@pytest.fixture
def web() -> Iterator[WebRoot]:
    with WebRoot() as made:
        yield made


@pytest.fixture
def http() -> Iterator[Http]:
    made = Http("origin")
    yield made
    made.close()


def origin_of(web: WebRoot, http: Http, *files: HttpFile) -> HttpOrigin:
    headers = {"Authorization": "Bearer secret"}
    named = {"m": files or (HttpFile("x.bin"),)}
    return HttpOrigin("web", web.url, http=http, files=named, headers=headers)


def serve(web: WebRoot, http: Http, found: Page) -> HttpOrigin:
    web.pages["/m/x.bin"] = found
    return origin_of(web, http)


def listed(origin: HttpOrigin) -> tuple[CommitId, RemoteFile]:
    commit = origin.refs(REPOSITORY).branches["main"]
    (file,) = admit(origin.list(REPOSITORY, commit), Selection()).files
    return commit, file


def read(origin: HttpOrigin, file: RemoteFile, start: int = 0, stop: int | None = None) -> bytes:
    stop = file.size if stop is None else stop
    view, filled = memoryview(bytearray(stop - start)), 0
    with origin.open(REPOSITORY, CommitId("0" * 64), file, start, stop) as reader:
        while got := reader.readinto(view[filled:]):
            filled += got
    return bytes(view[:filled])


ABLE = {
    "all that one wants": {},
    "no HEAD": {"head": False},
    "no word about ranges": {"says_ranges": False},
    "neither": {"head": False, "says_ranges": False},
}


@pytest.mark.parametrize("way", ABLE)
def test_size_and_ranges_are_found_out(web: WebRoot, http: Http, way: str) -> None:
    origin = serve(web, http, page(DATA, **ABLE[way]))
    _, file = listed(origin)
    assert (file.size, file.ranges) == (len(DATA), True)
    assert read(origin, file, 3, 8) == DATA[3:8]


def test_a_server_without_ranges_is_read_from_the_start(web: WebRoot, http: Http) -> None:
    origin = serve(web, http, page(DATA, ranges=False))
    _, file = listed(origin)
    assert (file.size, file.ranges) == (len(DATA), False)
    assert read(origin, file) == DATA
    with pytest.raises(OriginLied, match="cannot send a part"):
        read(origin, file, 1, 2)


def test_a_server_that_promises_ranges_and_ignores_them_is_caught(web: WebRoot, http: Http) -> None:
    origin = serve(web, http, page(DATA))
    _, file = listed(origin)
    web.pages["/m/x.bin"].ranges = False
    with pytest.raises(OriginLied, match="whole answer"):
        read(origin, file, 1, 2)


def test_a_file_without_a_size_cannot_be_mirrored(web: WebRoot, http: Http) -> None:
    origin = serve(web, http, page(DATA, sized=False, ranges=False))
    with pytest.raises(OriginLied, match="how big") as caught:
        origin.refs(REPOSITORY)
    assert "Content-Length" in (caught.value.hint or "")


@pytest.mark.parametrize("data", [b"", b"x"])
@pytest.mark.parametrize("head", [True, False])
def test_the_smallest_files_have_a_size_too(
    web: WebRoot, http: Http, data: bytes, *, head: bool
) -> None:
    origin = serve(web, http, page(data, head=head, says_ranges=False))
    _, file = listed(origin)
    assert file.size == len(data)
    assert read(origin, file) == data


def test_the_listing_is_not_asked_for_twice(web: WebRoot, http: Http) -> None:
    origin = serve(web, http, page(DATA))
    with use(Meter()) as meter:
        _, file = listed(origin)
        assert meter.origin_requests == 1
        read(origin, file, 0, 10)
        assert meter.origin_requests == 2


def test_the_commit_holds_the_digest_where_the_yaml_knows_it(web: WebRoot, http: Http) -> None:
    digest = hashlib.sha256(DATA).hexdigest()
    web.pages["/m/x.bin"] = page(DATA)
    origin = origin_of(web, http, HttpFile("x.bin", digest))
    commit, file = listed(origin)
    assert file.sha256 == digest
    web.pages["/m/x.bin"] = Page(DATA, etag='"other"')
    assert listed(origin)[0] == commit


VALIDATORS = {
    "etag": ({"etag": '"1"'}, {"etag": '"2"'}),
    "date": (
        {"modified": "Sat, 01 Jan 2022 00:00:00 GMT"},
        {"modified": "Sun, 02 Jan 2022 00:00:00 GMT"},
    ),
    "weak etag and date": (
        {"etag": 'W/"1"', "modified": "Sat, 01 Jan 2022 00:00:00 GMT"},
        {"etag": 'W/"1"', "modified": "Sun, 02 Jan 2022 00:00:00 GMT"},
    ),
    "weak etag alone": (
        {"etag": 'W/"1"', "modified": None},
        {"etag": 'W/"2"', "modified": None},
    ),
}


@pytest.mark.parametrize("kind", VALIDATORS)
def test_a_change_shows_in_the_commit_and_stops_a_read(web: WebRoot, http: Http, kind: str) -> None:
    before, after = VALIDATORS[kind]
    origin = serve(web, http, Page(DATA, **before))
    commit, file = listed(origin)
    assert read(origin, file, 0, 5) == DATA[:5]
    web.pages["/m/x.bin"] = Page(DATA[::-1], **after)
    for start, stop in ((5, 10), (0, len(DATA))):
        with pytest.raises(OriginChanged, match=r"changed|replaced"):
            read(origin, file, start, stop)
    assert listed(origin)[0] != commit
    with pytest.raises(RevisionNotFound):
        origin.list(REPOSITORY, commit)


def test_a_login_page_is_not_taken_for_a_file(web: WebRoot, http: Http) -> None:
    origin = serve(web, http, page(DATA))
    _, file = listed(origin)
    web.pages["/m/x.bin"] = Page(b"<html>" * 200, kind="text/html; charset=utf-8", ranges=False)
    with pytest.raises(OriginLied, match="web page"):
        read(origin, file)
    with pytest.raises(OriginLied, match="web page"):
        origin.refs(REPOSITORY)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Forbidden),
        (403, Forbidden),
        (404, OriginFileNotFound),
        (410, OriginFileNotFound),
        (418, OriginLied),
        (429, OriginUnavailable),
        (500, OriginUnavailable),
        (503, OriginUnavailable),
    ],
)
def test_every_status_becomes_the_error_that_it_means(
    web: WebRoot, http: Http, status: int, kind: type[Exception]
) -> None:
    origin = serve(web, http, page(DATA))
    _, file = listed(origin)
    web.pages["/m/x.bin"].status = status
    for call in (lambda: origin.refs(REPOSITORY), lambda: read(origin, file, 0, 5)):
        with pytest.raises(kind, match=r"x\.bin") as caught:
            call()
        assert "secret" not in f"{caught.value} {getattr(caught.value, 'hint', '')}"


def test_a_redirect_is_resolved_once_and_never_sees_our_headers(web: WebRoot, http: Http) -> None:
    with WebRoot({"/signed": page(DATA)}) as storage:
        origin = serve(web, http, Page(moved=f"{storage.url}/signed?sig=1"))
        _, file = listed(origin)
        storage.seen.clear()
        web.seen.clear()
        assert b"".join(read(origin, file, n, n + 10) for n in range(0, 100, 10)) == DATA[:100]
        assert len(web.seen) == 1
        assert len(storage.seen) == 10
        assert "Authorization" in web.seen[0][2]
        assert not any("Authorization" in headers for _, _, headers in storage.seen)


def test_a_signed_address_that_expired_is_resolved_again(web: WebRoot, http: Http) -> None:
    with WebRoot({"/old": page(DATA), "/new": page(DATA)}) as storage:
        origin = serve(web, http, Page(moved=f"{storage.url}/old"))
        _, file = listed(origin)
        assert read(origin, file, 0, 5) == DATA[:5]
        storage.pages["/old"].status = 403
        web.pages["/m/x.bin"].moved = f"{storage.url}/new"
        assert read(origin, file, 5, 9) == DATA[5:9]


@pytest.mark.parametrize("target", ["/m/x.bin", "ftp://h/x", "http://u:p@h/x", "http://[::1/x"])
def test_a_redirect_to_nowhere_is_a_lie(web: WebRoot, http: Http, target: str) -> None:
    origin = serve(web, http, Page(moved=target))
    with pytest.raises(OriginLied, match="redirect"):
        origin.refs(REPOSITORY)


def test_an_origin_that_cannot_be_reached_is_unavailable(http: Http) -> None:
    origin = HttpOrigin("web", "http://127.0.0.1:9/x", http=http, files={"m": (HttpFile("x"),)})
    for call in (origin.check, lambda: origin.refs(REPOSITORY)):
        with pytest.raises(
            OriginUnavailable, match=r"the origin at 127\.0\.0\.1:9: connection refused"
        ):
            call()


@pytest.mark.parametrize("url", ["ftp://h/x", "h/x", "http://u:p@h/"])
def test_a_wrong_url_is_a_configuration_error(http: Http, url: str) -> None:
    with pytest.raises(ConfigurationError, match="'web'"):
        HttpOrigin("web", url, http=http, files={})


@pytest.mark.parametrize("header", [("X", "a\r\nY: b"), ("a b", "c"), ("", "c"), ("X", "\u20ac")])
def test_a_header_that_cannot_be_sent_is_a_configuration_error(
    http: Http, header: tuple[str, str]
) -> None:
    with pytest.raises(ConfigurationError, match="header"):
        HttpOrigin("web", "http://h/", http=http, files={}, headers=dict([header]))


def test_a_file_of_which_nothing_tells_whether_it_changed_comes_from_one_answer(
    web: WebRoot, http: Http
) -> None:
    unknown = Page(DATA, modified=None)
    _, file = listed(serve(web, http, unknown))
    assert (file.token, file.ranges) == (None, False)
    named = origin_of(web, http, HttpFile("x.bin", hashlib.sha256(DATA).hexdigest()))
    assert listed(named)[1].ranges, "the digest will tell"


def test_a_range_that_does_not_say_of_which_file_it_is_counts_only_with_a_digest(
    web: WebRoot, http: Http
) -> None:
    origin = serve(web, http, page(DATA))
    _, file = listed(origin)
    named = origin_of(web, http, HttpFile("x.bin", hashlib.sha256(DATA).hexdigest()))
    _, proven = listed(named)
    web.pages["/m/x.bin"].etag = None
    with pytest.raises(OriginLied, match="without the ETag") as caught:
        read(origin, file, 3, 8)
    assert "sha256" in (caught.value.hint or "")
    assert read(origin, file) == DATA, "one answer cannot be a mixture"
    assert read(named, proven, 3, 8) == DATA[3:8]


def test_an_address_elsewhere_that_is_refused_when_new_can_heal(web: WebRoot, http: Http) -> None:
    with WebRoot() as elsewhere:
        web.pages["/m/x.bin"] = Page(moved=f"{elsewhere.url}/signed")
        elsewhere.pages["/signed"] = page(DATA)
        origin = origin_of(web, http)
        _, file = listed(origin)
        elsewhere.pages["/signed"] = Page(status=403)
        with pytest.raises(OriginLied, match="403"):
            read(origin, file, 3, 8)
        elsewhere.pages["/signed"] = page(DATA)
        assert read(origin, file, 3, 8) == DATA[3:8]


class Replacing(dict[str, Page]):
    """Pages of which one is another from its n-th GET of a part on, for so many of them."""

    def __init__(self, path: str, first: Page, second: Page, nth: int, times: int) -> None:
        super().__init__({path: first})
        self._second, self._nth, self._last = second, nth, nth + times
        self._gets = 0

    def get(self, path: str, default: Any = None) -> Any:
        self._gets += 1
        return self._second if self._nth <= self._gets < self._last else super().get(path, default)


@pytest.mark.parametrize(("times", "status"), [(1, "published"), (10**6, "failed")])
@pytest.mark.parametrize("kind", VALIDATORS)
def test_a_large_file_that_is_replaced_while_it_is_read_is_never_a_mixture(
    web: WebRoot, http: Http, kind: str, times: int, status: str
) -> None:
    before, after = VALIDATORS[kind]
    data = os.urandom(16 * 1024**2)
    replaced = Page(data[::-1], **after)
    web.pages = Replacing("/m/x.bin", Page(data, **before), replaced, nth=4, times=times)
    store, told = MemoryStore(), Recorder()
    with running(store, origin_of(web, http), emit=told) as engine:
        report = engine.run([wanted(repo="m", origin="web")], How())
    (version,) = report.versions
    assert version.status == status, version
    blobs = [store.get(info.key).data for info in store.list("blobs/")]
    assert blobs == ([data] if status == "published" else [])
    if status == "failed":
        assert version.error is not None
        assert version.error.kind == "origin_changed"
        assert version.error.hint is not None
        assert "the next run lists it anew" in version.error.hint
        assert told.named("request.retried") == [], "another attempt in this run cannot help"
        assert list(store.list("models/")) == []


def test_a_digest_that_the_configuration_has_wrong_is_not_the_origins_promise(
    web: WebRoot, http: Http
) -> None:
    web.pages["/m/x.bin"] = page(DATA)
    origin = origin_of(web, http, HttpFile("x.bin", "0" * 64))
    with running(MemoryStore(), origin) as engine:
        (version,) = engine.run([wanted(repo="m", origin="web")], How()).versions
    assert version.error is not None
    assert version.error.kind == "digest_mismatch"
    assert "files[].sha256 of the configuration expects 0000" in version.error.message
    assert hashlib.sha256(DATA).hexdigest() in version.error.message
    assert "correct sha256 in the configuration" in (version.error.hint or "")
    assert "tell the publisher" in (version.error.hint or "")
