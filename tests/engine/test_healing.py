"""Lies and breaks of an origin that pass: the same run ends well, and never with mixed bytes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pytest

from sync_daemon.domain import keys
from sync_daemon.domain.digests import CommitId, Digest, GitOid
from sync_daemon.domain.errors import DigestMismatch, OriginLied, OriginUnavailable
from sync_daemon.domain.listing import RemoteFile, Repository
from sync_daemon.domain.names import ModelName, RepoPath
from sync_daemon.engine.blob import Fetch, Receipt
from sync_daemon.engine.limits import MIB, Limits
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.throttle import Throttle
from sync_daemon.engine.transfer import Transfer
from sync_daemon.meter import Meter
from sync_daemon.stores.memory import MemoryStore
from tests.support.fakes import BytesReader, FakeClock, FakeOrigin, Recorder

COMMIT, REPO = CommitId("a" * 40), Repository("org/m")
LIE = OriginLied("f: a web page came instead of the file", hint="a login page?")
BROKEN = OriginUnavailable("f: the connection broke")


class BreakingReader(BytesReader):
    """Gives `count` bytes of an answer, not all at once, and then raises."""

    def __init__(self, data: bytes, clock: FakeClock, count: int, error: Exception) -> None:
        super().__init__(data[:count])
        self._clock, self._error = clock, error

    def readinto(self, buffer: memoryview, /) -> int:
        self._clock.wait(0.5)
        got = super().readinto(buffer[:100_000])
        if not got and len(buffer):
            raise self._error
        return got


Answer = Callable[[bytes, FakeClock], BytesReader]


@dataclass
class OneFile(FakeOrigin):
    """An origin of one file, whose n-th answer is what `bend[n]` makes of it (from 0)."""

    data: bytes
    bend: dict[int, Answer] = field(default_factory=dict)
    later: bytes | None = None
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def open(self, *args: Any) -> BytesReader:
        *_, file, start, stop = args
        with self.lock:
            number = len(self.opened)
            self.opened.append((str(file.path), start, stop))
        data = self.data if self.later is None or not number else self.later
        bent = self.bend.get(number, lambda data, _: BytesReader(data))
        return bent(data[start:stop], self.clock)


def lies(data: bytes, clock: FakeClock) -> BytesReader:
    raise LIE


def corrupts(data: bytes, clock: FakeClock) -> BytesReader:
    return BytesReader(bytes([data[0] ^ 1]) + data[1:])


def breaks(error: Exception, count: int = 200_000) -> Answer:
    return lambda data, clock: BreakingReader(data, clock, count, error)


def move(origin: OneFile, **promise: Any) -> tuple[Future[Receipt], MemoryStore, Recorder]:
    store, clock, told = MemoryStore(), origin.clock, Recorder()
    file = RemoteFile(RepoPath("f"), len(origin.data), **promise)
    with Transfer(
        store,
        Limits(connections=1, part_size=MIB, memory=8 * MIB),
        throttle=Throttle(lambda: None, clock),
        retry=Retry(3, told, clock),
        clock=clock,
        emit=told,
        stop=clock.stop,
    ) as moving:
        fetch = Fetch(ModelName("m"), "1", origin, REPO, COMMIT, file, Meter())
        future, _ = moving.submit(fetch)
    return future, store, told


def stored(store: MemoryStore, receipt: Receipt) -> bytes:
    return store.get(keys.blob(receipt.sha256)).data


@pytest.mark.parametrize("size", [1000, 3 * MIB])
def test_a_lie_that_passes_is_asked_again_and_heals(size: int) -> None:
    origin = OneFile(os.urandom(size), {0: lies, 1: lies})
    future, store, told = move(origin, sha256=Digest.of(origin.data))
    assert stored(store, future.result()) == origin.data
    assert [event.fields()["attempt"] for event in told.named("request.retried")] == [1, 2]
    assert origin.distrusted == []


@pytest.mark.parametrize("size", [1000, 3 * MIB])
def test_a_lie_that_lasts_takes_no_more_than_the_attempts(size: int) -> None:
    origin = OneFile(os.urandom(size), dict.fromkeys(range(100), lies))
    future, store, _ = move(origin, sha256=Digest.of(origin.data))
    assert future.exception() is LIE
    assert len(origin.opened) == 3
    assert list(store.list("blobs/")) == []


def test_a_lie_in_the_middle_is_continued_where_a_digest_will_tell() -> None:
    origin = OneFile(os.urandom(900_000), {0: breaks(LIE)})
    future, store, told = move(origin, sha256=Digest.of(origin.data))
    assert stored(store, future.result()) == origin.data
    assert [start for _, start, _ in origin.opened] == [0, 200_000]
    assert told.named("blob.restarted") == []


@pytest.mark.parametrize(
    "promise", [{"token": 'etag "1"'}, {"git_oid": GitOid("0" * 40), "lfs": 1}]
)
def test_a_lie_in_the_middle_of_a_file_that_no_digest_proves_begins_it_anew(
    promise: dict[str, Any],
) -> None:
    origin = OneFile(os.urandom(900_000), {0: breaks(LIE)})
    future, store, told = move(origin, **promise)
    assert stored(store, future.result()) == origin.data
    assert [start for _, start, _ in origin.opened] == [0, 0]
    assert len(told.named("blob.restarted")) == 1


def test_wrong_bytes_begin_the_file_anew_once_and_the_origin_is_told() -> None:
    origin = OneFile(os.urandom(1000), {0: corrupts})
    future, store, told = move(origin, sha256=Digest.of(origin.data))
    assert stored(store, future.result()) == origin.data
    ((path, reason),) = origin.distrusted
    assert (path, type(reason)) == ("f", DigestMismatch)
    assert told.named("request.retried") == []


def test_bytes_that_stay_wrong_fail_the_file_after_two_answers() -> None:
    origin = OneFile(os.urandom(1000), dict.fromkeys(range(100), corrupts))
    future, store, _ = move(origin, sha256=Digest.of(origin.data))
    assert isinstance(future.exception(), DigestMismatch)
    assert len(origin.opened) == len(origin.distrusted) == 2
    assert list(store.list("")) == []


def test_a_break_without_ranges_is_read_again_from_the_start() -> None:
    origin = OneFile(os.urandom(900_000), {0: breaks(BROKEN), 1: breaks(BROKEN, 300_000)})
    future, store, _ = move(origin, ranges=False)
    assert stored(store, future.result()) == origin.data
    assert [start for _, start, _ in origin.opened] == [0, 0, 0]


def test_a_file_that_changes_in_a_break_without_ranges_is_never_a_mixture() -> None:
    origin = OneFile(os.urandom(900_000), {0: breaks(BROKEN)})
    origin.later = os.urandom(900_000)
    future, store, told = move(origin, ranges=False)
    assert stored(store, future.result()) == origin.later
    (restart,) = told.named("blob.restarted")
    assert "changed while it was read" in restart.fields()["error"]
