"""The transfer engine over fakes: bounded memory, order, fairness, broken answers, stops."""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest

from sync_daemon.domain import keys
from sync_daemon.domain.digests import CommitId, Digest
from sync_daemon.domain.errors import (
    Interrupted,
    OriginRefused,
    OriginUnavailable,
    StoreRefused,
    StoreUnavailable,
)
from sync_daemon.domain.listing import RemoteFile, Repository
from sync_daemon.domain.names import ModelName, RepoPath
from sync_daemon.engine.blob import Fetch, Receipt
from sync_daemon.engine.buffers import Buffer, Buffers
from sync_daemon.engine.limits import MIB, Limits
from sync_daemon.engine.pace import FAST, Pace
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.throttle import CHUNK, Throttle
from sync_daemon.engine.transfer import Transfer
from sync_daemon.meter import Meter
from sync_daemon.ports import Capabilities, ObjectStore
from sync_daemon.stores.memory import MemoryStore
from tests.support.fakes import BytesReader, FakeClock, FakeOrigin, Recorder

COMMIT = CommitId("a" * 40)
REPO = Repository("org/m")


class Contents(FakeOrigin):
    """An origin of one commit whose answers can be bent."""

    def __init__(self, files: dict[str, bytes], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.files = files
        self.commits = {REPO.name: {COMMIT: files}}
        self.gate = threading.Event()
        self.gate.set()

    def fetch(self, path: str, **promise: Any) -> Fetch:
        data = self.files[path]
        promise = promise or {"sha256": Digest.of(data)}
        file = RemoteFile(RepoPath(path), len(data), **promise)
        return Fetch(ModelName("m"), "1", self, REPO, COMMIT, file, Meter())

    def open(self, *args: Any) -> BytesReader:
        self.gate.wait(30)
        return super().open(*args)


@contextmanager
def transfer(
    store: ObjectStore,
    limits: Limits | None = None,
    clock: FakeClock | None = None,
    attempts: int = 3,
) -> Iterator[Transfer]:
    clock, told = clock or FakeClock(), Recorder()
    limits = limits or Limits(connections=4, part_size=MIB, memory=8 * MIB)
    with Transfer(
        store,
        limits,
        throttle=Throttle(lambda: None, clock),
        retry=Retry(attempts, told, clock),
        clock=clock,
        emit=told,
        stop=clock.stop,
    ) as moving:
        yield moving


def move(store: ObjectStore, *fetches: Fetch, **how: Any) -> list[Future[Receipt]]:
    with transfer(store, **how) as moving:
        return [moving.submit(fetch)[0] for fetch in fetches]


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 5 * MIB, 9 * MIB + 17])
def test_any_size_arrives_whole(size: int) -> None:
    """Files larger than the whole memory budget pass through it."""
    store, origin = MemoryStore(), Contents({"f": os.urandom(size)})
    (future,) = move(store, origin.fetch("f"))
    receipt = future.result()
    assert receipt == Receipt(Digest.of(origin.files["f"]), size, uploaded=True)
    assert store.get(keys.blob(receipt.sha256)).data == origin.files["f"]


