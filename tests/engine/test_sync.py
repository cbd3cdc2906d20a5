"""The straight line over fakes: what is moved, what is reused, what is refused."""

import json
import os
from dataclasses import replace
from typing import Any

import pytest

from sync_daemon.domain import keys
from sync_daemon.domain.digests import CommitId, Digest
from sync_daemon.domain.errors import StoreRefused
from sync_daemon.domain.listing import Repository
from sync_daemon.domain.names import ModelName, VersionName
from sync_daemon.domain.report import RunReport
from sync_daemon.domain.selection import Selection
from sync_daemon.domain.wanted import Wanted, WantedTags
from sync_daemon.engine.limits import MIB
from sync_daemon.engine.tools import How
from sync_daemon.ports import ObjectStore
from sync_daemon.stores.memory import MemoryStore
from tests.support.fakes import FakeOrigin, Recorder, running, wanted
from tests.support.invariants import check_store

SMALL = {"config.json": b'{"architectures": ["Llama"]}', "empty": b"", "é 🦙#+%20.txt": b"odd"}
SHARDS = {f"model-{n}.bin": os.urandom(3000 + n) for n in range(8)}


def run(
    store: ObjectStore, origin: FakeOrigin, *entries: Wanted | WantedTags, how: How | None = None
) -> RunReport:
    with running(store, origin) as engine:
        return engine.run(entries or (wanted(),), how or How())


def statuses(report: RunReport) -> dict[str, str]:
    return {f"{one.model}@{one.version}": one.status for one in report.versions}


def snapshot(store: ObjectStore) -> dict[str, bytes]:
    return {info.key: store.get(info.key).data for info in store.list("")}


def test_a_version_is_mirrored_and_the_second_run_moves_nothing() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", SMALL | SHARDS)
    first = run(store, origin).versions[0]
    assert (first.status, first.files.uploaded) == ("published", 11)
    assert first.bytes.fetched == first.bytes.total == sum(map(len, (SMALL | SHARDS).values()))
    check_store(store)
    origin.opened.clear()
    second = run(store, origin).versions[0]
    assert (second.status, second.bytes.fetched) == ("unchanged", 0)
    assert (second.origin_requests, second.store_requests) == (1, 1)
    assert origin.opened == []


def test_only_the_changed_shard_is_fetched_and_the_old_manifest_stays() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", SMALL | SHARDS)
    before = run(store, origin).versions[0].manifest
    assert before is not None
    old = store.get(before).data
    origin.commit("org/m", SMALL | SHARDS | {"model-3.bin": b"x" * 5000, "config.json": b"{}"})
    origin.opened.clear()
    report = run(store, origin).versions[0]
    assert sorted(path for path, *_ in origin.opened) == ["config.json", "model-3.bin"]
    assert (report.files.uploaded, report.files.reused, report.bytes.fetched) == (2, 9, 5002)
    assert store.get(before).data == old
    check_store(store)


def test_a_pinned_commit_costs_no_origin_request_once_published() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    commit = origin.commit("org/m", SMALL)
    pin = wanted(revision=commit)
    assert run(store, origin, pin).versions[0].status == "published"
    report = run(store, origin, pin).versions[0]
    assert (report.status, report.origin_requests, report.store_requests) == ("unchanged", 0, 1)


def test_a_moved_tag_is_refused_until_it_is_accepted() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    old = origin.commit("org/m", SMALL)
    origin.tag("org/m", "v1", old)
    tag = wanted(version="1.0", revision="v1")
    run(store, origin, tag)
    before = store.get(keys.current(ModelName("m"), VersionName("1.0"))).data
    new = origin.commit("org/m", SMALL | {"new": b"1"})
    origin.tag("org/m", "v1", new)
    report = run(store, origin, tag).versions[0]
    assert report.status == "refused"
    assert "tag v1 moved upstream" in report.reasons[0]
    assert "accept m@1.0" in report.reasons[0]
    assert store.get(keys.current(ModelName("m"), VersionName("1.0"))).data == before
    record = json.loads(store.get(keys.quarantine(ModelName("m"), VersionName("1.0"), new)).data)
    assert record["reasons"] == list(report.reasons)
    assert run(store, origin, tag, how=How(accept=True)).versions[0].status == "published"
    assert run(store, origin, tag).versions[0].status == "unchanged"


