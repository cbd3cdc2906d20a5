"""The section `log` of the YAML, systemd's journal, and what stands above what."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sync_daemon.domain import keys
from sync_daemon.engine.locks import Body
from sync_daemon.engine.owner import Owner, this_process
from tests.cli.conftest import Cli
from tests.support.daemon import COMMAND, Daemon
from tests.support.hub import Fault, Hub, Status, Synthetic
from tests.support.waiting import wait_until

MIB = 1024**2
MODEL = {"name": "m", "repo": "org/m"}


def parse(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def events(text: str) -> list[str]:
    return [line["event"] for line in parse(text)]


def configure(cli: Cli, **log: Any) -> Path:
    """Write a configuration with a log file, and return its path."""
    path = cli.folder / "sync.log"
    cli.write(MODEL, log={"file": str(path)} | log)
    return path


def test_the_file_has_the_lines_of_standard_error(cli: Cli) -> None:
    path = configure(cli)
    ran = cli("run-once", "--json", "--log-level", "debug")
    assert path.read_text() == ran.err
    assert {line["run_id"] for line in parse(ran.err)} == {ran.json["run_id"]}


def test_the_file_is_json_whatever_standard_error_is_and_is_appended_to(cli: Cli) -> None:
    path = configure(cli)
    first = cli("run-once", "--log-format", "text")
    assert "{" not in first.err
    assert "run.finished" in events(path.read_text())
    cli.write({"name": "m", "repo": "org/gone"}, log={"file": str(path)})
    assert cli("run-once", "--log-format", "text", "--version", "no").code == 2
    assert cli("run-once", "--log-format", "text").code == 1
    assert events(path.read_text()).count("run.finished") == 2
    assert "version.failed" in events(path.read_text())


def test_a_command_that_fails_says_so_in_the_file_as_well(cli: Cli) -> None:
    path = cli.folder / "sync.log"
    store = {"url": (cli.folder / "not/there").as_uri()}
    cli.write(MODEL, store=store, log={"file": str(path)})
    assert cli("run-once", "--log-format", "text").code == 3
    assert events(path.read_text())[-1] == "command.failed"


def test_verbs_that_only_look_leave_the_file_alone(cli: Cli) -> None:
    path = configure(cli)
    for verb in (("status",), ("ls",), ("config", "show"), ("config", "validate"), ("doctor",)):
        cli(*verb)
    assert not path.exists()


@pytest.mark.parametrize("verb", ["run-once", "plan", "run"])
def test_a_file_that_cannot_be_opened_is_2_and_nothing_is_touched(cli: Cli, verb: str) -> None:
    cli.write(MODEL, log={"file": str(cli.folder / "no/such/sync.log")})
    ran = cli(verb)
    assert (ran.code, ran.out) == (2, "")
    assert "error: log.file: " in ran.err
    assert "cannot be opened: No such file or directory" in ran.err
    assert "hint: its folder must exist" in ran.err
    assert not cli.store.exists()


def test_it_turns_over(cli: Cli) -> None:
    path = configure(cli, level="debug", rotate={"size": "4KiB", "keep": 2})
    for _ in range(12):
        assert cli("run-once", "--full").code == 0
    files = sorted(path.parent.glob("sync.log*"))
    assert [one.name for one in files] == ["sync.log", "sync.log.1", "sync.log.2"]
    assert all(events(one.read_text()) for one in files)


def test_levels_of_the_yaml_hold_and_the_option_stands_above_the_common_one(cli: Cli) -> None:
    configure(cli, level="error")
    assert cli("run-once", "--full").err == ""
    assert "run.started" in events(cli("run-once", "--full", "--log-level", "info").err)
    path = configure(cli, level="error", levels={"version": "debug", "run.started": "info"})
    assert events(cli("run-once").err) == ["run.started", "version.unchanged"]
    more = cli("run-once", "--log-level", "info").err
    assert set(events(more)) == {"run.started", "version.unchanged", "run.finished"}
    assert "run.finished" in path.read_text()


def test_the_journal_gets_priorities_and_nobody_else_does(cli: Cli, tmp_path: Path) -> None:
    cli.write(MODEL, {"name": "gone", "repo": "org/gone"})
    stderr = tmp_path / "journal"
    with stderr.open("w") as stream:
        found = os.fstat(stream.fileno())
        named = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        daemon = Daemon(cli.config, named)
        subprocess.run(
            [*COMMAND, "--config", str(cli.config), "run-once", "--log-level", "debug"],
            stderr=stream,
            stdout=subprocess.DEVNULL,
            env=daemon.environment(),
            check=False,
        )
    marks = {line[:3] for line in stderr.read_text().splitlines()}
    levels = {json.loads(line[3:])["level"] for line in stderr.read_text().splitlines()}
    assert marks == {"<3>", "<6>", "<7>"}
    assert levels == {"error", "info", "debug"}
    assert "<6>" not in daemon.run("run-once").err, "standard error is a pipe here"


def test_a_reload_takes_levels_and_file_over_and_a_bad_file_changes_nothing(cli: Cli) -> None:
    first = configure(cli)
    second = cli.folder / "second.log"
    quiet = {"metrics": {"listen": "off"}, "schedule": {"incremental": "off", "full": "off"}}
    cli.write(MODEL, log={"file": str(first)}, **quiet)
    with Daemon(cli.config).start("run") as process:
        try:
            wait_until(lambda: first.exists() and "run.finished" in first.read_text())
            cli.write(MODEL, log={"file": str(cli.folder / "no/such")}, **quiet)
            process.send_signal(signal.SIGHUP)
            wait_until(lambda: "config.invalid" in first.read_text())
            cli.write(MODEL, log={"file": str(second), "levels": {"daemon": "error"}}, **quiet)
            process.send_signal(signal.SIGHUP)
            wait_until(lambda: second.exists() and "config.reloaded" in second.read_text())
            (reloaded,) = [x for x in parse(second.read_text()) if x["event"] == "config.reloaded"]
            assert set(reloaded["changed"]) >= {"log.file"}
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    assert "daemon.stopped" not in second.read_text()


def test_every_line_of_a_run_names_it_and_lines_about_a_version_name_that(cli: Cli) -> None:
    """Also those of requests, endpoints and locks, whatever thread they come from."""
    with Hub() as first, Hub() as second:
        for hub in (first, second):
            hub.repo("org/a").commit({"config.json": b"{}", "w.bin": Synthetic(MIB * 11, seed=1)})
            hub.repo("org/b").commit({"config.json": b"[]"})
            hub.faults.add(Fault("api", Status(503), times=2))
            hub.faults.add(Fault("cdn", Status(503), times=2))
        urls = [first.endpoint, second.endpoint]
        cli.write(
            *({"name": name, "repo": f"org/{name}", "origin": "hf"} for name in ("a", "b", "no")),
            {"name": "t", "repo": "org/b", "origin": "hf", "versions": [{"tags": "v*"}]},
            origins={"hf": {"type": "huggingface", "endpoints": urls}},
            defaults={"origin": "hf"},
        )
        lock = cli.store / keys.lock("b@main")
        lock.parent.mkdir(parents=True)
        (cli.store / "mirror.json").write_bytes(keys.marker())
        here = this_process()
        gone = Owner(here.host, here.boot, 2**22 + 1, 5)
        lock.write_bytes(Body("x", "held", gone, "b@main").encode())
        ran = cli("run-once", "--json", "--log-level", "debug")
    lines = parse(ran.err)
    names = [line["event"] for line in lines]
    start, end = names.index("run.started"), names.index("run.finished")
    of_run = lines[start : end + 1]
    assert {line.get("run_id") for line in of_run} == {ran.json["run_id"]}
    assert {"request.retried", "endpoint.asked", "lock.taken_over"} <= set(names)
    general = ("run.", "library.message")
    nameless = [
        line
        for line in of_run
        if not line["event"].startswith(general) and not {"model", "version"} <= line.keys()
    ]
    assert nameless == []
    (taken,) = (line for line in lines if line["event"] == "lock.taken_over")
    assert (taken["model"], taken["version"]) == ("b", "main")
    stored = {line["version"] for line in lines if line["event"] == "blob.stored"}
    assert stored == {"main"}
