"""A report names the files that were read, those that failed among them."""

from __future__ import annotations

from sync_daemon.engine.tools import How
from sync_daemon.stores.memory import MemoryStore
from tests.support.fakes import FakeOrigin, running, wanted


def test_a_published_version_names_what_it_read_and_nothing_that_was_there() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", {"a": b"a" * 10, "b": b"b" * 2000})
    with running(store, origin) as engine:
        (first,) = engine.run([wanted()], How()).versions
        origin.commit("org/m", {"a": b"a" * 10, "b": b"b" * 2000, "c": b"c"})
        (second,) = engine.run([wanted()], How()).versions
        (third,) = engine.run([wanted()], How()).versions
    assert [(file.path, file.size, file.error) for file in first.moved] == [
        ("b", 2000, None),
        ("a", 10, None),
    ]
    assert [file.path for file in second.moved] == ["c"]
    assert (third.status, third.moved) == ("unchanged", ())


def test_a_failed_version_names_the_file_that_failed_and_those_that_did_not() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", {"good": b"g" * 3000, "bad": b"b" * 2000})
    origin.corrupt["bad"] = 100
    with running(store, origin) as engine:
        (version,) = engine.run([wanted()], How()).versions
    assert version.status == "failed"
    assert [(file.path, file.error) for file in version.moved] == [
        ("bad", "digest_mismatch"),
        ("good", None),
    ]


def test_a_file_that_two_versions_share_is_named_by_the_one_that_read_it() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", {"w": b"w" * 3000})
    with running(store, origin) as engine:
        report = engine.run([wanted(), wanted(version="two")], How())
    assert [file.path for version in report.versions for file in version.moved] == ["w"]


def test_a_plan_names_none() -> None:
    origin = FakeOrigin()
    origin.commit("org/m", {"w": b"w" * 3000})
    with running(MemoryStore(), origin) as engine:
        (version,) = engine.run([wanted()], How(apply=False)).versions
    assert (version.status, version.moved) == ("planned", ())
