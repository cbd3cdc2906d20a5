"""What the help shows, and what it is shown without."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sync_daemon.cli.main import main
from sync_daemon.cli.verbs import GROUPS, VERBS

TELL = """
import sys
from sync_daemon.cli.start import main
code = main()
print(code, *sys.modules)
"""
HEAVY = {
    "importlib.metadata",
    "pydantic",
    "ssl",
    "sync_daemon.config",
    "sync_daemon.engine",
    "yaml",
}


@pytest.mark.parametrize("argv", [["--version"], ["--help"], ["store", "--help"], []], ids=" ".join)
def test_what_names_no_command_loads_none(argv: list[str]) -> None:
    command = [sys.executable, "-c", TELL, *argv]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    _, *loaded = done.stdout.splitlines()[-1].split()
    assert "sync_daemon.cli.verbs" in loaded
    assert not HEAVY & set(loaded)
    modules = {f"sync_daemon.cli.{verb.module}" for verb in VERBS.values()}
    assert not modules & set(loaded)


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    alone = {name: verb.summary for name, verb in VERBS.items() if " " not in name}
    for name, summary in (alone | dict(GROUPS)).items():
        assert f" {name} {summary}" in shown


@pytest.mark.parametrize("group", GROUPS)
def test_the_help_of_a_group_names_its_commands(
    group: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([group, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name, verb in VERBS.items():
        first, _, last = name.partition(" ")
        assert (f" {last} {verb.summary}" in shown) == (first == group and bool(last))


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("run", "0 ended by a signal; what is unfinished goes on at the next start"),
        ("plan", "0 all as declared"),
        ("plan", "-v, --files name the files, do not only count them"),
        ("show", "-v, --files name the files, do not only count them"),
    ],
)
def test_the_help_of_a_verb_says(verb: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert said in " ".join(capsys.readouterr().out.split())