@pytest.mark.parametrize("change", ["selection", "revision"])
def test_a_yaml_that_changes_a_published_pin_is_refused(change: str) -> None:
    store, origin = MemoryStore(), FakeOrigin()
    first = origin.commit("org/m", SMALL)
    second = origin.commit("org/m", SMALL | {"b": b"2"})
    run(store, origin, wanted(revision=first))
    changed = (
        wanted(revision=first, exclude=("empty",))
        if change == "selection"
        else wanted(revision=second)
    )
    report = run(store, origin, changed).versions[0]
    assert report.status == "refused"
    assert "the YAML changes" in report.reasons[0]


def test_a_followed_branch_may_change_its_selection() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", SMALL)
    run(store, origin)
    report = run(store, origin, wanted(exclude=("empty",))).versions[0]
    assert (report.status, report.files.removed, report.bytes.fetched) == ("published", 1, 0)


def test_versions_share_their_blobs_and_each_content_is_fetched_once() -> None:
    """Two versions of two models, all in one run: bytes fetched are the distinct bytes."""
    store, origin = MemoryStore(), FakeOrigin()
    for repo in ("org/a", "org/b"):
        old = origin.commit(repo, SMALL | SHARDS)
        origin.tag(repo, "v1", old)
        origin.commit(repo, SMALL | SHARDS | {"extra": b"e" * 10})
    entries = [
        wanted(model, version, f"org/{model}", revision)
        for model in ("a", "b")
        for version, revision in (("1", "v1"), ("main", "main"))
    ]
    report = run(store, origin, *entries)
    assert set(statuses(report).values()) == {"published"}
    shards = sum(map(len, SHARDS.values()))
    small = sum(map(len, SMALL.values())) + 10
    assert sum(one.bytes.fetched for one in report.versions) == shards + 2 * small
    check_store(store)


def test_a_new_version_of_a_known_repository_reuses_its_small_files() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    commit = origin.commit("org/m", SMALL | SHARDS)
    run(store, origin)
    origin.tag("org/m", "v1", commit)
    both = (wanted(), wanted(version="1", revision="v1"))
    report = run(store, origin, *both)
    assert statuses(report) == {"m@main": "unchanged", "m@1": "published"}
    assert sum(one.bytes.fetched for one in report.versions) == 0


def test_a_git_oid_is_not_trusted_across_repositories() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/a", SMALL)
    origin.commit("org/b", SMALL)
    run(store, origin, wanted("a", repo="org/a"))
    report = run(store, origin, wanted("a", repo="org/a"), wanted("b", repo="org/b"))
    fetched = {str(one.model): one.bytes.fetched for one in report.versions}
    assert fetched == {"a": 0, "b": sum(map(len, SMALL.values()))}
    assert {str(one.model): one.files.uploaded for one in report.versions}["b"] == 0


def test_a_version_per_tag_newest_first() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    for number in (1, 2, 9, 10):
        commit = origin.commit("org/m", {"a": b"%d" % number})
        origin.tag("org/m", f"v{number}", commit)
    origin.tag("org/m", "v11-rc1", commit)
    origin.tag("org/m", "r/v1", commit)
    tags = WantedTags(ModelName("m"), "hf", Repository("org/m"), "v*", 3, Selection())
    assert set(statuses(run(store, origin, tags))) == {"m@v10", "m@v9", "m@v2"}
    slashed = WantedTags(ModelName("n"), "hf", Repository("org/m"), "r/*", None, Selection())
    assert set(statuses(run(store, origin, slashed))) == {"n@r%2Fv1"}


def test_a_tag_that_clashes_with_a_named_version_is_refused() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    origin.tag("org/m", "v1", origin.commit("org/m", SMALL))
    tags = WantedTags(ModelName("m"), "hf", Repository("org/m"), "v*", None, Selection())
    report = run(store, origin, wanted(version="v1"), tags)
    assert sorted(one.status for one in report.versions) == ["published", "refused"]


