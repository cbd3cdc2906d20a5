"""`plan` and `--dry-run`: the same value, written nowhere."""

import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from sync_daemon.cli.output import Output
from sync_daemon.cli.reporting import show_plans
from sync_daemon.domain.listing import RemoteFile
from sync_daemon.domain.names import ModelName, RepoPath
from sync_daemon.domain.plan import Cost, Plan, PlannedFile
from sync_daemon.domain.report import RunReport, VersionReport
from tests.cli.conftest import Cli
from tests.support.daemon import Ran
from tests.support.webroot import WebRoot, page

PLAN = {"added", "changed", "removed", "reused", "fetch", "bytes", "requests", "tree"}


def change(cli: Cli) -> None:
    """Publish, then add a file, change one and remove one."""
    cli.put("org/m", {"old.txt": b"old"})
    assert cli("run-once").code == 0
    cli.put("org/m", {"config.json": b'{"new": 1}', "more.bin": b"m" * 2048})
    (cli.folder / "disk/org/m/old.txt").unlink()


def steady(ran: Ran) -> dict[str, Any]:
    """The report without what differs from run to run."""
    document: dict[str, Any] = ran.json
    for field in ("run_id", "started", "seconds", "free_bytes"):
        del document[field]
    for model in document["models"]:
        del model["seconds"]
    return document


def test_plan_and_dry_run_print_the_same_and_write_nothing(cli: Cli) -> None:
    change(cli)
    before = cli.snapshot()
    planned, dry = cli("plan", "--json"), cli("run-once", "--dry-run", "--json")
    assert (planned.code, dry.code) == (0, 0)
    assert steady(planned) == steady(dry)
    assert cli.snapshot() == before
    assert '"run.' not in planned.err + dry.err, "a plan is no run"


def test_before_the_first_run_even_the_directory_is_not_made(cli: Cli) -> None:
    ran = cli("plan", "--json")
    assert ran.code == 0
    assert ran.versions()["m@main"]["status"] == "planned"
    assert not cli.store.exists()


def test_what_was_planned_is_what_is_fetched(cli: Cli) -> None:
    change(cli)
    planned = cli("plan", "--json").versions()["m@main"]
    assert set(planned["plan"]) == PLAN
    assert planned["plan"]["added"] == ["more.bin"]
    assert planned["plan"]["removed"] == ["old.txt"]
    assert "config.json" in planned["plan"]["changed"]
    assert set(planned["plan"]["bytes"]) == {"total", "fetch", "reused", "staged"}
    done = cli("run-once", "--json").versions()["m@main"]
    assert done["bytes"]["fetched"] == planned["plan"]["bytes"]["fetch"]


def test_the_free_space_is_told_where_the_store_knows_it(cli: Cli) -> None:
    assert cli("plan", "--json").json["free_bytes"] is None, "there is no directory yet"
    assert "free in the store" not in cli("plan").out
    cli("run-once")
    assert cli("plan", "--json").json["free_bytes"] > 0
    assert cli("plan").out.splitlines()[-1].startswith("free in the store: ")


def test_a_plan_that_does_not_fit_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    file = RemoteFile(RepoPath("w.bin"), 100)
    plan = Plan((PlannedFile(file, None),), (file.path,), (), (), Cost(1, 1))
    version = VersionReport(ModelName("m"), "1", "planned", plan=plan)
    report = RunReport("r", "full", datetime.now(UTC), 0.1, (version,))
    for free, fits in ((100, True), (99, False)):
        show_plans(report, Output(sys.stdout), files=False, free=free)
        assert ("would not fit" in capsys.readouterr().out) is not fits


def test_people_see_counts_exact_bytes_and_requests(cli: Cli) -> None:
    out = cli("plan").out
    assert "m@main: planned at " in out
    assert "  + 2 files added" in out
    assert "reused" not in out, "nothing is"
    assert "  fetch 4.9 KiB (5,002 bytes) of 4.9 KiB (5,002 bytes)" in out
    assert "to the origin" in out
    assert out.splitlines()[-1].startswith("1 version: 1 to sync, 0 with problems;")
    assert "weights.bin" not in out


@pytest.mark.parametrize("option", ["--files", "-v"])
def test_every_file_is_named_when_asked(cli: Cli, option: str) -> None:
    change(cli)
    lines = cli("plan", option).out.splitlines()
    assert "      + more.bin" in lines
    assert "      ~ config.json" in lines
    assert "      - old.txt" in lines


def test_a_plan_of_something_that_would_fail_is_1(cli: Cli) -> None:
    cli.write({"name": "m", "repo": "org/m"}, {"name": "gone", "repo": "org/gone"})
    ran = cli("plan")
    assert ran.code == 1
    assert "gone@main: failed" in ran.out
    assert "1 to sync, 1 with problems" in ran.out


def test_a_plan_with_nothing_to_do_is_0(cli: Cli) -> None:
    assert cli("run-once").code == 0
    before = cli.snapshot()
    ran = cli("plan")
    assert ran.code == 0
    assert "m@main: unchanged" in ran.out
    assert cli("plan", "--full").code == 0
    assert cli.snapshot() == before


def test_a_state_of_a_directory_is_a_pin_until_it_is_gone(cli: Cli) -> None:
    """Running again never brings back what lay there, so that is no advice."""
    commit = cli("plan", "--json").versions()["m@main"]["commit"]
    pin = {"name": "m", "repo": "org/m", "versions": [{"name": "v", "revision": commit}]}
    cli.write(pin)
    assert cli("plan").code == 0
    cli.put("org/m", {"new.txt": b"new"})
    ran = cli("plan")
    assert ran.code == 1
    assert f"is not at {commit}" in ran.out
    assert "hint: if the YAML pins it, remove `revision`, for it is gone" in ran.out


def test_a_state_of_a_web_server_is_a_pin_until_it_is_gone(cli: Cli) -> None:
    with WebRoot({"/m/x.bin": page(b"old")}) as web:
        model: dict[str, Any] = {"name": "m", "repo": "m", "files": [{"path": "x.bin"}]}
        origins = {"web": {"type": "http", "url": web.url}}
        cli.write(model, origins=origins, defaults={})
        commit = cli("plan", "--json").versions()["m@main"]["commit"]
        versions = [{"name": "v", "revision": commit}]
        cli.write(model | {"versions": versions}, origins=origins, defaults={})
        assert cli("plan").code == 0
        web.pages["/m/x.bin"] = page(b"new")
        ran = cli("plan")
    assert ran.code == 1
    assert "hint: if the YAML pins it, remove `revision`, for it is gone" in ran.out
