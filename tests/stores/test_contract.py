"""What every object store must do, proven for each of them: the contract of the port."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from sync_daemon.domain.errors import PreconditionFailed, StoreRefused, UploadGone
from sync_daemon.meter import Meter, active, use
from sync_daemon.ports import ObjectStore, Part
from tests.stores.backends import MIB, STORES, Backend, open_backend

THREADS = 16
ODD_NAMES = (
    "with space", "a#b", "a+b", "a%20b", "a%2Fb", "100%", "a&b=c?d", "a;b:c@d", "(a)[b]{c}", "'a'",
    '"a"', "a*b", "a|b<c>d", "~a$b!", ".hidden", "a..b", "trailing.", " leading", "é", "e\u0301",
    "模型", "😀", "deep/er/and/deeper/name",
)  # fmt: skip
ORDERED_NAMES = (
    "a", "a-b", "a.b", "a0", "b!c", "b-c", "b/-", "b/c", "b/c-d", "b/d/e", "b0", "é", "\uffee",
    "😀",
)  # fmt: skip


@pytest.fixture(scope="module", params=STORES)
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Backend:
    name = str(request.param)
    return open_backend(name, lambda: tmp_path_factory.mktemp("store"), request)


@pytest.fixture
def store(backend: Backend) -> ObjectStore:
    return backend.store


@pytest.fixture
def folder() -> str:
    """A prefix that nobody else uses."""
    return f"{uuid.uuid4().hex}/"


@pytest.fixture
def part_size(store: ObjectStore) -> int:
    return store.capabilities().min_part


@pytest.fixture
def upload(store: ObjectStore, folder: str) -> Iterator[tuple[str, str]]:
    """Key and id of an upload without parts."""
    key = f"{folder}object"
    ident = store.create_upload(key)
    yield key, ident
    store.abort_upload(key, ident)


def read(store: ObjectStore, key: str, start: int = 0, stop: int | None = None) -> bytes:
    """Read a range by a buffer that is smaller than the range."""
    data, buffer = bytearray(), memoryview(bytearray(MIB + 1))
    with store.open(key, start, stop) as reader:
        while count := reader.readinto(buffer):
            data += buffer[:count]
        assert reader.readinto(buffer) == 0
    return bytes(data)


def names(store: ObjectStore, folder: str, prefix: str = "", start_after: str = "") -> list[str]:
    """List what lies below a folder, without the folder's own name."""
    after = folder + start_after if start_after else ""
    return [info.key.removeprefix(folder) for info in store.list(folder + prefix, after)]


def send_parts(
    store: ObjectStore, key: str, ident: str, chunks: Sequence[bytes], order: Sequence[int]
) -> list[Part]:
    """Send the parts in some order and return them in the right one."""
    offsets = [sum(map(len, chunks[:index])) for index in range(len(chunks))]
    sent = {
        index: store.put_part(key, ident, index + 1, offsets[index], memoryview(chunks[index]))
        for index in order
    }
    return [sent[index] for index in range(len(chunks))]


def at_once(work: Callable[[int], object], count: int = THREADS) -> list[object]:
    """Do the work in as many threads at once and return what came of each, errors too."""
    meter = active()

    def attempt(index: int) -> object:
        with use(meter):
            try:
                return work(index)
            except Exception as error:  # noqa: BLE001 - looked at by the test
                return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(attempt, range(count)))