def test_tags_that_cannot_be_read_fail_as_one_entry() -> None:
    tags = WantedTags(ModelName("m"), "hf", Repository("org/none"), "v*", None, Selection())
    report = run(MemoryStore(), FakeOrigin(), tags)
    assert statuses(report) == {"m@tags:v*": "failed"}
    assert report.exit_code == 1


def test_one_missing_repository_does_not_stop_the_others() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", SMALL)
    report = run(store, origin, wanted(), wanted("gone", repo="org/gone"))
    assert statuses(report) == {"m@main": "published", "gone@main": "failed"}
    assert (report.status, report.exit_code) == ("partial", 1)
    record = json.loads(store.get(next(store.list(keys.RUNS)).key).data)
    assert record["status"] == "partial"


def test_a_fault_of_our_own_is_reported_and_the_rest_is_done() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", SMALL)
    origin.commit("org/n", {"bad": b"x"})

    def explode(path: str) -> None:
        if path == "bad":
            raise ZeroDivisionError

    origin.on_open = explode
    report = run(store, origin, wanted(), wanted("n", repo="org/n"))
    assert statuses(report) == {"m@main": "published", "n@main": "failed"}
    assert {one.error.kind for one in report.versions if one.error} == {"internal_error"}


def test_one_corrupt_answer_is_fetched_again_and_a_lasting_one_is_reported() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", SMALL | SHARDS)
    origin.corrupt = {"model-0.bin": 1, "config.json": 1}
    assert run(store, origin).versions[0].status == "published"
    check_store(store)
    origin.commit("org/m", SMALL | SHARDS | {"model-1.bin": b"z" * 4000})
    origin.corrupt = {"model-1.bin": 99}
    report = run(store, origin).versions[0]
    assert report.status == "failed"
    assert report.error is not None
    assert report.error.kind == "digest_mismatch"
    check_store(store)


def test_hostile_names_are_refused_with_the_old_version_intact() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", SMALL)
    run(store, origin)
    before = snapshot(store)
    origin.commit("org/m", SMALL | {"../../etc/passwd": b"x", "a": b"1", "a/b": b"2"})
    report = run(store, origin).versions[0]
    assert report.status == "refused"
    assert len(report.reasons) == 2
    kept = {key: data for key, data in snapshot(store).items() if key in before}
    assert {k for k in before if not k.startswith("locks/") and kept[k] != before[k]} == set()


def test_a_plan_writes_nothing_and_tells_what_a_run_then_does() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", SMALL | SHARDS)
    run(store, origin)
    changed = {k: v for k, v in (SMALL | SHARDS).items() if k != "empty"}
    origin.commit("org/m", changed | {"model-2.bin": b"y" * 4000, "new": b"n"})
    before = snapshot(store)
    planned = run(store, origin, how=How(apply=False)).versions[0]
    assert snapshot(store) == before
    assert planned.plan is not None
    plan = planned.plan
    assert (plan.added, plan.changed, plan.removed) == (("new",), ("model-2.bin",), ("empty",))
    assert plan.fetch_bytes == 4001
    done = run(store, origin).versions[0]
    assert done.bytes.fetched == plan.fetch_bytes
    assert done.files.reused == len(plan.reused)


def test_a_plan_expects_the_requests_that_a_run_then_makes() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", SMALL | {"model.bin": os.urandom(12 * MIB)})
    run(store, origin, wanted("other", repo="org/m"))
    origin.commit("org/m", {"config.json": b"{}", "model.bin": os.urandom(11 * MIB)})
    planned = run(store, origin, how=How(apply=False)).versions[0]
    done = run(store, origin).versions[0]
    assert planned.plan is not None
    assert planned.origin_requests + planned.plan.cost.origin == done.origin_requests
    assert planned.store_requests + planned.plan.cost.store == done.store_requests


