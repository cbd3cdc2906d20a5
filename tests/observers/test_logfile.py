"""The log file: rotation, several writers, disks that are full, files that cannot be opened."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sync_daemon.domain.errors import ConfigurationError
from sync_daemon.observers.logfile import LogFile, Place
from sync_daemon.observers.mask import Mask

SIZE = 4096


def make(path: Path, complaints: list[str] | None = None, *, keep: int = 2) -> LogFile:
    told = [] if complaints is None else complaints
    return LogFile(Place(path, SIZE, keep), Mask(["s3cret-1"]), told.append)


def lines_of(*paths: Path) -> list[str]:
    return [line for path in paths for line in path.read_text().splitlines()]


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """A write beyond `size` bytes of a file fails, after as much of it as fits."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_lines_are_appended_with_secrets_hidden_and_strangers_cannot_read_them(
    tmp_path: Path,
) -> None:
    path = tmp_path / "sync.log"
    path.write_text("old\n")
    make(path).write("with s3cret-1")
    assert path.read_text() == "old\nwith ***\n"
    make(tmp_path / "new.log").write("x")
    assert (tmp_path / "new.log").stat().st_mode & 0o007 == 0


def test_a_full_file_is_set_aside_and_so_many_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "sync.log"
    log = make(path, keep=2)
    for number in range(400):
        log.write(f"{number:05} " + "x" * 44)
    log.close()
    names = sorted(one.name for one in tmp_path.iterdir())
    assert names == ["sync.log", "sync.log.1", "sync.log.2"]
    assert all(one.stat().st_size <= SIZE for one in tmp_path.iterdir())
    kept = [int(line[:5]) for line in lines_of(log.place.old(2), log.place.old(1), path)]
    assert kept == list(range(kept[0], 400)), "whole lines, in order, the newest ones"
    assert len(kept) > 160


def test_a_line_that_is_larger_than_a_file_may_be_has_one_of_its_own(tmp_path: Path) -> None:
    log = make(tmp_path / "sync.log")
    for text in ("a", "b" * 2 * SIZE, "c"):
        log.write(text)
    assert lines_of(log.place.path) == ["c"]
    assert lines_of(log.place.old(1)) == ["b" * 2 * SIZE]


def test_after_somebody_renamed_or_removed_the_file_there_is_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "sync.log"
    log = make(path)
    log.write("one")
    path.rename(tmp_path / "taken")
    log.write("two")
    assert (lines_of(tmp_path / "taken"), lines_of(path)) == (["one"], ["two"])
    path.unlink()
    log.write("three")
    assert lines_of(path) == ["three"]


def test_processes_that_share_a_file_lose_and_mix_nothing(tmp_path: Path) -> None:
    path = tmp_path / "sync.log"
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from sync_daemon.observers.logfile import LogFile, Place\n"
        "from sync_daemon.observers.mask import Mask\n"
        f"log = LogFile(Place(Path(sys.argv[1]), {SIZE}, 1000), Mask(), sys.exit)\n"
        "for number in range(1000):\n"
        "    log.write(f'{sys.argv[2]} {number} ' + 'x' * 30)\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", script, str(path), name]) for name in "ab"]
    assert [one.wait(60) for one in both] == [0, 0]
    found = sorted(line for file in tmp_path.iterdir() for line in lines_of(file))
    tail = " " + "x" * 30
    assert found == sorted(f"{name} {number}{tail}" for name in "ab" for number in range(1000))


def test_a_full_disk_is_told_once_and_later_lines_are_whole_again(tmp_path: Path) -> None:
    path = tmp_path / "sync.log"
    complaints: list[str] = []
    log = make(path, complaints)
    with disk_of(10):
        for _ in range(3):
            log.write("0123456")
    log.write("again")
    (complaint,) = complaints
    assert str(path) in complaint
    assert "cannot be written" in complaint
    assert lines_of(path) == ["0123456", "01", "again"], "no line is glued to half of another"


def test_a_complaint_may_come_back_as_a_line(tmp_path: Path) -> None:
    told: list[str] = []

    def complain(message: str) -> None:
        told.append(message)
        log.write(message)

    log = LogFile(Place(tmp_path / "sync.log", SIZE, 1), Mask(), complain)
    with disk_of(0):
        log.write("x")
    assert len(told) == 1


def test_a_folder_that_is_gone_is_told_once_and_taken_up_when_it_is_back(tmp_path: Path) -> None:
    folder, complaints = tmp_path / "logs", list[str]()
    folder.mkdir()
    log = make(folder / "sync.log", complaints)
    folder.rename(tmp_path / "away")
    log.write("lost")
    log.write("lost")
    folder.mkdir()
    log.write("found")
    assert len(complaints) == 1
    assert lines_of(folder / "sync.log") == ["found"]


def test_a_file_that_cannot_be_renamed_grows_and_that_is_told_once(tmp_path: Path) -> None:
    path, complaints = tmp_path / "sync.log", list[str]()
    (tmp_path / "sync.log.1").mkdir()
    log = make(path, complaints, keep=1)
    for _ in range(3):
        log.write("x" * SIZE)
    assert len(lines_of(path)) == 3
    assert len(complaints) == 1
    assert "cannot be renamed" in complaints[0]


@pytest.mark.parametrize("kind", ["no folder", "a folder", "a pipe", "a device"])
def test_a_file_that_cannot_be_opened_is_an_error_of_the_configuration(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "sync.log"
    if kind == "a folder":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    paths = {"no folder": path / "below" / "it", "a device": Path("/dev/null")}
    with pytest.raises(ConfigurationError, match=r"log.file: .* cannot be opened: .") as caught:
        make(paths.get(kind, path))
    assert caught.value.hint


def test_after_it_was_closed_nothing_is_written(tmp_path: Path) -> None:
    log = make(tmp_path / "sync.log")
    log.close()
    log.write("late")
    assert lines_of(log.place.path) == []


def test_lines_of_many_threads_stay_whole(tmp_path: Path) -> None:
    log = make(tmp_path / "sync.log", keep=100)
    text = json.dumps({"x": "y" * 40})
    threads = [
        threading.Thread(target=lambda: [log.write(text) for _ in range(100)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [line for file in tmp_path.iterdir() for line in lines_of(file)] == [text] * 400
