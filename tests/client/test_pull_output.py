"""What lies in the output already: left, adopted, replaced, or refused with nothing touched."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sync_daemon.client.placing import SPARE, OutputRefused
from sync_daemon.client.state import NAME
from tests.client.conftest import MIB, REPO, Machine, files
from tests.support.hub import Hub, Repo, Synthetic


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_that_is_right_already_is_adopted(machine: Machine, repo: Repo) -> None:
    machine.output.mkdir()
    (machine.output / "config.json").write_bytes(b'{"seed": 0}')
    inode = (machine.output / "config.json").stat().st_ino
    assert machine.pull().outcome.kept == 1
    assert (machine.output / "config.json").stat().st_ino == inode


def test_a_foreign_file_in_the_way_is_refused_and_nothing_touched(
    machine: Machine, repo: Repo
) -> None:
    machine.output.mkdir()
    (machine.output / "config.json").write_bytes(b"mine")
    with pytest.raises(OutputRefused, match=r"config\.json: is there already"):
        machine.pull()
    assert names(machine.output) == {"config.json"}
    assert machine.pull(force=True).status == "ok"
    assert (machine.output / "config.json").read_bytes() == b'{"seed": 0}'


def test_links_do_not_lead_out_of_the_output(machine: Machine, repo: Repo) -> None:
    outside = machine.home / "outside"
    outside.mkdir()
    machine.output.mkdir()
    (machine.output / "data").symlink_to(outside)
    for force in (False, True):
        with pytest.raises(OutputRefused, match="through the link data"):
            machine.pull(force=force)
    assert list(outside.iterdir()) == []


def test_a_link_in_place_of_a_file_is_replaced_itself(machine: Machine, repo: Repo) -> None:
    outside = machine.home / "outside"
    outside.write_bytes(b"precious")
    machine.output.mkdir()
    (machine.output / "config.json").symlink_to(outside)
    with pytest.raises(OutputRefused):
        machine.pull()
    machine.pull(force=True)
    assert outside.read_bytes() == b"precious"
    assert not (machine.output / "config.json").is_symlink()


@pytest.mark.parametrize("path", [NAME, f"{SPARE}/x"])
def test_names_that_pull_keeps_for_itself_are_refused(
    machine: Machine, hub: Hub, path: str
) -> None:
    """Before anything is fetched, with the way out."""
    hub.repo("org/odd").commit({path: b"x", "config.json": b"{}"})
    with pytest.raises(OutputRefused, match="keeps for itself") as told:
        machine.pull("org/odd")
    assert told.value.hint == f"leave it out: --exclude '{path}'"
    assert machine.blobs() == []
    machine.pull("org/odd", exclude=(path,))
    assert (machine.output / "config.json").is_file()


def test_a_commit_with_such_a_name_is_refused_when_it_is_placed(machine: Machine, hub: Hub) -> None:
    odd = hub.repo("org/odd")
    odd.commit({NAME: b"x"})
    with pytest.raises(OutputRefused, match="keeps for itself"):
        machine.pull(f"org/odd@{odd.head('main')}")
    assert not machine.output.exists()


def test_force_is_advised_only_where_it_helps(machine: Machine, repo: Repo) -> None:
    (machine.output / "config.json").mkdir(parents=True)
    with pytest.raises(OutputRefused) as told:
        machine.pull()
    assert "--force" not in told.value.hint
    (machine.output / "config.json").rmdir()
    (machine.output / "config.json").write_bytes(b"mine")
    with pytest.raises(OutputRefused) as told:
        machine.pull()
    assert "--force" in told.value.hint


def test_a_file_where_a_folder_is_needed_is_refused(machine: Machine, repo: Repo) -> None:
    machine.output.mkdir()
    (machine.output / "data").write_bytes(b"mine")
    with pytest.raises(OutputRefused, match="folder data, which is a file"):
        machine.pull()


def test_a_folder_where_a_file_belongs_is_refused(machine: Machine, repo: Repo) -> None:
    (machine.output / "config.json").mkdir(parents=True)
    with pytest.raises(OutputRefused, match="is a folder there"):
        machine.pull(force=True)


def test_an_output_that_is_a_file_is_refused(machine: Machine, repo: Repo) -> None:
    machine.output.write_bytes(b"mine")
    with pytest.raises(OutputRefused, match="is no directory"):
        machine.pull()


def test_notes_that_are_no_notes_are_refused(machine: Machine, repo: Repo) -> None:
    machine.output.mkdir()
    (machine.output / NAME).write_text("{")
    with pytest.raises(OutputRefused, match="not readable"):
        machine.pull()
    machine.pull(force=True)
    assert json.loads((machine.output / NAME).read_text())["model"] == REPO


def test_nothing_but_the_version_and_the_notes_is_left(machine: Machine, repo: Repo) -> None:
    """Also after a pull that was killed while it placed files."""
    (machine.output / SPARE).mkdir(parents=True)
    (machine.output / SPARE / "half").write_bytes(b"half a file")
    machine.pull()
    assert names(machine.output) == {NAME, "config.json", "data", "model.safetensors"}


def test_what_no_output_links_to_can_be_freed(machine: Machine, repo: Repo) -> None:
    """By the command of docs/pull.md; what is wanted again is fetched again, and nothing else."""
    former = repo.head("main")
    machine.pull(output=machine.home / "first")
    repo.commit({"config.json": b"{}"})
    machine.pull(output=machine.home / "second")
    shutil.rmtree(machine.home / "first")
    command = ["find", machine.cache / "blobs", "-type", "f", "-links", "1", "-delete"]
    subprocess.run(command, check=True)
    kept = {path.stat().st_ino for path in (machine.home / "second").rglob("*")}
    assert machine.blobs()
    assert all(blob.stat().st_ino in kept for blob in machine.blobs())
    assert machine.pull(output=machine.home / "second").bytes.fetched == 0
    old = machine.pull(f"{REPO}@{former}", output=machine.home / "first")
    assert old.bytes.fetched == len(b'{"seed": 0}')


def test_another_disk_gets_copies(machine: Machine, repo: Repo) -> None:
    """Hard links do not reach there; what was copied is recognised the next time."""
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == machine.home.stat().st_dev:
        pytest.skip("there is no second file system")
    output = shared / f"pull-test-{os.getpid()}"
    try:
        assert machine.pull(output=output).outcome.copied == 3
        assert machine.pull(output=output).outcome.kept == 3
    finally:
        subprocess.run(["rm", "-rf", str(output)], check=True)


def command(machine: Machine, *more: str) -> subprocess.Popen[str]:
    """The command of a user, as a process."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "SYNC_"))}
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "sync_daemon", "pull", REPO, "--json"),
            *("--mirror", machine.mirrors[0], "--cache", str(machine.cache)),
            *("--output", str(machine.output), *more),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=kept | {"HOME": str(machine.home)},
    )