def test_a_plan_for_what_does_not_exist_fails() -> None:
    origin = FakeOrigin()
    origin.commit("org/m", SMALL)
    entries = (
        wanted("gone", repo="org/gone"),
        wanted("n", revision="v9"),
        wanted("c", revision="f" * 40),
    )
    report = run(MemoryStore(), origin, *entries, how=How(apply=False))
    assert set(statuses(report).values()) == {"failed"}
    assert report.exit_code == 1


def test_a_full_run_restores_a_missing_blob_and_publishes_nothing_new() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", SMALL | SHARDS)
    run(store, origin)
    lost = keys.blob(Digest.of(SHARDS["model-5.bin"]))
    store.delete(lost)
    assert run(store, origin).versions[0].status == "unchanged"
    report = run(store, origin, how=How(full=True)).versions[0]
    assert (report.status, report.files.uploaded) == ("unchanged", 1)
    assert report.reasons == ("blobs that were missing and are restored: 1",)
    assert report.bytes.fetched == len(SHARDS["model-5.bin"])
    check_store(store)


def test_a_full_run_replaces_a_truncated_blob_and_a_lost_manifest() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", SMALL | SHARDS)
    manifest = run(store, origin).versions[0].manifest
    assert manifest is not None
    for data in (SHARDS["model-5.bin"], SMALL["config.json"]):
        store.put(keys.blob(Digest.of(data)), data[:-1])
    report = run(store, origin, how=How(full=True)).versions[0]
    assert (report.status, report.files.uploaded) == ("unchanged", 2)
    check_store(store)
    before = store.get(manifest).data
    store.delete(manifest)
    assert run(store, origin, how=How(full=True)).versions[0].status == "published"
    assert store.get(manifest).data == before
    check_store(store)


def test_a_blob_that_prune_has_marked_loses_its_mark_when_reused() -> None:
    """I5: whoever reuses a condemned blob removes the mark first."""
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", SHARDS)
    run(store, origin)
    mark = keys.condemned(Digest.of(SHARDS["model-0.bin"]))
    store.put(mark, b"{}")
    origin.commit("org/m", SHARDS | {"new.bin": b"n" * 2000})
    run(store, origin)
    assert store.stat(mark) is None


def test_a_plan_removes_no_mark_even_after_a_run_that_saw_one() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", SHARDS)
    mark = keys.condemned(Digest.of(SHARDS["model-0.bin"]))
    with running(store, origin) as engine:
        engine.run((wanted(),), How())
        store.put(mark, b"{}")
        engine.run((), How())
        engine.run((wanted(),), How(full=True, apply=False))
    assert store.stat(mark) is not None


def test_a_held_version_stays_until_it_is_accepted() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", SMALL)
    run(store, origin)
    key = keys.current(ModelName("m"), VersionName("main"))
    document = json.loads(store.get(key).data)
    store.put(key, json.dumps(document | {"hold": True}).encode())
    origin.commit("org/m", SMALL | {"new": b"1"})
    report = run(store, origin)
    assert (report.versions[0].status, report.exit_code) == ("held", 0)
    assert "accept m@main" in report.versions[0].reasons[0]
    assert run(store, origin, how=How(accept=True)).versions[0].status == "published"


def test_only_the_named_versions_are_run() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", SMALL)
    with running(store, origin) as engine:
        report = engine.run((wanted(), wanted(version="b")), How(), frozenset({"b"}))
    assert statuses(report) == {"m@b": "published"}


def test_a_store_of_an_unknown_format_or_with_foreign_objects_is_refused() -> None:
    for key, data in ((keys.MARKER, b'{"format":2}\n'), ("photos/cat.jpg", b"x")):
        store = MemoryStore()
        store.put(key, data)
        with pytest.raises(StoreRefused):
            run(store, FakeOrigin())
        assert [info.key for info in store.list("")] == [key]


def test_files_without_a_promise_are_hashed_here_and_staged_when_large() -> None:
    store, origin = MemoryStore(), FakeOrigin(promise=False)
    big = os.urandom(12 * MIB)
    origin.commit("org/m", {"big.bin": big, "small": b"s"})
    report = run(store, origin).versions[0]
    assert report.status == "published"
    assert store.get(keys.blob(Digest.of(big))).data == big
    assert [info.key for info in store.list("staging/")] == []
    check_store(store)


