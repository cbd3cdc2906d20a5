"""Which files are too large for the memory, and which uploads outlive the store's patience."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sync_daemon.domain.names import RepoPath
from sync_daemon.domain.parts import (
    MIB,
    find_outlasting,
    find_too_large,
    memory_needed,
    part_size,
)

GIB = 1024 * MIB
BIG, SMALL = RepoPath("big.safetensors"), RepoPath("config.json")


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, 32 * MIB),
        (10_000 * 32 * MIB, 32 * MIB),
        (10_000 * 32 * MIB + 1, 33 * MIB),
        (500 * 10**9, 48 * MIB),
    ],
)
def test_parts_grow_only_where_their_number_demands_it(size: int, expected: int) -> None:
    assert part_size(size, 32 * MIB) == expected


def test_a_file_of_one_part_needs_no_four() -> None:
    assert memory_needed(31 * MIB, 32 * MIB) == 31 * MIB
    assert memory_needed(33 * MIB, 32 * MIB) == 4 * 32 * MIB


def test_a_file_that_the_memory_cannot_move_is_named_with_the_memory_it_needs() -> None:
    files = {BIG: 500 * 10**9, SMALL: 10}
    assert find_too_large(files, 32 * MIB, 192 * MIB) == ()
    (reason,) = find_too_large(files, 32 * MIB, 191 * MIB)
    assert reason.startswith("big.safetensors: a file of 500000000000 bytes needs parts of 48 MiB")
    assert reason.endswith("set transfer.memory to 192MiB")


def test_an_upload_outlasts_a_life_that_its_bytes_need_in_full() -> None:
    files, day = {BIG: 86_400 * MIB, SMALL: 10}, timedelta(days=1)
    assert find_outlasting(files, 32 * MIB, MIB, day) == (BIG,)
    assert find_outlasting(files, 32 * MIB, 1.01 * MIB, day) == ()


def test_a_file_of_one_part_is_no_upload_that_could_be_dropped() -> None:
    assert find_outlasting({SMALL: 32 * MIB}, 32 * MIB, 1, timedelta(seconds=1)) == ()
