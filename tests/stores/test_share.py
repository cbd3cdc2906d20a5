"""Second names of objects: what every store promises of them, proven for each."""

import os
import uuid

import pytest

from sync_daemon.domain.errors import Interrupted
from sync_daemon.stores.s3 import S3Store
from tests.stores.backends import MIB, STORES, Backend, open_backend


@pytest.fixture(scope="module", params=STORES)
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Backend:
    name = str(request.param)
    return open_backend(name, lambda: tmp_path_factory.mktemp("store"), request)


@pytest.fixture
def folder() -> str:
    return f"{uuid.uuid4().hex}/"


@pytest.mark.parametrize("size", [0, 5000, 13 * MIB], ids=["empty", "small", "in parts"])
def test_a_second_name_has_the_same_bytes_and_its_own_life(
    backend: Backend, folder: str, size: int
) -> None:
    store, data = backend.store, os.urandom(size)
    store.put(f"{folder}blob", data)
    stored = store.share(f"{folder}blob", f"{folder}tree/a b#%20é", size)
    assert stored == (0 if store.traits.shares else size)
    assert store.get(f"{folder}tree/a b#%20é").data == data
    store.delete(f"{folder}blob")
    assert store.get(f"{folder}tree/a b#%20é").data == data


def test_a_second_name_replaces_what_was_there_and_again_changes_nothing(
    backend: Backend, folder: str
) -> None:
    store = backend.store
    store.put(f"{folder}blob", b"new")
    store.put(f"{folder}tree", b"before")
    for _ in range(2):
        store.share(f"{folder}blob", f"{folder}tree", 3)
        assert store.get(f"{folder}tree").data == b"new"


def test_what_is_not_there_has_no_second_name(backend: Backend, folder: str) -> None:
    sizes = (3,) if backend.name == "moto" else (3, 13 * MIB)  # it says nothing of a part's source
    for size in sizes:
        with pytest.raises(FileNotFoundError):
            backend.store.share(f"{folder}nothing", f"{folder}tree", size)
    assert list(backend.store.list(folder)) == []


def test_the_longest_key_that_a_store_claims_to_take_is_taken(
    backend: Backend, folder: str
) -> None:
    store = backend.store
    store.put(f"{folder}blob", b"x")
    room = min(store.traits.key_bytes, 2000) - len(folder)
    segments = "/".join(["s" * 200] * 10)
    if backend.name != "seaweedfs":  # which has a limit of its own below S3's
        target = folder + segments[:room].rstrip("/")
        store.share(f"{folder}blob", target, 1)
        assert store.get(target).data == b"x"
    assert store.capabilities().key_bytes <= store.traits.key_bytes


def test_a_large_copy_stops_between_two_parts_and_leaves_nothing(
    backend: Backend, folder: str
) -> None:
    if not isinstance(store := backend.store, S3Store):
        pytest.skip("it is made at once")
    store.put(f"{folder}blob", os.urandom(13 * MIB))
    with pytest.raises(Interrupted):
        store.share(f"{folder}blob", f"{folder}tree", 13 * MIB, lambda: True)
    assert [info.key for info in store.list(folder)] == [f"{folder}blob"]


def test_a_large_copy_drops_what_a_dead_process_left_of_it(backend: Backend, folder: str) -> None:
    if not isinstance(store := backend.store, S3Store):
        pytest.skip("it is made at once")
    store.put(f"{folder}blob", os.urandom(13 * MIB))
    dead = store.create_upload(f"{folder}tree")
    other = store.create_upload(f"{folder}tree2")
    store.share(f"{folder}blob", f"{folder}tree", 13 * MIB)
    with pytest.raises(Exception, match="upload"):
        store.parts(f"{folder}tree", dead)
    assert store.parts(f"{folder}tree2", other) == ()
    store.abort_upload(f"{folder}tree2", other)
