"""`verify` finds every kind of damage, names who is hit, and writes nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any, Self

import pytest

from sync_daemon.domain import keys
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.errors import (
    ConfigurationError,
    Interrupted,
    StoreRefused,
    StoreUnavailable,
)
from sync_daemon.domain.names import ModelName, VersionName
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.tools import How
from sync_daemon.engine.verification import Damage, Verification
from sync_daemon.engine.verify import Verifier
from sync_daemon.ports import ObjectInfo, ObjectStore, Reader
from sync_daemon.stores.memory import MemoryStore
from tests.support.fakes import FakeClock, FakeOrigin, Recorder, running, wanted

SHARED = b"weights" * 1000
OLD, NEW = b'{"v": 1}', b'{"v": 2}'
FILES = {"model.safetensors": SHARED, "config.json": NEW, "empty.txt": b""}


class Counted:
    """A watch that remembers what it was told."""

    def __init__(self) -> None:
        self.announced = (0, 0)
        self.read = 0
        self._lock = threading.Lock()

    def begin(self, objects: int, size: int) -> None:
        self.announced = (objects, size)

    def advance(self, count: int) -> None:
        with self._lock:
            self.read += count


class ReadOnly:
    """A store that fails the test when anything but reading is asked of it."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        assert name in {"get", "open", "stat", "list", "url", "traits"}, f"verify called {name}"
        return getattr(self._store, name)


@pytest.fixture
def store() -> MemoryStore:
    """Model `a` with two manifests of one version, and model `b`, which shares a blob."""
    origin, store = FakeOrigin(), MemoryStore()
    with running(store, origin) as engine:
        for config in (OLD, NEW):
            origin.commit("org/a", FILES | {"config.json": config})
            origin.commit("org/b", {"model.safetensors": SHARED})
            entries = (wanted("a", "1.0", "org/a"), wanted("b", "main", "org/b"))
            assert engine.run(entries, How()).status == "ok"
    return store


def verifier(store: Any, *, attempts: int = 3, stop: threading.Event | None = None) -> Verifier:
    clock = FakeClock()
    retry = Retry(attempts, Recorder(), clock)
    return Verifier(store, retry, clock, stop or clock.stop, workers=3)


def verify(store: Any, **options: Any) -> Verification:
    return verifier(ReadOnly(store)).verify(**options)


def only(found: Verification) -> Damage:
    assert len(found.damage) == 1, found.damage
    return found.damage[0]


def blob(data: bytes) -> str:
    return keys.blob(Digest.of(data))


def current_manifest(store: MemoryStore, model: str = "a", version: str = "1.0") -> str:
    pointer = json.loads(store.get(f"models/{model}/{version}/current.json").data)
    return f"models/{model}/{version}/manifests/{pointer['manifest']}.json"


def test_a_sound_store_has_no_damage_and_every_blob_is_counted_once(store: MemoryStore) -> None:
    found = verify(store)
    assert found.to_json() == {
        "status": "ok",
        "deep": False,
        "versions": 2,
        "manifests": 3,
        "blobs": 4,
        "bytes": len(SHARED) + len(OLD) + len(NEW),
        "hashed_bytes": 0,
        "damage": [],
        "damaged_versions": [],
        "unreferenced": {"blobs": 0, "bytes": 0},
        "seconds": 0.0,
    }


def test_deep_reads_every_byte_once_and_tells_how_far(store: MemoryStore) -> None:
    watch = Counted()
    found = verify(store, deep=watch)
    total = len(SHARED) + len(OLD) + len(NEW)
    assert (found.damage, found.hashed) == ((), total)
    assert (watch.announced, watch.read) == ((4, total), total)


def test_a_deleted_blob_is_missing_for_all_who_share_it(store: MemoryStore) -> None:
    store.delete(blob(SHARED))
    found = verify(store)
    damage = only(found)
    assert (damage.kind, damage.key, damage.size) == ("missing", blob(SHARED), len(SHARED))
    assert found.hit == ("a@1.0", "b@main")
    assert {use.path for use in damage.uses} == {"model.safetensors"}
    assert len(damage.uses) == 3, "two manifests of a, one of b"


def test_a_truncated_blob_has_the_wrong_size(store: MemoryStore) -> None:
    store.put(blob(NEW), NEW[:-1])
    damage = only(verify(store))
    assert (damage.kind, damage.size, damage.found) == ("wrong_size", len(NEW), len(NEW) - 1)


def test_a_flipped_byte_is_found_by_deep_alone(store: MemoryStore) -> None:
    store.put(blob(SHARED), b"W" + SHARED[1:])
    assert verify(store).damage == ()
    damage = only(verify(store, deep=Counted()))
    assert (damage.kind, damage.key) == ("corrupt", blob(SHARED))
    assert Digest.of(b"W" + SHARED[1:]) in damage.message