def test_the_buffers_never_exceed_the_memory() -> None:
    taken: list[int] = []

    class Watched(Buffers):
        def take(self, size: int) -> Buffer:
            buffer = super().take(size)
            taken.append(self._taken + self._idle_bytes)
            return buffer

    files = {f"f{n}": os.urandom(n * MIB // 2) for n in range(12)}
    store, origin = MemoryStore(), Contents(files)
    with transfer(store) as moving:
        moving._queue._buffers = Watched(8 * MIB)
        futures = [moving.submit(origin.fetch(path))[0] for path in files]
    assert all(future.result() for future in futures)
    assert max(taken) <= 8 * MIB
    assert moving._queue._buffers._taken == 0, "every buffer was given back"


def test_buffers_are_reused() -> None:
    buffers = Buffers(4 * MIB)
    first = buffers.take(MIB)
    buffers.give(first, keep=True)
    assert buffers.take(MIB) is first
    assert not buffers.fits(4 * MIB)
    buffers.give(first, keep=True)
    assert len(buffers.take(4 * MIB)) == 4 * MIB, "idle buffers of another size make room"


def test_the_same_content_asked_for_twice_is_moved_once() -> None:
    store, origin = MemoryStore(), Contents({"a": b"same", "b": b"same"})
    first, second = move(store, origin.fetch("a"), origin.fetch("b"))
    assert first.result() is second.result()
    assert len(origin.opened) == 1


def idle(store: ObjectStore, limits: Limits) -> Transfer:
    """A transfer whose workers were not started: the test takes their place."""
    clock, told = FakeClock(), Recorder()
    return Transfer(
        store,
        limits,
        throttle=Throttle(lambda: None, clock),
        retry=Retry(1, told, clock),
        clock=clock,
        emit=told,
        stop=clock.stop,
    )


def picks(moving: Transfer, count: int) -> list[str]:
    """What `count` workers would begin with, one after the other."""
    chosen = [moving._queue.next() for _ in range(count)]
    return [str(task[0].fetch.file.path) for task in chosen if task]


def test_small_files_overtake_a_large_one_but_leave_it_a_share() -> None:
    files = {"large": os.urandom(30 * MIB)} | {f"s{n}": b"%d" % n for n in range(8)}
    origin = Contents(files)
    moving = idle(MemoryStore(), Limits(connections=4, part_size=MIB, memory=8 * MIB))
    for path in files:
        moving.submit(origin.fetch(path))
    assert picks(moving, 4) == ["s0", "s1", "s2", "large"]


def test_one_large_file_leaves_half_of_the_memory_to_others() -> None:
    origin = Contents({"large": bytes(30 * MIB), "other": os.urandom(9 * MIB)})
    moving = idle(MemoryStore(), Limits(connections=8, part_size=MIB, memory=16 * MIB))
    moving._queue.pace.limit = 16
    for path in origin.files:
        moving.submit(origin.fetch(path))
    assert picks(moving, 16) == ["large"] * 8 + ["other"] * 8


def test_a_broken_answer_is_continued_where_it_broke() -> None:
    data = os.urandom(3 * MIB)
    store, origin = MemoryStore(), Contents({"f": data})

    class Breaking(BytesReader):
        def readinto(self, buffer: memoryview, /) -> int:
            count = super().readinto(buffer[: 300 * 1024])
            if not count:
                raise OriginUnavailable("connection reset")
            return count

    whole = origin.open

    def breaking(*args: Any) -> BytesReader:
        start, stop = args[-2:]
        whole(*args)
        return Breaking(data[start : min(stop, start + 700 * 1024)])

    origin.open = breaking  # type: ignore[method-assign]
    fetch = origin.fetch("f")
    (future,) = move(store, fetch)
    assert future.result().sha256 == Digest.of(data)
    assert fetch.meter.fetched_bytes == len(data), "no byte is fetched twice"


@pytest.mark.parametrize("error", [OriginUnavailable("503"), OriginRefused("403")])
def test_a_lasting_fault_fails_the_file_and_shows_nothing_of_it(error: Exception) -> None:
    store, origin = MemoryStore(), Contents({"f": os.urandom(4 * MIB), "good": b"ok"})

    def fail(path: str) -> None:
        if path == "f" and len(origin.opened) > 1:
            raise error

    origin.on_open = fail
    bad, good = move(store, origin.fetch("f"), origin.fetch("good"))
    assert type(bad.exception()) is type(error)
    assert good.result().uploaded
    assert [info.size for info in store.list("blobs/")] == [2]
    journals = list(store.list("uploads/"))
    assert len(store._uploads) == len(journals), "what was begun is kept for a later run"


def test_only_what_can_heal_is_tried_again() -> None:
    for error, tries in ((OriginUnavailable("x"), 3), (OriginRefused("x"), 1)):
        calls: list[str] = []

        def fail(path: str, error: Exception = error, calls: list[str] = calls) -> None:
            calls.append(path)
            raise error

        origin = Contents({"f": b"data"})
        origin.on_open = fail
        (future,) = move(MemoryStore(), origin.fetch("f"))
        assert future.exception() is error
        assert len(calls) == tries


def test_the_servers_own_wish_to_wait_is_honoured() -> None:
    clock, told = FakeClock(), Recorder()
    calls = []

    def work() -> str:
        calls.append(clock.monotonic())
        if len(calls) < 2:
            raise OriginUnavailable("429", retry_after=120)
        return "done"

    assert Retry(3, told, clock)("ask", work) == "done"
    assert calls[1] - calls[0] >= 120
    assert told.named("request.retried")[0].fields()["attempt"] == 1


def test_patience_is_bounded_in_time_too() -> None:
    clock = FakeClock()

    def work() -> None:
        clock.wait(400)
        raise StoreUnavailable("slow")

    with pytest.raises(StoreUnavailable):
        Retry(100, Recorder(), clock, total=900)("ask", work)
    assert clock.monotonic() < 2000


def test_a_stop_ends_the_waiting_and_the_work() -> None:
    clock = FakeClock()
    origin = Contents({"large": os.urandom(20 * MIB), "small": b"x"})

    def stop(path: str) -> None:
        if len(origin.opened) == 3:
            clock.stop.set()

    origin.on_open = stop
    store = MemoryStore()
    futures = move(store, origin.fetch("large"), origin.fetch("small"), clock=clock)
    assert isinstance(futures[0].exception(), Interrupted)
    assert store.stat(keys.blob(Digest.of(origin.files["large"]))) is None
    with pytest.raises(Interrupted):
        Retry(3, Recorder(), clock)("ask", lambda: (_ for _ in ()).throw(StoreUnavailable("x")))


def test_the_part_size_grows_with_the_file_within_the_memory() -> None:
    store = MemoryStore(capabilities=Capabilities(min_part=1, max_parts=10))
    with transfer(store, Limits(connections=2, part_size=MIB, memory=12 * MIB)) as moving:
        assert moving.part_size(10 * MIB) == MIB
        assert moving.part_size(10 * MIB + 1) == 2 * MIB
        with pytest.raises(StoreRefused) as refused:
            moving.part_size(40 * MIB)
    assert refused.value.hint == "set transfer.memory to 16MiB"


def test_connections_shrink_to_what_the_memory_feeds() -> None:
    assert Limits(connections=16, part_size=32 * MIB, memory=128 * MIB).workers == 8
    assert Limits().workers == 16


def test_a_slow_answer_is_given_up() -> None:
    clock = FakeClock()
    origin = Contents({"f": os.urandom(MIB)})

    class Slow(BytesReader):
        def readinto(self, buffer: memoryview, /) -> int:
            clock.wait(1)
            return super().readinto(buffer[:100])

    origin.open = lambda *args: Slow(origin.files["f"][args[-2] :])  # type: ignore[method-assign]
    (future,) = move(MemoryStore(), origin.fetch("f"), clock=clock)
    assert "below transfer.min_speed" in str(future.exception())


@pytest.mark.parametrize("rate", [64 * 1024, 4 * MIB, 64 * MIB])
def test_the_set_rate_is_met(rate: int) -> None:
    """Measured by the throttle's own clock: within 5 % over 30 s, whoever reads how much."""
    clock = FakeClock()
    throttle = Throttle(lambda: rate, clock)
    moved = 0
    while clock.monotonic() < 30:
        moved += throttle.allow(8 * MIB if moved % 2 else 5000)
    assert moved / clock.monotonic() == pytest.approx(rate, rel=0.05)


def test_a_changed_rate_takes_effect_at_once() -> None:
    clock = FakeClock()
    rate: list[int | None] = [1024]
    throttle = Throttle(lambda: rate[0], clock)
    throttle.allow(MIB)
    throttle.allow(MIB)
    slow = clock.monotonic()
    rate[0] = None
    assert throttle.allow(MIB) == CHUNK
    assert clock.monotonic() == slow


def test_a_slow_origin_gets_all_connections_and_a_fast_one_few() -> None:
    pace = Pace(64)
    few = pace.limit
    assert few < 64
    pace.record(FAST, 0.6)
    assert pace.limit == few
    pace.record(FAST // 10, 0.6)
    assert pace.limit == 64
    pace.record(10 * FAST, 0.6)
    assert pace.limit == few
    assert Pace(2).limit == 2


def test_a_trickle_counts_as_failed_however_much_it_brings() -> None:
    clock = FakeClock()
    origin = Contents({"f": os.urandom(4 * MIB)})

    class Trickle(BytesReader):
        def readinto(self, buffer: memoryview, /) -> int:
            clock.wait(1)
            return super().readinto(buffer[:4096])

    opened: list[int] = []

    def trickle(*args: Any) -> BytesReader:
        opened.append(args[-2])
        return Trickle(origin.files["f"][args[-2] : args[-1]])

    origin.open = trickle  # type: ignore[method-assign]
    limits = Limits(connections=1, part_size=4 * MIB, memory=16 * MIB)
    (future,) = move(MemoryStore(), origin.fetch("f"), limits=limits, clock=clock)
    assert "below transfer.min_speed" in str(future.exception())
    assert len(opened) == 3


def test_bytes_before_a_break_are_kept_and_counted() -> None:
    """A server that cuts every answer after 100 KiB still delivers, and every byte counts."""
    data = os.urandom(MIB)
    origin = Contents({"f": data})

    class Cut(BytesReader):
        def readinto(self, buffer: memoryview, /) -> int:
            if not (count := super().readinto(buffer[:50_000])):
                raise OriginUnavailable("reset")
            return count

    origin.open = lambda *args: Cut(data[args[-2] : args[-2] + 100_000])  # type: ignore[method-assign]
    fetch = origin.fetch("f")
    (future,) = move(MemoryStore(), fetch)
    assert future.result().size == MIB
    assert fetch.meter.fetched_bytes == MIB


def test_a_wish_to_wait_beyond_all_patience_ends_it() -> None:
    clock = FakeClock()

    def work() -> None:
        raise OriginUnavailable("429", retry_after=86_400)

    with pytest.raises(OriginUnavailable):
        Retry(3, Recorder(), clock, total=900)("ask", work)
    assert clock.monotonic() < 900


def test_a_range_that_is_three_times_slower_than_the_others_is_asked_for_anew_once() -> None:
    clock = FakeClock()
    origin = Contents({"f": os.urandom(24 * MIB)})
    opened: list[int] = []

    class Steady(BytesReader):
        step, seconds = 64 * 1024, 0.5

        def readinto(self, buffer: memoryview, /) -> int:
            clock.wait(self.seconds)
            return super().readinto(buffer[: self.step])

    class Lagging(Steady):
        step = 16 * 1024

    def open_range(*args: Any) -> BytesReader:
        start, stop = args[-2:]
        opened.append(start)
        lags = start >= 12 * MIB and not any(13 * MIB > at > 12 * MIB for at in opened)
        return (Lagging if lags and start < 13 * MIB else Steady)(origin.files["f"][start:stop])

    origin.open = open_range  # type: ignore[method-assign]
    limits = Limits(connections=1, part_size=MIB, memory=8 * MIB)
    (future,) = move(MemoryStore(), origin.fetch("f"), limits=limits, clock=clock)
    assert future.exception() is None
    again = [start for start in opened if start % MIB]
    assert len(opened) == 25
    assert len(again) == 1
    assert 12 * MIB < again[0] < 13 * MIB


@pytest.mark.parametrize("fast", [False, True])
def test_several_ranges_fill_one_part_unless_the_origin_is_fast(*, fast: bool) -> None:
    size = 40 * MIB + 5
    store, origin = MemoryStore(), Contents({"f": os.urandom(size)})
    with transfer(store, Limits(connections=4, part_size=16 * MIB, memory=64 * MIB)) as moving:
        moving._queue.pace.fast = fast
        future, _ = moving.submit(origin.fetch("f"))
    assert store.get(keys.blob(future.result().sha256)).data == origin.files["f"]
    starts = sorted(start for _, start, _ in origin.opened)
    assert starts == list(range(0, size, (16 if fast else 4) * MIB))


def test_an_upload_that_cannot_begin_is_tried_once_for_all_parts_of_its_file() -> None:
    """Each part would wait as long as the first one, one after the other."""
    tries: list[str] = []

    class Away(MemoryStore):
        def create_upload(self, key: str) -> str:
            tries.append(key)
            time.sleep(0.05)  # the other parts are whole meanwhile, and wait
            raise StoreUnavailable("down")

    (future,) = move(Away(), Contents({"f": os.urandom(6 * MIB)}).fetch("f"), attempts=3)
    assert isinstance(future.exception(), StoreUnavailable)
    assert len(tries) == 3
