"""Damaged notes of the cache: they count as missing, as damaged blobs do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sync_daemon.client.report import NotInCache
from sync_daemon.domain.errors import StoreRefused
from tests.client.conftest import MIB, Machine
from tests.support.hub import Repo

MARKER, POINTER = "mirror.json", "models/org/model/main/current.json"
MANIFESTS = "models/org/model/main/manifests/*.json"


def truncate(data: bytes) -> bytes:
    return data[: len(data) // 2]


def empty(data: bytes) -> bytes:
    return data[:0]


def zero(data: bytes) -> bytes:
    """What a file system may leave after power loss."""
    return bytes(len(data))


def garble(data: bytes) -> bytes:
    return b"\xff" + data


def damage(machine: Machine, pattern: str, how: Callable[[bytes], bytes]) -> list[Path]:
    found = list(machine.cache.glob(pattern))
    assert found
    for path in found:
        data = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(how(data))
    return found


@pytest.mark.parametrize("how", [truncate, empty, zero, garble])
@pytest.mark.parametrize("pattern", [MARKER, POINTER, MANIFESTS])
def test_what_is_damaged_is_fetched_anew_with_a_warning(
    machine: Machine, repo: Repo, pattern: str, how: Callable[[bytes], bytes]
) -> None:
    machine.pull()
    before = {path: path.read_bytes() for path in machine.cache.glob(MARKER)}
    damage(machine, pattern, how)
    repo.commit({"config.json": b"{}"})
    report = machine.pull()
    assert (machine.output / "config.json").read_bytes() == b"{}"
    assert report.bytes.fetched < MIB, "large blobs that are sound stay"
    assert any("was damaged" in warning for warning in report.warnings)
    assert {path: path.read_bytes() for path in before} == before
    assert machine.pull(offline_mode=True).status == "ok"
    assert machine.pull().warnings == ()


def test_everything_damaged_at_once_does_not_stop_a_pull(machine: Machine, repo: Repo) -> None:
    machine.pull()
    for pattern in (MARKER, POINTER, MANIFESTS):
        damage(machine, pattern, truncate)
    assert machine.pull().status == "ok"
    assert machine.pull(offline_mode=True).status == "ok"


@pytest.mark.parametrize("pattern", [POINTER, MANIFESTS])
def test_offline_it_is_not_in_the_cache_and_nothing_is_removed(
    machine: Machine, repo: Repo, pattern: str
) -> None:
    machine.pull()
    damaged = damage(machine, pattern, truncate)
    with pytest.raises(NotInCache):
        machine.pull(offline_mode=True)
    assert all(path.exists() for path in damaged)


def test_a_newer_format_is_not_damage(machine: Machine, repo: Repo) -> None:
    machine.pull()
    damage(machine, MARKER, lambda _: b'{"format":2}\n')
    repo.commit({"config.json": b"{}"})
    with pytest.raises(StoreRefused, match="cannot read"):
        machine.pull()
    assert (machine.cache / MARKER).read_bytes() == b'{"format":2}\n'