class TestObjects:
    def test_a_stored_object_is_read_back_whole(self, store: ObjectStore, folder: str) -> None:
        data = os.urandom(3 * MIB)
        etag = store.put(f"{folder}object", memoryview(data))
        content, info = store.get(f"{folder}object"), store.stat(f"{folder}object")
        assert info is not None
        assert (content.data, content.etag) == (data, etag)
        assert (info.key, info.size, info.etag) == (f"{folder}object", len(data), etag)
        assert (
            info.modified.utcoffset()
            == content.modified.utcoffset()
            == datetime.now(UTC).utcoffset()
        )
        assert abs((info.modified - store.now()).total_seconds()) < 5
        assert next(iter(store.list(folder))).etag == etag

    def test_a_second_put_replaces_the_first(self, store: ObjectStore, folder: str) -> None:
        first = store.put(f"{folder}object", b"first, and longer")
        second = store.put(f"{folder}object", b"second")
        assert store.get(f"{folder}object").data == b"second"
        assert first != second

    def test_an_empty_object_is_an_object(self, store: ObjectStore, folder: str) -> None:
        store.put(f"{folder}empty", b"")
        info = store.stat(f"{folder}empty")
        assert info is not None
        assert info.size == 0
        assert store.get(f"{folder}empty").data == read(store, f"{folder}empty") == b""
        assert read(store, f"{folder}empty", 0, 10) == b""
        assert names(store, folder) == ["empty"]

    def test_what_is_not_there_is_said_to_be_missing(self, store: ObjectStore, folder: str) -> None:
        assert store.stat(f"{folder}nothing") is None
        assert names(store, folder) == []
        with pytest.raises(FileNotFoundError):
            store.get(f"{folder}nothing")
        with pytest.raises(FileNotFoundError):
            store.open(f"{folder}nothing")
        with pytest.raises(FileNotFoundError):
            store.open(f"{folder}nothing", 5, 5)
        with pytest.raises(FileNotFoundError):
            store.copy(f"{folder}nothing", f"{folder}copy")

    def test_a_folder_is_no_object(self, store: ObjectStore, folder: str) -> None:
        store.put(f"{folder}sub/object", b"x")
        assert store.stat(f"{folder}sub") is None
        with pytest.raises(FileNotFoundError):
            store.get(f"{folder}sub")
        with pytest.raises(FileNotFoundError):
            store.get(f"{folder}sub/object/below")

    @pytest.mark.parametrize(
        ("start", "stop"),
        [
            (0, None),
            (0, 1),
            (1, 2),
            (7, 5_000),
            (9_999, 10_000),
            (9_999, None),
            (5, 5),
            (0, 10_000),
        ],
    )
    def test_a_range_gives_exactly_its_bytes(
        self, store: ObjectStore, folder: str, start: int, stop: int | None
    ) -> None:
        data = os.urandom(10_000)
        store.put(f"{folder}object", data)
        assert read(store, f"{folder}object", start, stop) == data[start:stop]

    def test_what_lies_past_the_end_is_not_there(self, store: ObjectStore, folder: str) -> None:
        store.put(f"{folder}object", b"0123456789")
        assert read(store, f"{folder}object", 8, 100) == b"89"
        assert read(store, f"{folder}object", 10) == b""
        assert read(store, f"{folder}object", 50, 100) == b""

    def test_a_reader_may_be_left_early(self, store: ObjectStore, folder: str) -> None:
        store.put(f"{folder}object", os.urandom(2 * MIB))
        for _ in range(3):
            with store.open(f"{folder}object") as reader:
                assert reader.readinto(memoryview(bytearray(10))) > 0
        assert len(read(store, f"{folder}object")) == 2 * MIB

    def test_a_deleted_object_is_gone_and_may_be_deleted_again(
        self, store: ObjectStore, folder: str
    ) -> None:
        store.put(f"{folder}a/object", b"x")
        store.delete(f"{folder}a/object")
        store.delete(f"{folder}a/object")
        store.delete(f"{folder}never/was")
        assert store.stat(f"{folder}a/object") is None
        assert names(store, folder) == []
        store.put(f"{folder}a", b"the folder has left nothing behind")

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_an_odd_name_is_kept_as_it_is(self, backend: Backend, folder: str, name: str) -> None:
        store, data = backend.store, name.encode()
        store.put(folder + name, data)
        assert store.get(folder + name).data == data == read(store, folder + name)
        assert names(store, folder) == [name]
        store.copy(folder + name, f"{folder}copy of {name}")
        assert store.get(f"{folder}copy of {name}").data == data
        store.delete(folder + name)
        assert names(store, folder) == [f"copy of {name}"]

    def test_composed_and_decomposed_names_are_two(self, store: ObjectStore, folder: str) -> None:
        store.put(f"{folder}\u00e9", b"composed")
        store.put(f"{folder}e\u0301", b"decomposed")
        assert store.get(f"{folder}\u00e9").data == b"composed"
        assert names(store, folder) == ["e\u0301", "\u00e9"]


