"""The units do what docs/daemon.md says of them, judged by systemd's own tools."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sync_daemon.daemon.service import LAST_MOMENTS, RELEASE

UNITS = Path(__file__).parents[1] / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
COMMAND = "/opt/sync-daemon/bin/sync-daemon"
MOST_EXPOSED = 2.0


def tool(name: str) -> str:
    """A tool of systemd; where CI asks for it, it has to be there."""
    found = shutil.which(name)
    if found is None and os.environ.get("SYNC_DAEMON_REQUIRE_SYSTEMD") == "1":
        pytest.fail(f"there is no {name}, but SYNC_DAEMON_REQUIRE_SYSTEMD=1 asks for it")
    if found is None:
        pytest.skip(f"there is no {name}")
    return found


def call(*command: str) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_hardened(name: str) -> None:
    said = call(tool("systemd-analyze"), "security", "--offline=yes", str(UNITS / name))
    (score,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert float(score) <= MOST_EXPOSED


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    """The command's path is put in place of the one of an installed copy."""
    analyze, there = tool("systemd-analyze"), shutil.which("true") or "/bin/true"
    for path in [*UNITS.glob("*.service"), *UNITS.glob("*.timer")]:
        text = path.read_text()
        (tmp_path / path.name).write_text(text.replace(COMMAND, there))
    said = call(analyze, "verify", *map(str, sorted(tmp_path.iterdir())))
    assert "sync-daemon" not in said


def test_the_user_of_the_units_is_the_one_that_is_made() -> None:
    conf = UNITS / "sysusers.d/sync-daemon.conf"
    said = call(tool("systemd-sysusers"), "--dry-run", "--root=/nowhere", str(conf))
    assert "sync-daemon" in said
    for name in SERVICES:
        assert "\nUser=sync-daemon\n" in (UNITS / name).read_text()


def test_the_daemon_has_time_to_end_before_systemd_kills_it() -> None:
    """`TimeoutStopSec` is longer than the daemon takes at most, with a margin."""
    text = (UNITS / "sync-daemon.service").read_text()
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    assert int(seconds) >= 2 * (LAST_MOMENTS + RELEASE)