def test_a_blob_that_only_a_former_manifest_names_is_verified_too(store: MemoryStore) -> None:
    store.delete(blob(OLD))
    damage = only(verify(store))
    assert (damage.kind, damage.uses[0].version) == ("missing", "1.0")


def test_what_no_manifest_names_is_counted_and_is_no_damage(store: MemoryStore) -> None:
    store.put(blob(b"left over"), b"left over")
    store.put("blobs/sha256/README", b"not a blob")
    found = verify(store)
    assert (found.damage, found.unreferenced) == ((), (1, 9))


def test_a_manifest_whose_bytes_changed_is_corrupt(store: MemoryStore) -> None:
    key = current_manifest(store)
    store.put(key, store.get(key).data.replace(b'"size"', b'"sise"'))
    damage = only(verify(store))
    assert (damage.kind, damage.key) == ("corrupt", key)
    assert damage.uses[0].to_json().keys() == {"model", "version", "manifest"}


def test_a_manifest_that_a_pointer_names_and_is_gone_is_missing(store: MemoryStore) -> None:
    key = current_manifest(store)
    store.delete(key)
    found = verify(store)
    assert (only(found).kind, only(found).key, found.hit) == ("missing", key, ("a@1.0",))


def test_a_manifest_that_is_no_manifest_is_unreadable(store: MemoryStore) -> None:
    data = b'{"format": 1}\n'
    key = keys.manifest(ModelName("a"), VersionName("1.0"), Digest.of(data))
    store.put(key, data)
    assert (only(verify(store)).kind, only(verify(store)).key) == ("unreadable", key)


def test_a_manifest_in_the_folder_of_another_version_is_damage(store: MemoryStore) -> None:
    key = current_manifest(store, "b", "main")
    stray = key.replace("models/b/main/", "models/a/1.0/")
    store.put(stray, store.get(key).data)
    damage = only(verify(store))
    assert (damage.key, damage.message) == (stray, "it is the manifest of b@main")


def test_a_pointer_that_is_no_pointer_is_unreadable(store: MemoryStore) -> None:
    store.put("models/a/1.0/current.json", b"{}")
    damage = only(verify(store))
    assert (damage.kind, damage.key) == ("unreadable", "models/a/1.0/current.json")


def test_a_version_that_was_never_published_is_no_damage(store: MemoryStore) -> None:
    """A run that ended between manifest and pointer leaves exactly this."""
    store.delete("models/b/main/current.json")
    assert verify(store).damage == ()


def test_foreign_keys_below_models_are_no_damage(store: MemoryStore) -> None:
    for key in ("models/README", "models/a/1.0/manifests/x.json", "models/.x/1/current.json"):
        store.put(key, b"?")
    found = verify(store)
    assert (found.damage, found.versions) == ((), 2)


def test_a_lost_format_marker_is_damage_and_an_empty_store_is_none(store: MemoryStore) -> None:
    store.delete(keys.MARKER)
    damage = only(verify(store))
    assert (damage.kind, damage.key, damage.uses) == ("missing", keys.MARKER, ())
    assert '{"format":1}' in damage.message
    assert verify(MemoryStore()).damage == ()


def test_a_store_of_another_format_is_refused(store: MemoryStore) -> None:
    store.put(keys.MARKER, b'{"format":2}\n')
    with pytest.raises(StoreRefused, match="format"):
        verify(store)


def test_one_model_is_verified_alone(store: MemoryStore) -> None:
    store.delete(blob(NEW))
    found = verify(store, models=frozenset({"b"}))
    assert (found.damage, found.versions, found.blobs) == ((), 1, 1)
    assert found.unreferenced is None


def test_a_model_that_is_nowhere_is_a_mistake_and_a_declared_one_is_not(
    store: MemoryStore,
) -> None:
    with pytest.raises(ConfigurationError, match="nobody"):
        verify(store, models=frozenset({"nobody", "b"}))
    found = verify(store, models=frozenset({"soon"}), declared=frozenset({"soon"}))
    assert (found.versions, found.damage) == (0, ())


def test_two_manifests_that_disagree_on_a_size_cannot_both_be_right(store: MemoryStore) -> None:
    key = current_manifest(store, "b", "main")
    size = str(len(SHARED)).encode()
    data = store.get(key).data.replace(size, b"7")
    store.put(keys.manifest(ModelName("b"), VersionName("main"), Digest.of(data)), data)
    damage = only(verify(store, deep=Counted()))
    assert (damage.kind, damage.size, damage.found) == ("wrong_size", 7, len(SHARED))


