"""Read-only views: what is stored, how it stands to what is declared, what differs."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sync_daemon.domain import canonical, keys
from sync_daemon.domain.digests import CommitId, Digest
from sync_daemon.domain.errors import StoreRefused
from sync_daemon.domain.listing import Repository
from sync_daemon.domain.manifest import Current, FileEntry, Manifest, Source
from sync_daemon.domain.names import ModelName, RepoPath, VersionName
from sync_daemon.domain.selection import Selection
from sync_daemon.domain.wanted import WantedTags
from sync_daemon.engine.browse import Browser, Tally, compare, in_order
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.standing import Entry, Standing, newest_run, take_stock
from sync_daemon.engine.tools import How
from sync_daemon.stores.memory import MemoryStore
from tests.support.fakes import BreakingStore, FakeClock, FakeOrigin, Recorder, running, wanted
from tests.support.stores import CountingStore

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


def browser(store: MemoryStore) -> Browser:
    return Browser(store, Retry(1, Recorder(), FakeClock()))


def place(
    store: MemoryStore, name: str, files: dict[str, bytes], *, hold: bool = False, pin: bool = False
) -> Current:
    """Publish `model@version` by hand; its blobs do not matter to who only browses."""
    model, version = name.split("@")
    entries = tuple(
        FileEntry(RepoPath(path), len(data), Digest.of(data))
        for path, data in sorted(files.items())
    )
    manifest = Manifest(
        ModelName(model),
        VersionName(version),
        Source("huggingface", "org/m", "model", "main", CommitId("a" * 40)),
        Selection().digest,
        entries,
    )
    data = manifest.encode()
    pointer = Current(
        CommitId("a" * 40), Selection().digest, Digest.of(data), NOW, hold=hold, pin=pin
    )
    store.put(keys.manifest(manifest.model, manifest.version, pointer.manifest), data)
    store.put(keys.current(manifest.model, manifest.version), pointer.encode())
    return pointer


def record(
    store: MemoryStore, started: datetime, *results: dict[str, Any], unchanged: int = 0
) -> str:
    """Store a run's report and return the run's id."""
    run_id = f"{started:%Y%m%dT%H%M%SZ}-0"
    document = {
        "run_id": run_id,
        "mode": "incremental",
        "status": "ok",
        "started": started.isoformat(),
        "seconds": 1.5,
        "unchanged": unchanged,
        "models": list(results),
    }
    store.put(keys.run(run_id, started), json.dumps(document).encode())
    return run_id


def result(name: str, status: str, error: dict[str, Any] | None = None) -> dict[str, Any]:
    model, _, version = name.partition("@")
    return {"model": model, "version": version, "status": status, "reasons": [], "error": error}


def tags(pattern: str, latest: int | None = None, model: str = "m") -> WantedTags:
    return WantedTags(ModelName(model), "hf", Repository("org/m"), pattern, latest, Selection())


def stock(store: MemoryStore, *entries: Entry) -> Standing:
    return take_stock(browser(store), entries, NOW)


def states(standing: Standing) -> dict[str, str]:
    return {f"{row.model}@{row.version}": row.state for row in standing.rows}


def results(standing: Standing) -> dict[str, str | None]:
    return {
        f"{row.model}@{row.version}": row.last["status"] if row.last else None
        for row in standing.rows
    }


# -- what is stored --------------------------------------------------------------------------


def test_names_come_by_model_and_newest_version_first() -> None:
    store = MemoryStore()
    for name in ("b@v1.9", "b@v1.10", "a@main", "b@v2.0-rc1"):
        place(store, name, {})
    found = [f"{model}@{version}" for model, version in browser(store).names()]
    assert found == ["a@main", "b@v1.10", "b@v1.9", "b@v2.0-rc1"]


def test_a_model_is_not_taken_for_the_organisation_of_another() -> None:
    """`meta` and `meta/llama` share a prefix in the store."""
    store = MemoryStore()
    place(store, "meta@1.0", {})
    place(store, "meta/llama@1.0", {})
    assert browser(store).names(ModelName("meta")) == (("meta", "1.0"),)
    assert browser(store).names(ModelName("meta/llama")) == (("meta/llama", "1.0"),)


def test_foreign_objects_and_manifests_without_a_pointer_are_no_versions() -> None:
    store = MemoryStore()
    store.put("models/-bad-/1.0/current.json", b"{}")
    store.put("models/note.txt", b"")
    store.put(keys.manifest(ModelName("m"), VersionName("1.0"), Digest.of(b"")), b"{}")
    assert browser(store).names() == ()


def test_a_version_that_is_not_published_is_none() -> None:
    assert browser(MemoryStore()).read(ModelName("m"), VersionName("1.0")) is None


def test_a_published_version_is_read_whole() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    commit = origin.commit("org/m", {"config.json": b"{}", "w.bin": b"w" * 2000})
    with running(store, origin) as engine:
        report = engine.run([wanted()], How())
    stored = browser(store).read(ModelName("m"), VersionName("main"))
    assert stored is not None
    assert stored.manifest is not None
    assert stored.pointer is not None
    assert stored.problem is None
    assert stored.pointer.commit == commit
    assert stored.manifest_key == report.versions[0].manifest
    assert [entry.path for entry in stored.manifest.files] == ["config.json", "w.bin"]


@pytest.mark.parametrize("damage", ["pointer", "manifest", "another manifest", "no manifest"])
def test_damage_is_told_of_its_version_and_hides_no_other(damage: str) -> None:
    store = MemoryStore()
    place(store, "m@good", {"a": b"a"})
    pointer = place(store, "m@bad", {"a": b"a"})
    key = keys.manifest(ModelName("m"), VersionName("bad"), pointer.manifest)
    match damage:
        case "pointer":
            store.put("models/m/bad/current.json", b"not json")
        case "manifest":
            store.put(key, b"not json")
        case "another manifest":
            store.put(key, store.get(key).data.replace(b'"a"', b'"b"'))
        case _:
            store.delete(key)
    tally = Tally()
    found = browser(store).survey(browser(store).names(), tally)
    assert {one.version: bool(one.problem) for one in found} == {"good": False, "bad": True}
    assert tally.versions == 1


def test_a_version_that_goes_while_it_is_listed_is_left_out() -> None:
    store = MemoryStore()
    place(store, "m@1.0", {})
    place(store, "m@2.0", {})
    view = browser(store)
    names = view.names()
    store.delete("models/m/2.0/current.json")
    assert [one.version for one in view.survey(names, Tally())] == ["1.0"]


def test_more_versions_than_one_batch_keep_their_order() -> None:
    store = MemoryStore()
    for number in range(70):
        place(store, f"m@{number}.0", {"f": b"x" * number})
    found = browser(store).survey(browser(store).names(), Tally())
    assert [one.version for one in found] == [f"{number}.0" for number in reversed(range(70))]
    assert [one.size for one in found] == list(reversed(range(70)))


def test_shared_content_is_stored_once() -> None:
    store = MemoryStore()
    place(store, "m@1.0", {"w": b"w" * 100, "copy": b"w" * 100, "a": b"1"})
    place(store, "n@1.0", {"w": b"w" * 100})
    tally = Tally()
    browser(store).survey(browser(store).names(), tally)
    assert tally.to_json() == {
        "versions": 2,
        "files": 4,
        "bytes": 301,
        "distinct_bytes": 101,
        "saved_bytes": 200,
    }


def test_an_unknown_format_is_refused() -> None:
    store = MemoryStore()
    store.put(keys.MARKER, canonical.encode({"format": 99}))
    with pytest.raises(StoreRefused, match=r"mirror\.json"):
        browser(store).open()


def test_a_store_that_stumbles_is_asked_again() -> None:
    store, clock = MemoryStore(), FakeClock()
    place(store, "m@1.0", {})
    heard = Recorder()
    broken = Browser(BreakingStore(store, 0), Retry(3, heard, clock))
    with pytest.raises(Exception, match="the store broke"):
        broken.names()
    assert len(heard.named("request.retried")) == 2


def test_names_without_a_version_order_come_last() -> None:
    names = [(ModelName("m"), VersionName(text)) for text in ("main", "2.0", "10.0")]
    assert [version for _, version in in_order(names)] == ["10.0", "2.0", "main"]


# -- how it stands -----------------------------------------------------------------------------


def test_every_version_declared_or_stored_has_a_state() -> None:
    store = MemoryStore()
    place(store, "m@1.0", {})
    place(store, "m@held", {}, hold=True)
    place(store, "m@left", {})
    place(store, "m@bad", {})
    store.put("models/m/bad/current.json", b"{}")
    declared = [wanted("m", name) for name in ("1.0", "held", "bad", "new")]
    assert states(stock(store, *declared)) == {
        "m@1.0": "published",
        "m@held": "held",
        "m@left": "undeclared",
        "m@bad": "damaged",
        "m@new": "missing",
    }


def test_rows_are_sorted_by_model() -> None:
    store = MemoryStore()
    place(store, "b@1.0", {})
    place(store, "d@1.0", {})
    standing = stock(store, wanted("c"), wanted("a"), wanted("d", "1.0"), wanted("b", "1.0"))
    assert [row.model for row in standing.rows] == ["a", "b", "c", "d"]


def test_the_newest_tags_that_are_stored_are_declared_by_their_pattern() -> None:
    store = MemoryStore()
    for name in ("m@v1", "m@v2", "m@v10", "m@other", "n@v3"):
        place(store, name, {})
    assert states(stock(store, tags("v*", latest=2))) == {
        "m@v10": "published",
        "m@v2": "published",
        "m@v1": "undeclared",
        "m@other": "undeclared",
        "n@v3": "undeclared",
    }


def test_a_tag_with_a_slash_is_known_by_its_pattern() -> None:
    store = MemoryStore()
    place(store, "m@release%2Fv1", {})
    assert states(stock(store, tags("release/*"))) == {"m@release%2Fv1": "published"}


def test_a_version_of_its_own_name_takes_no_place_of_a_pattern() -> None:
    store = MemoryStore()
    place(store, "m@v2", {})
    place(store, "m@v1", {})
    standing = stock(store, wanted("m", "v2"), tags("v*", latest=1))
    assert states(standing) == {"m@v2": "published", "m@v1": "published"}


def test_a_pattern_of_which_nothing_is_stored_is_missing_as_one() -> None:
    assert states(stock(MemoryStore(), tags("v*"))) == {"m@tags:v*": "missing"}


def test_a_pattern_that_could_not_be_read_is_shown_beside_its_versions() -> None:
    store = MemoryStore()
    place(store, "m@v1", {})
    record(store, NOW, result("m@tags:v*", "failed", {"kind": "x", "message": "no refs"}))
    standing = stock(store, tags("v*"))
    assert states(standing) == {"m@v1": "published", "m@tags:v*": "missing"}
    assert results(standing)["m@tags:v*"] == "failed"


def test_a_tag_that_failed_to_be_fetched_is_missing() -> None:
    store = MemoryStore()
    place(store, "m@v1", {})
    record(store, NOW, result("m@v2", "failed"), unchanged=1)
    standing = stock(store, tags("v*"))
    assert states(standing) == {"m@v1": "published", "m@v2": "missing"}
    assert results(standing) == {"m@v1": "unchanged", "m@v2": "failed"}


def test_a_tag_without_a_legal_name_is_missing() -> None:
    store = MemoryStore()
    record(store, NOW, result("m@tags:v 1", "refused"))
    assert states(stock(store, tags("v*")))["m@tags:v 1"] == "missing"


def test_the_newest_run_says_what_became_of_each_version() -> None:
    store = MemoryStore()
    for name in ("m@1.0", "m@2.0", "m@left"):
        place(store, name, {})
    record(store, NOW - timedelta(hours=1), result("m@2.0", "failed"))
    record(store, NOW, result("m@1.0", "published"), unchanged=1)
    standing = stock(store, wanted("m", "1.0"), wanted("m", "2.0"), wanted("m", "3.0"))
    assert results(standing) == {
        "m@1.0": "published",
        "m@2.0": "unchanged",
        "m@3.0": None,
        "m@left": None,
    }


def test_what_a_run_of_a_part_did_not_name_is_not_guessed() -> None:
    """One of two was unchanged; which of them the record does not say."""
    store = MemoryStore()
    place(store, "m@1.0", {})
    place(store, "m@2.0", {})
    record(store, NOW, unchanged=1)
    standing = stock(store, wanted("m", "1.0"), wanted("m", "2.0"))
    assert results(standing) == {"m@1.0": None, "m@2.0": None}


@pytest.mark.parametrize("status", ["skipped", "interrupted"])
def test_what_was_passed_over_and_is_published_since_is_not_told(status: str) -> None:
    store = MemoryStore()
    place(store, "m@1.0", {})
    record(store, NOW + timedelta(minutes=1), result("m@1.0", status))
    assert results(stock(store, wanted("m", "1.0"))) == {"m@1.0": status}
    store = MemoryStore()
    place(store, "m@1.0", {})
    record(store, NOW - timedelta(minutes=1), result("m@1.0", status))
    assert results(stock(store, wanted("m", "1.0"))) == {"m@1.0": None}


def test_a_run_that_the_engine_reports_is_understood() -> None:
    """The record of a real run, not one that a test made up."""
    store, origin, clock = MemoryStore(), FakeOrigin(), FakeClock()
    origin.commit("org/m", {"config.json": b"{}"})
    entries = [wanted(), wanted("gone", repo="org/gone")]
    with running(store, origin, clock=clock) as engine:
        engine.run(entries, How())
        clock.wait(60)
        report = engine.run(entries, How())
    standing = take_stock(browser(store), entries, clock.now())
    assert standing.run is not None
    assert standing.run.run_id == report.run_id
    assert results(standing) == {"gone@main": "failed", "m@main": "unchanged"}
    assert states(standing) == {"gone@main": "missing", "m@main": "published"}


@pytest.mark.parametrize("age", [-0.9, 0, 1, 7, 8, 40, 700])
def test_the_newest_run_is_found_however_old_it_is(age: float) -> None:
    """Also when the host that wrote it is ahead of this one."""
    store = MemoryStore()
    newest = NOW - timedelta(days=age)
    record(store, newest - timedelta(days=3))
    record(store, newest - timedelta(minutes=1))
    run_id = record(store, newest)
    found = newest_run(browser(store), NOW)
    assert found is not None
    assert found.run_id == run_id


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"models": 3}', b"\xff"])
def test_a_damaged_record_is_no_run(data: bytes) -> None:
    store = MemoryStore()
    store.put(keys.run("x", NOW), data)
    assert newest_run(browser(store), NOW) is None


def everything(store: MemoryStore) -> dict[str, bytes]:
    return {info.key: store.get(info.key).data for info in store.list("")}


def test_taking_stock_lists_models_once_reads_each_object_once_and_writes_nothing() -> None:
    store = CountingStore()
    for number in range(5):
        place(store, f"m@{number}", {"f": b"x"})
    record(store, NOW)
    before = everything(store)
    store.got.clear()
    store.listed.clear()
    stock(store, wanted("m", "1"), tags("*"))
    assert len(store.got) == len(set(store.got)) == 5 + 5 + 1
    assert [prefix for prefix in store.listed if not prefix.startswith("runs/")] == ["models/"]
    assert len(store.listed) <= 3
    assert everything(store) == before


# -- what differs ------------------------------------------------------------------------------


def manifest_of(store: MemoryStore, name: str, files: dict[str, bytes]) -> Manifest:
    pointer = place(store, name, files)
    model, version = name.split("@")
    stored = browser(store).read(ModelName(model), VersionName(version))
    assert stored is not None
    assert stored.manifest is not None
    assert stored.pointer == pointer
    return stored.manifest


def test_a_difference_names_every_file_once() -> None:
    store = MemoryStore()
    before = manifest_of(store, "m@1", {"a": b"1", "b": b"22", "c": b"333"})
    after = manifest_of(store, "m@2", {"b": b"22", "c": b"4444", "d": b"55555"})
    found = compare(before, after)
    assert [entry.path for entry in found.added] == ["d"]
    assert [(a.size, b.size) for a, b in found.changed] == [(3, 4)]
    assert [entry.path for entry in found.removed] == ["a"]
    assert [entry.path for entry in found.same] == ["b"]
    assert found.new_bytes == 4 + 5


def test_a_renamed_file_brings_no_new_content() -> None:
    store = MemoryStore()
    before = manifest_of(store, "m@1", {"old": b"same"})
    after = manifest_of(store, "m@2", {"new": b"same", "copy": b"same"})
    assert compare(before, after).new_bytes == 0


def test_new_content_under_two_paths_counts_once() -> None:
    store = MemoryStore()
    after = manifest_of(store, "m@2", {"a": b"new", "b": b"new"})
    assert compare(manifest_of(store, "m@1", {}), after).new_bytes == 3


def test_a_version_does_not_differ_from_itself() -> None:
    manifest = manifest_of(MemoryStore(), "m@1", {"a": b"1"})
    found = compare(manifest, manifest)
    assert (found.added, found.changed, found.removed, found.new_bytes) == ((), (), (), 0)
    assert found.same == manifest.files