class TestList:
    def test_keys_come_in_the_order_of_their_bytes(self, store: ObjectStore, folder: str) -> None:
        for name in reversed(ORDERED_NAMES):
            store.put(folder + name, b"x")
        assert names(store, folder) == sorted(ORDERED_NAMES, key=str.encode)

    @pytest.mark.parametrize("start_after", [*ORDERED_NAMES[:9], "a-", "b", "b/", "b/c0", "zzz"])
    def test_a_listing_starts_after_any_name(
        self, store: ObjectStore, folder: str, start_after: str
    ) -> None:
        for name in ORDERED_NAMES:
            store.put(folder + name, b"x")
        after = [name for name in ORDERED_NAMES if name.encode() > start_after.encode()]
        assert names(store, folder, start_after=start_after) == after

    @pytest.mark.parametrize("prefix", ["a", "b", "b/", "b/c", "b/d/", "b/d/e", "b/d/e/", "c"])
    def test_a_prefix_may_end_anywhere(self, store: ObjectStore, folder: str, prefix: str) -> None:
        for name in ORDERED_NAMES:
            store.put(folder + name, b"x")
        found = [name for name in ORDERED_NAMES if name.startswith(prefix)]
        assert names(store, folder, prefix) == found

    def test_more_than_a_page_is_listed_whole(self, store: ObjectStore, folder: str) -> None:
        expected = [f"{index:04}" for index in range(1_010)]
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda name: store.put(folder + name, b""), expected))
        meter = Meter()
        with use(meter):
            assert names(store, folder) == expected
        assert meter.store_requests == 2
        assert names(store, folder, start_after="0004") == expected[5:]
        assert next(store.list(folder)).key == f"{folder}0000"


class TestConditions:
    def test_only_the_first_creates(self, store: ObjectStore, folder: str) -> None:
        """I3: create-only."""
        etag = store.put(f"{folder}object", b"first", if_absent=True)
        with pytest.raises(PreconditionFailed):
            store.put(f"{folder}object", b"second", if_absent=True)
        assert store.get(f"{folder}object").data == b"first"
        assert store.get(f"{folder}object").etag == etag

    def test_what_was_deleted_may_be_created_again(self, store: ObjectStore, folder: str) -> None:
        store.put(f"{folder}object", b"first", if_absent=True)
        store.delete(f"{folder}object")
        store.put(f"{folder}object", b"second", if_absent=True)
        assert store.get(f"{folder}object").data == b"second"

    def test_only_the_one_who_knows_the_state_replaces_it(
        self, store: ObjectStore, folder: str
    ) -> None:
        first = store.put(f"{folder}object", b"first", if_absent=True)
        second = store.put(f"{folder}object", b"second", if_match=first)
        with pytest.raises(PreconditionFailed):
            store.put(f"{folder}object", b"third", if_match=first)
        assert store.get(f"{folder}object").data == b"second"
        store.put(f"{folder}object", b"fourth", if_match=second)
        assert store.get(f"{folder}object").data == b"fourth"

    def test_what_is_not_there_matches_nothing(self, store: ObjectStore, folder: str) -> None:
        etag = store.put(f"{folder}object", b"x")
        store.delete(f"{folder}object")
        with pytest.raises(PreconditionFailed):
            store.put(f"{folder}object", b"y", if_match=etag)
        assert store.stat(f"{folder}object") is None

    def test_an_etag_that_was_read_or_listed_matches(self, store: ObjectStore, folder: str) -> None:
        store.put(f"{folder}object", b"1")
        store.put(f"{folder}object", b"2", if_match=store.get(f"{folder}object").etag)
        info = store.stat(f"{folder}object")
        assert info is not None
        store.put(f"{folder}object", b"3", if_match=info.etag)
        store.put(f"{folder}object", b"4", if_match=next(store.list(folder)).etag)
        assert store.get(f"{folder}object").data == b"4"

    def test_one_of_many_creators_wins(self, backend: Backend, folder: str) -> None:
        if not backend.races:
            pytest.skip("moto answers right in order, and not under a race")
        for attempt in range(5):
            key = f"{folder}object-{attempt}"
            came = at_once(
                lambda index, key=key: backend.store.put(key, b"%d" % index, if_absent=True)  # type: ignore[misc]
            )
            self.assert_one_winner(backend, key, came)

    def test_one_of_many_replacers_wins(self, backend: Backend, folder: str) -> None:
        if not backend.races:
            pytest.skip("moto answers right in order, and not under a race")
        for attempt in range(5):
            key = f"{folder}object-{attempt}"
            etag = backend.store.put(key, b"before")
            came = at_once(
                lambda index, key=key, etag=etag: backend.store.put(  # type: ignore[misc]
                    key, b"%d" % index, if_match=etag
                )
            )
            self.assert_one_winner(backend, key, came)

    def assert_one_winner(self, backend: Backend, key: str, came: list[object]) -> None:
        winners = [index for index, result in enumerate(came) if isinstance(result, str)]
        assert len(winners) == 1, came
        assert sum(isinstance(result, backend.losers) for result in came) == len(came) - 1
        content = backend.store.get(key)
        assert content.data == b"%d" % winners[0]
        assert content.etag == came[winners[0]]