class Faulty:
    """A store whose `name` calls for keys with `part` in them go wrong, `times` times."""

    def __init__(
        self, store: ObjectStore, name: str, part: str, error: Exception, times: int = 10**6
    ) -> None:
        self._store, self._name, self._part, self._error = store, name, part, error
        self.left = times
        self.opened: list[tuple[str, int]] = []

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._store, name)
        if name != self._name:
            return inner

        def call(key: str, *rest: Any) -> Any:
            self.opened.append((key, rest[0] if rest else 0))
            if self._part in key and self.left > 0:
                self.left -= 1
                return self._fail(inner, key, *rest)
            return inner(key, *rest)

        return call

    def _fail(self, inner: Any, key: str, *rest: Any) -> Any:
        if self._name == "open":
            return Breaking(inner(key, *rest), self._error)
        if self._name == "list":
            return self._break_off(inner(key, *rest))
        raise self._error

    def _break_off(self, listing: Iterator[ObjectInfo]) -> Iterator[ObjectInfo]:
        yield next(listing)
        raise self._error


class Breaking:
    """A reader that gives a few bytes and then breaks."""

    def __init__(self, reader: Reader, error: Exception) -> None:
        self._reader, self._error, self._given = reader, error, False

    def readinto(self, buffer: memoryview, /) -> int:
        if self._given:
            raise self._error
        self._given = True
        return self._reader.readinto(buffer[:100])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        return None


def test_a_stream_that_breaks_goes_on_where_it_ended(store: MemoryStore) -> None:
    key = blob(SHARED)
    faulty = Faulty(store, "open", key, StoreUnavailable("reset"), times=1)
    found = verifier(faulty).verify(deep=Counted())
    assert (found.damage, found.hashed) == ((), len(SHARED) + len(OLD) + len(NEW))
    assert [at for opened, at in faulty.opened if opened == key] == [0, 100]


def test_a_blob_that_cannot_be_read_is_damage_while_the_store_answers(store: MemoryStore) -> None:
    faulty = Faulty(store, "open", blob(SHARED), StoreUnavailable("bad sector"))
    damage = only(verifier(faulty).verify(deep=Counted()))
    assert (damage.kind, damage.key, damage.message) == ("unreadable", blob(SHARED), "bad sector")


def test_a_blob_that_ends_early_is_corrupt(store: MemoryStore) -> None:
    class Short(Faulty):
        def _fail(self, inner: Any, key: str, *rest: Any) -> Any:
            return inner(key, rest[0], min(rest[1], 10))

    faulty = Short(store, "open", blob(SHARED), StoreUnavailable(""))
    damage = only(verifier(faulty).verify(deep=Counted()))
    assert (damage.kind, damage.found) == ("corrupt", 10)


@pytest.mark.parametrize("error", [StoreUnavailable("down"), StoreRefused("denied")])
@pytest.mark.parametrize("call", ["get", "list", "open"])
def test_a_store_that_is_gone_ends_it_and_is_not_taken_for_damage(
    store: MemoryStore, call: str, error: Exception
) -> None:
    faulty = Faulty(Faulty(store, call, "", error), "stat", "", error)
    with pytest.raises(type(error), match=str(error)):
        verifier(faulty).verify(deep=Counted())


def test_a_listing_that_breaks_off_is_taken_up_again(store: MemoryStore) -> None:
    faulty = Faulty(store, "list", keys.BLOBS, StoreUnavailable("reset"), times=2)
    assert verifier(faulty).verify().damage == ()


def test_a_long_listing_goes_on_behind_its_last_page(store: MemoryStore) -> None:
    for number in range(2_500):
        data = b"%d" % number
        store.put(blob(data), data)

    class LatePage(Faulty):
        def _break_off(self, listing: Iterator[ObjectInfo]) -> Iterator[ObjectInfo]:
            for _ in range(1_700):
                yield next(listing)
            raise self._error

    faulty = LatePage(store, "list", keys.BLOBS, StoreUnavailable("reset"), times=1)
    found = verifier(faulty).verify()
    assert found.unreferenced is not None
    assert (found.unreferenced[0], found.damage) == (2_500, ())
    assert faulty.opened[-1][1], "the second listing started behind a key"


def test_a_stop_ends_it(store: MemoryStore) -> None:
    stop = threading.Event()

    class Stopping(Counted):
        def begin(self, objects: int, size: int) -> None:
            stop.set()

    with pytest.raises(Interrupted):
        verifier(store, stop=stop).verify(deep=Stopping())


def test_what_is_published_while_it_looks_is_no_damage(store: MemoryStore) -> None:
    """I4: the pointer may name a manifest that was not there when manifests were listed."""
    origin = FakeOrigin()
    origin.commit("org/a", {"config.json": b"newest"})

    class Publishing(Faulty):
        def _fail(self, inner: Any, key: str, *rest: Any) -> Any:
            listed = list(inner(key, *rest))
            with running(store, origin) as engine:
                engine.run((wanted("a", "1.0", "org/a"),), How())
            return iter(listed)

    faulty = Publishing(store, "list", keys.MODELS, StoreUnavailable(""), times=1)
    found = verifier(faulty).verify(deep=Counted())
    assert (found.damage, found.manifests) == ((), 4)