def test_an_origin_without_ranges_is_read_in_one_answer() -> None:
    for promise in (True, False):
        store, origin = MemoryStore(), FakeOrigin(promise=promise, ranges=False)
        big = os.urandom(17 * MIB)
        origin.commit("org/m", {"big.bin": big})
        assert run(store, origin).versions[0].status == "published"
        assert origin.opened == [("big.bin", 0, 17 * MIB)]
        check_store(store)


def test_the_manifest_says_what_the_files_say() -> None:
    header = json.dumps({"w": {"dtype": "F16", "shape": [3, 5], "data_offsets": [0, 30]}}).encode()
    weights = len(header).to_bytes(8, "little") + header + bytes(30)
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", {"model.safetensors": weights, "config.json": SMALL["config.json"]})
    key = run(store, origin).versions[0].manifest
    assert key is not None
    manifest = json.loads(store.get(key).data)
    assert manifest["facts"] == {"architecture": "Llama", "dtype": "F16", "parameters": 15}
    assert manifest["licence"] == "apache-2.0"


@pytest.mark.parametrize(
    "weights",
    [
        b"",
        b"1234567",
        bytes(8),
        b"\xff" * 30,
        (5).to_bytes(8, "little") + b"{{{{{",
        (9).to_bytes(8, "little") + b"{}",
    ],
)
def test_weights_that_do_not_parse_say_nothing_and_harm_nothing(weights: bytes) -> None:
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", {"model.safetensors": weights, "config.json": b"[" * 5000})
    key = run(store, origin).versions[0].manifest
    assert key is not None
    assert "facts" not in json.loads(store.get(key).data)


def test_events_tell_the_story_of_a_version() -> None:
    store, origin, told = MemoryStore(), FakeOrigin(), Recorder()
    origin.commit("org/m", SMALL)
    with running(store, origin, emit=told) as engine:
        engine.run((wanted(),), How())
    names = [event.name for event in told.events if event.name != "bytes.moved"]
    assert names[:2] == ["run.started", "version.planned"]
    assert names[-2:] == ["version.published", "run.finished"]
    assert names.count("blob.stored") == 3


def test_a_commit_id_of_a_directory_is_a_full_one() -> None:
    assert CommitId.is_one("a" * 64)
    assert not CommitId.is_one("v1")


def test_a_hold_that_comes_while_the_origin_is_listed_is_kept() -> None:
    """I3: a rollback is not undone by a run that had begun before it."""
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", SMALL)
    run(store, origin)
    origin.commit("org/m", SMALL | {"new": b"1"})
    key = keys.current(ModelName("m"), VersionName("main"))
    list_files = origin.list

    def hold_meanwhile(*args: Any) -> Any:
        document = json.loads(store.get(key).data) | {"hold": True}
        store.put(key, json.dumps(document).encode())
        return list_files(*args)

    origin.list = hold_meanwhile  # type: ignore[method-assign]
    assert run(store, origin).versions[0].status == "held"
    assert json.loads(store.get(key).data)["hold"] is True


def test_one_digest_listed_with_two_sizes_is_never_published() -> None:
    """Also when two repositories list it: a manifest's sizes are its blobs' sizes (I1)."""
    store, origin = MemoryStore(), FakeOrigin()
    for repo in ("org/a", "org/b"):
        origin.commit(repo, {"f.bin": b"x" * 5000})
    listed = origin.list

    def lie(repository: Repository, commit: CommitId) -> Any:
        found = listed(repository, commit)
        if repository.name == "org/a":
            return found
        return replace(found, files=tuple(replace(f, size=f.size + 1000) for f in found.files))

    origin.list = lie  # type: ignore[method-assign]
    report = run(store, origin, wanted("a", repo="org/a"), wanted("b", repo="org/b"))
    assert statuses(report) == {"a@main": "published", "b@main": "failed"}
    check_store(store)


def test_a_healed_manifest_keeps_the_way_back() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", SMALL)
    first = run(store, origin).versions[0].manifest
    origin.commit("org/m", SMALL | {"new": b"1"})
    second = run(store, origin).versions[0].manifest
    assert first is not None
    assert second is not None
    store.delete(second)
    run(store, origin, how=How(full=True))
    pointer = json.loads(store.get(keys.current(ModelName("m"), VersionName("main"))).data)
    assert pointer["previous"] in first


def test_tags_that_differ_only_in_case_do_not_become_two_versions() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    commit = origin.commit("org/m", SMALL)
    origin.tag("org/m", "v1", commit)
    origin.tag("org/m", "V1", commit)
    tags = WantedTags(ModelName("m"), "hf", Repository("org/m"), "?1", None, Selection())
    assert sorted(one.status for one in run(store, origin, tags).versions) == [
        "published",
        "refused",
    ]


@pytest.mark.parametrize(
    "config",
    [{"architectures": ["\ud800"]}, {"architectures": ["a\nb"]}, {"model_type": "x" * 5000}],
)
def test_names_that_no_manifest_can_carry_are_left_out(config: dict[str, Any]) -> None:
    store, origin = MemoryStore(), FakeOrigin()
    header = json.dumps({"w": {"dtype": "F32", "shape": [2] * 80_000}}).encode()
    weights = len(header).to_bytes(8, "little") + header
    origin.commit("org/m", {"config.json": json.dumps(config).encode(), "m.safetensors": weights})
    key = run(store, origin).versions[0].manifest
    assert key is not None
    assert "facts" not in json.loads(store.get(key).data)


def test_a_pin_that_lost_its_pointer_is_still_a_pin() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    first = origin.commit("org/m", SMALL)
    origin.tag("org/m", "v1", first)
    tag = wanted(version="1", revision="v1")
    run(store, origin, tag)
    pointer = keys.current(ModelName("m"), VersionName("1"))
    store.delete(pointer)
    assert run(store, origin, tag).versions[0].status == "published", "the same commit again"
    store.delete(pointer)
    origin.tag("org/m", "v1", origin.commit("org/m", SMALL | {"evil": b"1"}))
    report = run(store, origin, tag).versions[0]
    assert report.status == "refused"
    assert "current.json is gone" in report.reasons[0]
    assert run(store, origin, tag, how=How(accept=True)).versions[0].status == "published"


def test_a_tag_pattern_that_matches_nothing_is_a_mistake() -> None:
    origin = FakeOrigin()
    origin.commit("org/m", SMALL)
    tags = WantedTags(ModelName("m"), "hf", Repository("org/m"), "zz*", None, Selection())
    report = run(MemoryStore(), origin, tags)
    assert statuses(report) == {"m@tags:zz*": "failed"}
    assert report.exit_code == 1


def test_a_plan_too_refuses_a_store_that_is_no_mirror() -> None:
    store = MemoryStore()
    store.put("photos/cat.jpg", b"x")
    with pytest.raises(StoreRefused, match="photos"):
        run(store, FakeOrigin(), how=How(apply=False))


def test_what_a_machine_needs_is_kept_and_changed_by_a_full_run() -> None:
    """A pin may need something else than was thought: that changes no file, and is no refusal."""
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", SMALL)
    needing = replace(wanted(), requires=(("cuda", "11.8"),))
    first = run(store, origin, needing).versions[0]
    assert first.manifest
    assert json.loads(store.get(first.manifest).data)["requires"] == {"cuda": "11.8"}
    newer = replace(wanted(), requires=(("cuda", "12.1"),))
    assert run(store, origin, newer).versions[0].status == "unchanged"
    again = run(store, origin, newer, how=How(full=True)).versions[0]
    assert (again.status, again.bytes.fetched) == ("published", 0)
    assert json.loads(store.get(again.manifest or "").data)["requires"] == {"cuda": "12.1"}
    assert run(store, origin, newer, how=How(full=True)).versions[0].status == "unchanged"
