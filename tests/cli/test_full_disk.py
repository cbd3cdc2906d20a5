"""A full disk: readers keep the old version, the disk is not kept full, room is enough to go on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.support.daemon import Ran

MIB = 1024**2


@dataclass
class Site(Cli):
    """A mirror of one directory in a file system of 48 MiB."""

    @property
    def disk(self) -> Path:
        return self.folder / "disk-of-store"

    @property
    def store(self) -> Path:
        return self.disk / "store"

    def fill(self, name: str, size: int, seed: bytes) -> Path:
        """Put a file into the repository."""
        self.put("org/m", {name: (seed * 7919)[:7919] * (size // 7919) + seed})
        return self.folder / "disk/org/m" / name

    @property
    def free(self) -> int:
        status = os.statvfs(self.disk)
        return status.f_bavail * status.f_frsize

    @property
    def uploads(self) -> list[Path]:
        return list((self.store / ".tmp/uploads").glob("*"))


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Site]:
    found = Site(tmp_path, capsys)
    found.disk.mkdir()
    transfer = {"part_size": "5MiB", "memory": "64MiB", "connections": 4}
    found.write({"name": "m", "repo": "org/m"}, transfer=transfer)
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(found.disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a file system takes rights that are not there")
    yield found
    subprocess.run(["umount", "--lazy", str(found.disk)], check=True)


def error_of(ran: Ran) -> str:
    (version,) = ran.json["models"]
    return str(version["error"]["kind"])


def test_a_file_that_does_not_fit_leaves_the_old_version_and_the_room(site: Site) -> None:
    site.fill("old.bin", 2 * MIB, b"o")
    assert site("run-once").code == 0
    before, free = site("show", "m", "--json").json, site.free
    site.fill("large.bin", 60 * MIB, b"l")
    ran = site("run-once", "--json")
    assert (ran.code, error_of(ran)) == (1, "store_full")
    assert site.uploads == []
    assert site.free > free - MIB, "what did not fit is gone again"
    assert site("show", "m", "--json").json == before
    assert site("verify", "--deep").code == 0
    status = site("store", "status", "--json").json
    assert status["unfinished"] == {"uploads": 0, "bytes": 0, "journals": 0}


def test_a_run_after_room_was_made_succeeds(site: Site) -> None:
    ballast = site.disk / "ballast"
    ballast.write_bytes(bytes(30 * MIB))
    site.fill("large.bin", 25 * MIB, b"l")
    ran = site("run-once", "--json")
    assert (ran.code, error_of(ran)) == (1, "store_full")
    ballast.unlink()
    assert site("run-once").code == 0
    assert site("verify", "--deep").code == 0


def test_another_file_fits_although_one_does_not(site: Site) -> None:
    """I6: the small file is stored, and only the large one is missing."""
    large = site.fill("large.bin", 60 * MIB, b"l")
    site.fill("small.bin", MIB, b"s")
    assert error_of(site("run-once", "--json")) == "store_full"
    large.unlink()
    ran = site("run-once", "--json")
    (version,) = ran.json["models"]
    assert (ran.code, version["status"]) == (0, "published")


def leave_upload(site: Site, owner: str, size: int) -> Path:
    """Leave an upload without a journal, as a process does that is killed on a full disk."""
    place = site.store / ".tmp/uploads" / ("0" * 32)
    place.mkdir(parents=True)
    (place / "key").write_text("blobs/sha256/00/" + "0" * 64)
    (place / "owner").write_text(owner)
    (place / "data").write_bytes(bytes(size))
    return place


def test_parts_that_no_journal_names_are_removed_when_their_process_is_gone(site: Site) -> None:
    site.fill("small.bin", MIB, b"s")
    assert site("run-once").code == 0
    host = os.uname().nodename.replace("-", "_")
    left = leave_upload(site, f"{host}-{'0' * 32}-1-1", 20 * MIB)
    status = site("store", "status", "--json").json["unfinished"]
    assert (status["uploads"], status["bytes"]) == (1, 20 * MIB)
    assert site("run-once").code == 0
    assert not left.exists()


def test_the_parts_of_another_hosts_process_are_left_alone(site: Site) -> None:
    site.fill("small.bin", MIB, b"s")
    assert site("run-once").code == 0
    left = leave_upload(site, f"elsewhere-{'0' * 32}-1-1", MIB)
    assert site("run-once").code == 0
    assert left.exists()
