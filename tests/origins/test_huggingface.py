"""The Hub as an origin: requests, listings, tokens and endpoints."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from sync_daemon.domain.admission import admit
from sync_daemon.domain.errors import (
    ConfigurationError,
    OriginLied,
    OriginRefused,
    OriginUnavailable,
    RepositoryNotFound,
    SyncError,
)
from sync_daemon.domain.events import EndpointRested, EndpointSwitched
from sync_daemon.domain.listing import Repository
from sync_daemon.domain.selection import Selection
from sync_daemon.meter import Meter, use
from tests.support.hub import (
    DropHeader,
    Effect,
    Fault,
    Hub,
    RedirectTo,
    SetHeader,
    Status,
    Synthetic,
    TruncateList,
)
from tests.support.hub_bench import (
    CALLS,
    LARGE,
    NAME,
    REPOSITORY,
    SIZE,
    Bench,
    content,
    file_of,
    head,
    list_head,
    read,
)


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