class TestUploads:
    def test_parts_in_any_order_make_one_object(
        self, store: ObjectStore, upload: tuple[str, str], part_size: int
    ) -> None:
        chunks = [os.urandom(part_size), os.urandom(part_size + 3), os.urandom(7)]
        parts = send_parts(store, *upload, chunks, order=[2, 0, 1])
        assert store.stat(upload[0]) is None
        assert list(store.parts(*upload)) == parts
        assert [(part.number, part.size) for part in parts] == [
            (1, part_size), (2, part_size + 3), (3, 7)
        ]  # fmt: skip
        store.complete_upload(*upload, parts)
        info = store.stat(upload[0])
        assert info is not None
        assert info.size == sum(map(len, chunks))
        assert read(store, upload[0]) == b"".join(chunks)

    def test_parts_may_be_sent_at_once(
        self, store: ObjectStore, upload: tuple[str, str], part_size: int
    ) -> None:
        chunks = [os.urandom(part_size) for _ in range(6)]
        came = at_once(
            lambda index: store.put_part(
                *upload, index + 1, index * part_size, memoryview(chunks[index])
            ),
            count=len(chunks),
        )
        parts = [part for part in came if isinstance(part, Part)]
        assert len(parts) == len(chunks), came
        store.complete_upload(*upload, parts)
        assert read(store, upload[0]) == b"".join(chunks)

    def test_a_part_sent_again_replaces_the_former(
        self, store: ObjectStore, upload: tuple[str, str], part_size: int
    ) -> None:
        first, second, last = os.urandom(part_size), os.urandom(part_size), b"end"
        stale, _ = send_parts(store, *upload, [first, last], order=[0, 1])
        parts = send_parts(store, *upload, [second, last], order=[1, 0])
        assert stale.etag != parts[0].etag
        assert list(store.parts(*upload)) == parts
        store.complete_upload(*upload, parts)
        assert read(store, upload[0]) == second + last

    def test_an_upload_of_one_small_part_is_fine(
        self, store: ObjectStore, upload: tuple[str, str]
    ) -> None:
        parts = send_parts(store, *upload, [b"small"], order=[0])
        store.complete_upload(*upload, parts)
        assert store.get(upload[0]).data == b"small"

    def test_a_completed_upload_replaces_an_object(
        self, store: ObjectStore, upload: tuple[str, str]
    ) -> None:
        store.put(upload[0], b"before, and longer")
        parts = send_parts(store, *upload, [b"after"], order=[0])
        assert store.get(upload[0]).data == b"before, and longer"
        store.complete_upload(*upload, parts)
        assert store.get(upload[0]).data == b"after"

    def test_a_missing_part_is_refused(
        self, store: ObjectStore, upload: tuple[str, str], part_size: int
    ) -> None:
        (part,) = send_parts(store, *upload, [os.urandom(part_size)], order=[0])
        with pytest.raises(StoreRefused):
            store.complete_upload(*upload, [part, Part(2, 3, part.etag)])
        assert store.stat(upload[0]) is None

    def test_another_part_than_was_stored_is_refused(
        self, store: ObjectStore, upload: tuple[str, str], part_size: int
    ) -> None:
        first, last = send_parts(store, *upload, [os.urandom(part_size), b"end"], order=[0, 1])
        wrong = Part(last.number, last.size, "0" * len(last.etag))
        with pytest.raises(StoreRefused):
            store.complete_upload(*upload, [first, wrong])
        assert store.stat(upload[0]) is None
        store.complete_upload(*upload, [first, last])

    def test_an_aborted_upload_is_gone_and_leaves_nothing(
        self, store: ObjectStore, upload: tuple[str, str], folder: str
    ) -> None:
        parts = send_parts(store, *upload, [b"part"], order=[0])
        store.abort_upload(*upload)
        store.abort_upload(*upload)
        with pytest.raises(UploadGone):
            store.parts(*upload)
        with pytest.raises(UploadGone):
            store.put_part(*upload, 1, 0, b"part")
        with pytest.raises(UploadGone):
            store.complete_upload(*upload, parts)
        assert names(store, folder) == []

    def test_completing_twice_does_no_harm(
        self, store: ObjectStore, upload: tuple[str, str], part_size: int
    ) -> None:
        chunks = [os.urandom(part_size), b"end"]
        parts = send_parts(store, *upload, chunks, order=[0, 1])
        store.complete_upload(*upload, parts)
        with suppress(UploadGone):
            store.complete_upload(*upload, parts)
        assert read(store, upload[0]) == b"".join(chunks)

    def test_two_uploads_of_one_key_do_not_mix(
        self, store: ObjectStore, upload: tuple[str, str]
    ) -> None:
        key, first = upload
        second = store.create_upload(key)
        parts = send_parts(store, key, first, [b"first"], order=[0])
        send_parts(store, key, second, [b"second"], order=[0])
        store.complete_upload(key, first, parts)
        store.abort_upload(key, second)
        assert store.get(key).data == b"first"


