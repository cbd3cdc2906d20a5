"""What is remembered of proven blobs, and what a reboot makes of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sync_daemon.client.stamps import NAME, Stamps
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.errors import UploadGone
from sync_daemon.stores.local import LocalStore
from tests.client.conftest import Machine
from tests.support.hub import Hub, Repo

DIGEST = Digest("a" * 64)


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    path = tmp_path / "blob"
    path.write_bytes(b"content")
    return path


def reboot(root: Path) -> None:
    """Let the notes be those of another boot."""
    notes = root / NAME
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    notes.write_text(notes.read_text().replace(boot, "another-boot"))


def test_a_blob_is_known_until_it_is_written_to(tmp_path: Path, blob: Path) -> None:
    stamps = Stamps(tmp_path)
    assert stamps.look(DIGEST, blob.stat()) == "unknown"
    stamps.put(DIGEST, blob.stat())
    assert stamps.look(DIGEST, blob.stat()) == "ours"
    assert Stamps(tmp_path).look(DIGEST, blob.stat()) == "proven"
    os.utime(blob, ns=(0, blob.stat().st_mtime_ns + 1))
    assert stamps.look(DIGEST, blob.stat()) == "unknown"


def test_only_what_is_on_the_disk_survives_a_reboot(tmp_path: Path, blob: Path) -> None:
    Stamps(tmp_path).put(DIGEST, blob.stat())
    reboot(tmp_path)
    assert Stamps(tmp_path).look(DIGEST, blob.stat()) == "unknown"
    Stamps(tmp_path).put(DIGEST, blob.stat(), settled=True)
    reboot(tmp_path)
    assert Stamps(tmp_path).look(DIGEST, blob.stat()) == "settled"


def test_lines_that_are_damaged_cost_a_hash_and_nothing_else(tmp_path: Path, blob: Path) -> None:
    Stamps(tmp_path).put(DIGEST, blob.stat())
    with (tmp_path / NAME).open("ab") as notes:
        notes.write(b"\xff\x00 half a li")
    assert Stamps(tmp_path).look(DIGEST, blob.stat()) == "proven"


def test_notes_do_not_grow_for_ever(tmp_path: Path, blob: Path) -> None:
    line = f"{DIGEST} 1 2 3 -\n"
    (tmp_path / NAME).write_text(line * 2000)
    assert Stamps(tmp_path).look(DIGEST, blob.stat()) == "unknown"
    assert not (tmp_path / NAME).exists()


def test_a_blob_that_power_loss_emptied_is_fetched_again(
    machine: Machine, hub: Hub, repo: Repo
) -> None:
    """Name, size and time are right, and the bytes are zeros: they never reached the disk."""
    machine.pull()
    large = max(machine.blobs(), key=lambda path: path.stat().st_size)
    before = large.stat()
    large.chmod(0o644)
    large.write_bytes(bytes(before.st_size))
    os.utime(large, ns=(before.st_atime_ns, before.st_mtime_ns))
    reboot(machine.cache)
    report = machine.pull(output=machine.home / "other")
    assert report.bytes.fetched == before.st_size
    assert any((machine.home / "other/model.safetensors").read_bytes()[:1000])


def test_a_second_pull_settles_what_the_first_one_left_to_the_system(
    machine: Machine, repo: Repo
) -> None:
    machine.pull()
    machine.pull()
    reboot(machine.cache)
    notes = (machine.cache / NAME).read_text().splitlines()
    settled = {line.split()[0] for line in notes if line.endswith(" -")}
    assert settled == {path.name for path in machine.blobs()}


def test_parts_of_another_boot_are_not_taken_up(tmp_path: Path) -> None:
    """A lazy store's parts may never have reached the disk; a durable one's did."""
    key = f"blobs/sha256/aa/{DIGEST}"
    store = LocalStore(tmp_path, lazy=True)
    upload = store.create_upload(key)
    store.put_part(key, upload, 1, 0, b"part")
    assert len(store.parts(key, upload)) == 1
    owner = tmp_path / ".tmp/uploads" / upload / "owner"
    host, _, pid, started = owner.read_text().split("-")
    owner.write_text(f"{host}-0123abcd-{pid}-{started}")
    with pytest.raises(UploadGone):
        store.parts(key, upload)
    assert len(LocalStore(tmp_path).parts(key, upload)) == 1
