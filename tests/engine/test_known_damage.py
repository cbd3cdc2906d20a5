"""What verify found before a run, and a run does not read: it is said again, each time."""

from __future__ import annotations

import os

import pytest

from sync_daemon.domain import keys
from sync_daemon.domain.alerts import Book, Finding
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.report import VersionReport
from sync_daemon.engine.tools import How
from sync_daemon.stores.memory import MemoryStore
from tests.engine.test_alert_sources import alerted
from tests.support.fakes import FakeClock, FakeOrigin, Recorder, running, wanted

DATA = os.urandom(2000)
FULL = How(full=True)


@pytest.fixture(params=[True, False], ids=["promised", "read to be compared"])
def origin(request: pytest.FixtureRequest) -> FakeOrigin:
    made = FakeOrigin(promise=request.param)
    made.commit("org/m", {"a.bin": DATA, "config.json": b"{}"})
    return made


def run(
    store: MemoryStore, origin: FakeOrigin, how: How | None = None, told: Recorder | None = None
) -> VersionReport:
    with running(store, origin, emit=told) as engine:
        (version,) = engine.run([wanted()], how or How()).versions
    return version


def note(store: MemoryStore, key: str, problem: str) -> None:
    """Keep the alert that a verification of the store leaves behind."""
    finding = Finding("corrupt_blob", (("key", key),), 1, 0, f"{key}: {problem}")
    book, _ = Book().raised(finding, FakeClock().now())
    store.put(keys.ALERTS, book.to_record())


def test_a_full_run_names_the_damaged_blob_that_it_does_not_read(origin: FakeOrigin) -> None:
    store, told = MemoryStore(), Recorder()
    assert run(store, origin).warnings == ()
    blob = keys.blob(Digest.of(DATA))
    store.put(blob, bytes(len(DATA)))
    note(store, blob, "corrupt: its bytes hash to 00")
    report = run(store, origin, FULL, told)
    assert report.status == "unchanged"
    (warning,) = report.warnings
    assert f"{blob}: corrupt: its bytes hash to 00" in warning
    assert "delete the damaged blobs from the store, then `sync-daemon run-once --full`" in warning
    assert len(told.named("version.warning")) == 1
    store.delete(blob)
    healed = run(store, origin, FULL)
    assert (healed.files.uploaded, healed.warnings) == (1, ()), "what the warning says helps"
    assert store.get(blob).data == DATA


def test_an_unchanged_version_whose_manifest_is_known_to_be_damaged_says_so(
    origin: FakeOrigin,
) -> None:
    store = MemoryStore()
    manifest = run(store, origin).manifest
    assert manifest is not None
    note(store, manifest, "corrupt: its bytes do not hash to its name")
    report = run(store, origin)
    assert (report.status, report.store_requests) == ("unchanged", 1), "it costs no request more"
    (warning,) = report.warnings
    assert manifest in warning
    assert "`sync-daemon verify` says what to do" in warning


def test_damage_of_others_and_a_book_that_is_none_say_nothing(origin: FakeOrigin) -> None:
    store = MemoryStore()
    run(store, origin)
    note(store, keys.blob(Digest.of(b"other")), "missing: it is not there")
    assert run(store, origin, FULL).warnings == ()
    store.put(keys.ALERTS, b"{")
    assert run(store, origin, FULL).warnings == ()


def test_a_version_that_is_published_again_ends_the_damage_of_its_manifest(
    origin: FakeOrigin,
) -> None:
    """As verify advises: delete manifest and pointer, then run."""
    store = MemoryStore()
    manifest = run(store, origin).manifest
    assert manifest is not None
    note(store, manifest, "corrupt")
    pointer = keys.current(wanted().model, wanted().version)
    store.delete(manifest)
    store.delete(pointer)
    assert alerted(store, origin, wanted()) == [("corrupt_blob", "resolved")]
    assert run(store, origin).warnings == ()
