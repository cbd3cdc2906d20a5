"""Progress bars: what they draw, and that log lines do not tear them."""

import io
import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path

from sync_daemon.domain.events import (
    BytesMoved,
    Event,
    RunStarted,
    VersionFailed,
    VersionPlanned,
    VersionRefused,
    VersionUnchanged,
)
from sync_daemon.observers.lines import Lines
from sync_daemon.observers.mask import Mask
from sync_daemon.observers.progress import Progress
from tests.support.daemon import COMMAND, Daemon
from tests.support.hub import Fault, Hub, Status, Synthetic

MIB = 1024**2
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z \[\w+ *\] [a-z]+\.[a-z_]+ ")


class Terminal(io.StringIO):
    """A stream that a person looks at."""

    def isatty(self) -> bool:
        return True


def planned(model: str, size: int) -> Event:
    return VersionPlanned(
        model=model,
        version="1",
        commit="c",
        files=1,
        fetch_files=1,
        fetch_bytes=size,
        total_bytes=size,
    )


def test_lines_go_above_the_bars_only_while_they_are_drawn() -> None:
    stream = Terminal()
    lines = Lines(stream)
    lines.mask = Mask(["s3cret"])
    with Progress(lines) as progress:
        progress(planned("m", 100))
        progress(BytesMoved(model="m", version="1", bytes=50))
        lines.write("within s3cret " + "x" * 300)
    drawn = stream.getvalue()
    assert "\x1b[" in drawn
    assert "within *** " + "x" * 300 in drawn, "a long line is not broken"
    lines.write("after")
    assert stream.getvalue() == drawn + "after\n"


def test_a_version_that_ended_has_no_bar_and_strangers_are_ignored() -> None:
    stream = Terminal()
    with Progress(Lines(stream)) as progress:
        for event in (
            planned("m", 100),
            BytesMoved(model="other", version="1", bytes=50),
            VersionUnchanged(model="other", version="1", commit="c"),
            VersionFailed(model="m", version="1", kind="k", error="e"),
            BytesMoved(model="m", version="1", bytes=50),
            planned("empty", 0),
        ):
            progress(event)
        assert [task.description for task in progress.tasks] == ["empty@1"]


def test_a_run_of_several_versions_has_a_bar_of_its_own_above_theirs() -> None:
    """What a version did not move itself, or moved twice, is taken into account at its end."""
    with Progress(Lines(Terminal())) as progress:
        progress(RunStarted(run_id="r", mode="full", versions=3))
        progress(planned("a", 100))
        progress(planned("b", 100))
        progress(BytesMoved(model="a", version="1", bytes=100))
        progress(BytesMoved(model="b", version="1", bytes=40))
        progress(VersionUnchanged(model="b", version="1", commit="c"))
        progress(VersionRefused(model="c", version="1", reasons=("no",)))
        overall, bar = progress.tasks
    assert overall.description == "2 of 3 versions"
    assert (overall.completed, overall.total) == (140, 140)
    assert (bar.description, bar.completed) == ("a@1", 100)


def test_a_run_of_one_version_has_one_bar() -> None:
    with Progress(Lines(Terminal())) as progress:
        progress(RunStarted(run_id="r", mode="full", versions=1))
        progress(planned("a", 100))
        assert [task.description for task in progress.tasks] == ["a@1"]


def start(tmp_path: Path, hub: Hub, *args: str) -> tuple[subprocess.Popen[bytes], int]:
    """Run the command with its stderr on a terminal of 120 columns; return our end of it."""
    config = tmp_path / "mirror.yaml"
    config.write_text(
        f"""
version: 1
store: {{url: "{(tmp_path / "store").as_uri()}"}}
origins: {{hf: {{type: huggingface, endpoints: ["{hub.endpoint}"]}}}}
models:
  - {{name: m, repo: org/m}}
  - {{name: gone, repo: org/gone}}
transfer: {{connections: 4, part_size: 5MiB, memory: 40MiB}}
"""
    )
    ours, theirs = pty.openpty()
    environment = Daemon(config).environment() | {"TERM": "xterm", "COLUMNS": "120"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [*COMMAND, "--config", str(config), "run-once", *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=environment,
    )
    os.close(theirs)
    return process, ours


def read_all(terminal: int, seconds: float = 60) -> str:
    """Everything that the terminal is sent until the process ends."""
    shown, deadline = b"", time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:  # EIO: the other end is closed
            break
        if not data:
            break
        shown += data
    os.close(terminal)
    return shown.decode()


def test_on_a_terminal_bars_are_drawn_and_log_lines_are_whole(tmp_path: Path) -> None:
    with Hub() as hub:
        hub.repo("org/m").commit({f"w{n}.bin": Synthetic(4 * MIB, seed=n) for n in range(4)})
        hub.rate_per_connection = 4 * MIB
        hub.faults.add(Fault("cdn", Status(503), nth=2))
        process, terminal = start(tmp_path, hub)
        shown = read_all(terminal)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert b"published" in out
    assert b"\x1b" not in out, "stdout is no terminal"
    assert re.search(r"m@main .*MiB", CONTROL.sub("", shown)), shown
    pieces = [piece.strip() for piece in re.split(r"[\r\n]+", CONTROL.sub("", shown))]
    logged = [piece for piece in pieces if re.search(r"\d{4}-\d\d-\d\dT", piece)]
    assert len(logged) >= 6
    for piece in logged:
        assert LOG_LINE.match(piece), piece
        assert "run_id=" in piece, "cut off"
        assert "m@main" not in piece.partition("run_id=")[0], "torn by a bar"
    assert any("request.retried" in piece for piece in logged)
    assert any("version.failed" in piece for piece in logged)
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor is shown again"


def test_with_json_log_lines_no_bars_are_drawn(tmp_path: Path) -> None:
    with Hub() as hub:
        hub.repo("org/m").commit({"w.bin": Synthetic(MIB)})
        process, terminal = start(tmp_path, hub, "--log-format", "json")
        shown = read_all(terminal)
        process.communicate(timeout=30)
    assert "\x1b" not in shown
    assert all(line.startswith("{") for line in shown.splitlines())