def wait_for(hub: Hub, size: int) -> None:
    deadline = time.monotonic() + 30
    while hub.bytes_sent("cdn") < size and time.monotonic() < deadline:
        time.sleep(0.05)


def has_begun(machine: Machine) -> bool:
    """Whether a journal speaks of parts that a later pull need not fetch again."""
    for journal in machine.cache.glob("uploads/*/*.json"):
        with contextlib.suppress(FileNotFoundError):
            if json.loads(journal.read_bytes())["done"]:
                return True
    return False


def test_a_pull_that_was_killed_goes_on_where_it_was(machine: Machine, hub: Hub) -> None:
    """SIGKILL in the middle of a file of 160 MiB: what had come by then does not come again."""
    size = 160 * MIB
    hub.repo(REPO).commit({"model.safetensors": Synthetic(size)})
    hub.rate_per_connection = 2 * MIB
    with command(machine) as process:
        deadline = time.monotonic() + 60
        while not has_begun(machine) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not machine.output.exists()
    hub.rate_per_connection = None
    hub.clear()
    report = machine.pull()
    assert 0 < report.bytes.fetched < size
    assert (machine.output / "model.safetensors").stat().st_size == size
    assert report.seconds < 30, "no lock of the dead process is waited for"


def test_an_interrupted_pull_says_so_and_goes_on(machine: Machine, hub: Hub) -> None:
    hub.repo(REPO).commit({"model.safetensors": Synthetic(64 * MIB)})
    hub.rate_per_connection = MIB
    with command(machine) as process:
        wait_for(hub, 2 * MIB)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert json.loads(out)["status"] == "interrupted"
    hub.rate_per_connection = None
    assert machine.pull().status == "ok"


def test_two_pulls_at_once_fetch_once(machine: Machine, hub: Hub) -> None:
    """Eight ranks of a job start together: each waits for the first, and places its own files."""
    hub.repo(REPO).commit(files(seed=5))
    hub.rate_total = 16 * MIB
    reports = []

    def one(number: int) -> None:
        output = machine.home / f"rank-{number % 2}"
        reports.append(machine.pull(output=output))

    ranks = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(60)
    assert [report.status for report in reports] == ["ok"] * 4
    assert sum(report.bytes.fetched for report in reports) == reports[0].bytes.total
