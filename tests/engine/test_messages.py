"""What errors say to a person: which side failed, what is damaged, and what helps."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from sync_daemon.domain import keys
from sync_daemon.domain.errors import (
    Forbidden,
    OriginUnavailable,
    StoreRefused,
    StoreUnavailable,
    SyncError,
)
from sync_daemon.domain.events import BlobFailed
from sync_daemon.domain.manifest import decode_current
from sync_daemon.domain.report import VersionReport
from sync_daemon.engine.limits import MIB
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.tools import How
from sync_daemon.engine.vault import Vault
from sync_daemon.engine.verify import Verifier
from sync_daemon.stores.memory import MemoryStore
from tests.support.fakes import FakeClock, FakeOrigin, Recorder, running, wanted


class Refusing(MemoryStore):
    """A store that refuses to take blobs."""

    def __init__(self, error: SyncError) -> None:
        super().__init__()
        self.error = error

    def put(self, key: str, *rest: Any, **options: Any) -> str:
        if key.startswith(keys.BLOBS):
            raise self.error
        return super().put(key, *rest, **options)


def sync(store: MemoryStore, origin: FakeOrigin, told: Recorder | None = None) -> VersionReport:
    with running(store, origin, emit=told) as engine:
        (version,) = engine.run([wanted()], How()).versions
    return version


def origin_with(**files: bytes) -> FakeOrigin:
    origin = FakeOrigin()
    origin.commit("org/m", files)
    return origin


@pytest.mark.parametrize("error", [StoreRefused("no"), StoreUnavailable("gone")])
def test_a_failure_of_the_store_does_not_name_the_origin_as_its_cause(error: SyncError) -> None:
    told = Recorder()
    sync(Refusing(error), origin_with(a=b"x"), told)
    (failed,) = told.named("blob.failed")
    assert isinstance(failed, BlobFailed)
    assert (failed.kind, failed.origin) == (error.kind, None)


@pytest.mark.parametrize("error", [OriginUnavailable("gone"), Forbidden("no")])
def test_a_failure_of_the_origin_names_it(error: SyncError) -> None:
    def fail(path: str) -> None:
        raise error

    told, origin = Recorder(), origin_with(a=b"x")
    origin.on_open = fail
    sync(MemoryStore(), origin, told)
    (failed,) = told.named("blob.failed")
    assert isinstance(failed, BlobFailed)
    assert (failed.kind, failed.origin) == (error.kind, "hf")


# -- the store that refuses --------------------------------------------------------------


class Without(MemoryStore):
    """A store whose bucket is not there."""

    def get(self, key: str) -> Any:
        message = f"{key}: HTTP 404 NoSuchBucket: there is no such bucket"
        raise StoreRefused(message, hint="create it")


def opened(store: MemoryStore) -> None:
    Vault(store, Retry(1, Recorder(), FakeClock())).open(create=False)


def verified(store: MemoryStore) -> None:
    clock = FakeClock()
    Verifier(store, Retry(1, Recorder(), clock), clock, clock.stop).verify()


@pytest.mark.parametrize("command", [opened, verified])
def test_a_store_that_refuses_the_first_request_is_named_and_not_its_marker(
    command: Callable[[MemoryStore], None],
) -> None:
    store = Without()
    with pytest.raises(StoreRefused) as caught:
        command(store)
    expected = f"{store.url}: HTTP 404 NoSuchBucket: there is no such bucket"
    assert (str(caught.value), caught.value.hint) == (expected, "create it")


# -- damaged pointers --------------------------------------------------------------------

DAMAGED = {
    "it is not JSON": b"{oops",
    "it is not JSON, but empty": b"",
    "`commit` is missing": b"{}",
    "a value is not what it must be": b"[]",
}


@pytest.mark.parametrize("problem", DAMAGED)
def test_a_damaged_pointer_is_told_in_words_with_what_helps(problem: str) -> None:
    with pytest.raises(StoreRefused, match=f"^not a current.json: {problem}") as caught:
        decode_current(DAMAGED[problem])
    assert "Error" not in str(caught.value)
    assert "delete this current.json" in (caught.value.hint or "")


def test_what_the_hint_of_a_damaged_pointer_says_helps() -> None:
    store, origin = MemoryStore(), origin_with(a=b"x" * 2000)
    assert sync(store, origin).status == "published"
    key = keys.current(wanted().model, wanted().version)
    store.put(key, b"{oops")
    report = sync(store, origin)
    assert report.error is not None
    assert report.error.message == f"{key}: not a current.json: it is not JSON"
    assert "delete this current.json" in (report.error.hint or "")
    store.delete(key)
    healed = sync(store, origin)
    assert (healed.status, healed.bytes.uploaded) == ("published", 0)


# -- interruptions -----------------------------------------------------------------------


def test_files_that_a_stop_interrupts_did_not_fail() -> None:
    origin, clock = FakeOrigin(), FakeClock()
    origin.commit("org/m", {f"w{n}.bin": os.urandom(11 * MIB) for n in range(3)})

    def stop(path: str) -> None:
        clock.stop.set()

    origin.on_open = stop
    with running(MemoryStore(), origin, clock=clock) as engine:
        (version,) = engine.run([wanted()], How()).versions
    assert version.status == "interrupted"
    assert version.error is not None
    assert version.error.message == "interrupted with 3 of 3 files on their way"
    assert version.error.hint == "the next run takes them up again"