class TestCopies:
    @pytest.mark.parametrize("size", [0, 5, 12 * MIB])
    def test_a_copy_has_the_same_bytes_and_a_life_of_its_own(
        self, store: ObjectStore, folder: str, size: int
    ) -> None:
        data = os.urandom(size)
        store.put(f"{folder}source", data)
        store.copy(f"{folder}source", f"{folder}sub/target")
        store.put(f"{folder}source", b"replaced")
        assert read(store, f"{folder}sub/target") == data
        store.delete(f"{folder}source")
        assert read(store, f"{folder}sub/target") == data

    def test_a_copy_replaces_what_was_there(self, store: ObjectStore, folder: str) -> None:
        store.put(f"{folder}source", b"new")
        store.put(f"{folder}target", b"old, and longer")
        store.copy(f"{folder}source", f"{folder}target")
        store.copy(f"{folder}source", f"{folder}target")
        store.copy(f"{folder}target", f"{folder}target")
        assert store.get(f"{folder}target").data == b"new"
        assert names(store, folder) == ["source", "target"]


class TestTheRest:
    def test_a_refused_write_leaves_nothing(self, store: ObjectStore, folder: str) -> None:
        with pytest.raises(PreconditionFailed):
            store.put(f"{folder}a/object", b"x" * MIB, if_match="no-such-etag")
        assert names(store, folder) == []
        assert store.stat(f"{folder}a/object") is None

    def test_the_clock_is_right_and_runs(self, store: ObjectStore) -> None:
        before = store.now()
        time.sleep(0.05)
        assert before < store.now()
        assert abs((before - datetime.now(UTC)).total_seconds()) < 3
        assert before.tzinfo is not None

    def test_every_request_is_counted(self, store: ObjectStore, folder: str) -> None:
        store.capabilities()

        def requests(work: Callable[[], object]) -> int:
            with use(Meter()) as meter:
                work()
            return meter.store_requests

        assert requests(lambda: store.put(f"{folder}a", b"x" * 100_000)) == 1
        assert requests(lambda: store.put(f"{folder}b", b"x", if_absent=True)) == 1
        assert requests(lambda: store.get(f"{folder}a")) == 1
        assert requests(lambda: read(store, f"{folder}a", 5, 50)) == 1
        assert requests(lambda: store.stat(f"{folder}a")) == 1
        assert requests(lambda: store.stat(f"{folder}none")) == 1
        assert requests(lambda: list(store.list(folder))) == 1
        assert requests(lambda: store.delete(f"{folder}a")) == 1
        assert requests(store.now) == 0

    def test_many_threads_do_not_disturb_one_another(self, store: ObjectStore, folder: str) -> None:
        bodies = [os.urandom(200_000 + index) for index in range(THREADS)]

        def work(index: int) -> bytes:
            for turn in range(5):
                store.put(f"{folder}{index}/{turn}", memoryview(bodies[index]))
                assert read(store, f"{folder}{index}/{turn}") == bodies[index]
                store.delete(f"{folder}{index}/{turn - 1}")
            return store.get(f"{folder}{index}/4").data

        assert at_once(work) == bodies
        assert len(names(store, folder)) == THREADS

    def test_limits_are_sane(self, backend: Backend) -> None:
        limits = backend.store.capabilities()
        assert limits.conditional_put
        assert 1 <= limits.min_part <= 5 * MIB
        assert 900 < limits.key_bytes <= 1024
        assert backend.store.free_bytes() is None or backend.store.free_bytes()
        room = backend.store.capacity()
        assert room is None or room.total >= (room.used or 0) + (room.free or 0) > 0
        assert "secret" not in backend.store.url
