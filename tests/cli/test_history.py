"""history: former runs, one of them in full, and how far back it looks."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sync_daemon.domain import keys
from sync_daemon.domain.names import ModelName
from sync_daemon.domain.report import (
    Bytes,
    EndpointTally,
    Failure,
    MovedFile,
    RunReport,
    Selected,
    Status,
    VersionReport,
)
from sync_daemon.engine.browse import Browser
from sync_daemon.engine.records import (
    DAYS,
    MOST_LISTINGS,
    MOST_REPORTS,
    Filter,
    find_ids,
    find_runs,
)
from sync_daemon.engine.retry import Retry
from sync_daemon.stores.memory import MemoryStore
from tests.cli.conftest import Cli
from tests.support.fakes import FakeClock, Recorder
from tests.support.stores import CountingStore

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
DAY = timedelta(days=1)
EVERY = Filter()


def browser(store: MemoryStore) -> Browser:
    return Browser(store, Retry(1, Recorder(), FakeClock()))


def keep(store: MemoryStore, started: datetime, *versions: tuple[str, Status]) -> str:
    """Store a report of these versions, and return the id of its run."""
    run_id = f"{started:%Y%m%dT%H%M%S}.000Z-0badcafe"
    reports = tuple(VersionReport(ModelName(model), "main", status) for model, status in versions)
    report = RunReport(run_id, "incremental", started, 2.0, reports)
    store.put(keys.run(run_id, started), report.to_record())
    return run_id


def ids(cli: Cli, *argv: str) -> list[str]:
    return [one["run_id"] for one in cli("history", *argv, "--json").json["runs"]]


def write(cli: Cli, report: RunReport) -> None:
    """Put a report into the directory store, which a run has made before."""
    path = cli.store / keys.run(report.run_id, report.started)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(report.to_record())


def full(run_id: str, **changes: Any) -> RunReport:
    """A report in which everything happened."""
    published = VersionReport(
        ModelName("a"),
        "1.0",
        "published",
        bytes=Bytes(total=3_000_000, fetched=3_000_000, uploaded=3_000_000),
        seconds=3.0,
        moved=(MovedFile("w.bin", 2_000_000, 2.0), MovedFile("x.bin", 5, 0.1, "digest_mismatch")),
    )
    failed = VersionReport(
        ModelName("b"), "main", "failed", error=Failure("forbidden", "no access", "ask for it")
    )
    started = datetime.strptime(run_id[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    tally = EndpointTally("hf", "https://hub.example", 12, 3)
    given: dict[str, Any] = {"selected": Selected(("a", "b"), ()), "endpoints": (tally,)}
    return RunReport(run_id, "full", started, 4.0, (published, failed), **given | changes)


# -- the command -----------------------------------------------------------------------------


def test_a_mirror_without_runs_has_no_history_and_says_so_kindly(cli: Cli) -> None:
    ran = cli("history")
    assert (ran.code, ran.err) == (0, "")
    assert "no run is on record" in ran.out
    assert cli("history", "--json").json["runs"] == []
    assert not cli.store.exists()


def test_history_lists_runs_the_newest_first(cli: Cli) -> None:
    assert cli("run-once").code == 0
    assert cli("run-once", "--full").code == 0
    found = cli("history", "--json").json
    assert [one["mode"] for one in found["runs"]] == ["full", "incremental"]
    assert [one["versions"] for one in found["runs"]] == [
        {"failed": 0, "published": 0, "refused": 0, "unchanged": 1},
        {"failed": 0, "published": 1, "refused": 0, "unchanged": 0},
    ]
    assert found["runs"][1]["bytes"] == {"fetched": 5002, "uploaded": 5002}
    assert found["runs"][1]["rate"] > 0
    assert (found["unreadable"], found["ended"]) == ([], "oldest")
    lines = cli("history").out.splitlines()
    assert lines[0].split()[:4] == ["RUN", "STARTED", "(UTC)", "MODE"]
    assert [line.split()[0] for line in lines[1:]] == [one["run_id"] for one in found["runs"]]


def test_history_as_json_has_exactly_the_documented_fields(cli: Cli) -> None:
    cli("run-once")
    found = cli("history", "--json").json
    assert set(found) == {"store", "runs", "unreadable", "ended", "reached"}
    run = {
        "run_id",
        "mode",
        "status",
        "interrupted",
        "started",
        "seconds",
        "selected",
        "versions",
        "bytes",
        "rate",
    }
    (listed,) = found["runs"]
    assert set(listed) == run
    one = cli("history", listed["run_id"], "--json").json
    assert set(one) == run | {"store", "key", "models", "endpoints"}
    assert one["key"].endswith(f"/{listed['run_id']}.json")
    (version,) = one["models"]
    assert {"moved", "rate"} <= set(version)
    assert [set(file) for file in version["moved"]] == [
        {"path", "size", "seconds", "error", "rate"}
    ] * 2
    assert {(file["path"], file["size"]) for file in version["moved"]} == {
        ("config.json", 2),
        ("weights.bin", 5000),
    }


def test_a_run_is_shown_by_the_beginning_of_its_id(cli: Cli) -> None:
    cli("run-once")
    (run_id,) = ids(cli)
    for beginning in (run_id, run_id[:15], run_id[:8], run_id[:5], run_id[:2]):
        ran = cli("history", beginning)
        assert ran.code == 0
        assert ran.out.startswith(f"run {run_id}: ok\n")
    assert re.search(r"5000 B|4\.9 KiB", ran.out)
    assert "weights.bin" in ran.out
    assert "m@main: published at " in ran.out
    assert "selected  everything" in ran.out


def test_one_run_tells_files_rates_reasons_and_endpoints(cli: Cli) -> None:
    cli("run-once")
    write(cli, full("20260102T030405.678Z-0badcafe"))
    out = cli("history", "20260102").out
    assert "run 20260102T030405.678Z-0badcafe: partial" in out
    assert "selected  model a, model b" in out
    assert re.search(r"1\.9 MiB +2\.0 s +977 KiB/s  w\.bin", out)
    assert re.search(r"5 B +0\.1 s +digest_mismatch  x\.bin", out)
    assert "b@main: failed" in out
    assert "  no access\n  hint: ask for it" in out
    assert re.search(r"hf +https://hub\.example +12 +3", out)
    version = cli("history", "20260102", "--json").json["models"][0]
    assert version["rate"] == 1_000_000
    assert [file["rate"] for file in version["moved"]] == [1_000_000, None]


def test_what_was_asked_for_by_name_is_kept(cli: Cli) -> None:
    cli("run-once", "--model", "m", "--version", "main")
    assert cli("history", "--json").json["runs"][0]["selected"] == {
        "models": ["m"],
        "versions": ["main"],
    }
    assert "selected  model m, version main" in cli("history", ids(cli)[0]).out


def test_runs_are_chosen_by_model_and_status(cli: Cli) -> None:
    cli("run-once")
    cli.write({"name": "m", "repo": "org/m"}, {"name": "gone", "repo": "org/gone"})
    assert cli("run-once").code == 1
    second, first = ids(cli)
    assert ids(cli, "--model", "gone") == [second]
    assert ids(cli, "--model", "m") == [first]
    assert ids(cli, "--model", "m", "--model", "gone") == [second, first]
    assert ids(cli, "--status", "failed") == ids(cli, "--status", "partial") == [second]
    assert ids(cli, "--status", "published") == ids(cli, "--status", "ok") == [first]
    assert ids(cli, "--model", "gone", "--status", "published") == []
    assert ids(cli, "--limit", "1") == [second]
    assert "--limit shows more" in cli("history", "--limit", "1").out
    assert "no run on record is like that" in cli("history", "--model", "other").out


def test_since_takes_a_duration_or_a_date(cli: Cli) -> None:
    cli("run-once")
    old = full("20260102T030405.678Z-0badcafe")
    write(cli, old)
    new = ids(cli, "--since", "7d")
    assert len(new) == 1
    assert ids(cli, "--since", "2026-01-03") == new
    assert ids(cli, "--since", "2026-01-02") == [*new, old.run_id]
    assert ids(cli, "--since", "2026-01-02T03:04:06") == new
    assert ids(cli, "--since", "2999-01-01") == []


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("20200101",), "no run 20200101 is on record"),
        (("nonsense",), "no run nonsense is on record"),
        (("../../mirror",), "no run ../../mirror is on record"),
        (("",), "no run  is on record"),
        (("2026", "--model", "m"), "goes with no --model"),
        (("--since", "soon"), "no duration and no date"),
        (("--limit", "0"), "no number of runs"),
        (("--limit", "many"), "no number of runs"),
        (("--model", "a b"), "model name"),
        (("--status", "green"), "invalid choice"),
    ],
)
def test_what_cannot_be_meant_is_a_mistake_of_usage(
    cli: Cli, argv: tuple[str, ...], told: str
) -> None:
    cli("run-once")
    ran = cli("--log-format", "text", "history", *argv)
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err


def test_a_beginning_that_several_runs_share_names_them(cli: Cli) -> None:
    cli("run-once")
    runs = [full(f"20260102T03040{n}.000Z-0000000{n}") for n in range(3)]
    for report in runs:
        write(cli, report)
    ran = cli("history", "20260102T0304")
    assert ran.code == 2
    assert all(report.run_id in ran.err for report in runs)
    assert cli("history", "20260102T030401").code == 0


def test_the_end_of_an_id_is_enough_where_no_other_run_ends_so(cli: Cli) -> None:
    cli("run-once")
    for run_id in ("20260102T030405.000Z-63c0ffee", "20260102T030406.000Z-11c0ffee"):
        write(cli, full(run_id))
    assert cli("history", "63c0ffee", "--json").json["run_id"].endswith("63c0ffee")
    assert "20260102T030406" in cli("history", "1c0ffee").out
    ran = cli("history", "c0ffee")
    assert ran.code == 2
    assert "is the end of several runs" in ran.err
    assert "20260102T030405.000Z-63c0ffee" in ran.err
    assert "20260102T030406.000Z-11c0ffee" in ran.err
    assert cli("history", "fee").code == 2, "too short to mean a run"


def test_the_beginning_of_an_id_goes_before_the_end_of_another(cli: Cli) -> None:
    cli("run-once")
    write(cli, full("20260102T030405.000Z-20260103"))
    write(cli, full("20260103T030405.000Z-63c0ffee"))
    assert cli("history", "20260103", "--json").json["run_id"].endswith("63c0ffee")


def test_what_is_no_report_is_told_and_passed_over(cli: Cli) -> None:
    cli("run-once")
    good = full("20260102T030405.678Z-0badcafe")
    write(cli, good)
    folder = (cli.store / keys.run(good.run_id, good.started)).parent
    (folder / "notes.txt").write_text("mine")
    (folder / "20260102T010101.000Z-00000001.json").write_text("{")
    (folder / "20260102T010102.000Z-00000002.json").write_bytes(good.to_record())
    found = cli("history", "--json").json
    assert good.run_id in [one["run_id"] for one in found["runs"]]
    assert len(found["runs"]) == 2
    assert [problem.partition(": ")[0].rpartition("/")[2] for problem in found["unreadable"]] == [
        "notes.txt",
        "20260102T010102.000Z-00000002.json",
        "20260102T010101.000Z-00000001.json",
    ]
    assert cli("history").out.count("passed over: ") == 3
    assert cli("history", "20260102T010101").code == 3


def test_a_report_of_an_older_release_is_shown(cli: Cli) -> None:
    cli("run-once")
    new = json.loads(full("20260102T030405.678Z-0badcafe").to_record())
    for field in ("selected", "endpoints"):
        del new[field]
    for version in new["models"]:
        for field in ("moved", "warnings"):
            del version[field]
    path = cli.store / "runs/2026/01/02/20260102T030405.678Z-0badcafe.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(new | {"of a newer one": 1}))
    assert "selected  not recorded" in cli("history", "20260102").out
    assert len(ids(cli)) == 2


def test_a_store_that_cannot_be_used_is_exit_3(cli: Cli) -> None:
    cli.write(store={"url": (cli.folder / "no" / "such").as_uri()})
    assert cli("history").code == 3
    assert cli("history", "20260102").code == 3


def test_status_knows_what_a_run_of_a_part_did_not_look_at(cli: Cli) -> None:
    """What was selected and is not named was unchanged; the rest is not known."""
    cli.put("org/n", {"config.json": b"{}"})
    cli.write({"name": "m", "repo": "org/m"}, {"name": "n", "repo": "org/n"})
    cli("run-once")
    cli("run-once", "--model", "n")
    found = {one["model"]: one["last"] for one in cli("status", "--json").json["versions"]}
    assert found["n"]["status"] == "unchanged"
    assert found["m"] is None


# -- how far it looks ------------------------------------------------------------------------


def test_recent_runs_are_found_without_listing_the_years_before() -> None:
    store = CountingStore()
    for back in range(400):
        keep(store, NOW - back * DAY, ("m", "published"))
    found = find_runs(browser(store), EVERY, 3, NOW)
    assert [run.started for run in found.runs] == [NOW - n * DAY for n in range(3)]
    assert found.ended == "limit"
    days = [prefix for prefix in store.listed if prefix != "runs/"]
    assert len(days) <= DAYS + 1
    assert all(prefix.startswith("runs/2026/11/") for prefix in days)
    assert len(store.got) <= 9


def test_after_a_week_whole_months_are_listed_and_the_oldest_report_ends_it() -> None:
    store = CountingStore()
    starts = [NOW - DAY * n for n in (0, 1, 9, 12, 60, 200)]
    for started in starts:
        keep(store, started, ("m", "published"))
    found = find_runs(browser(store), EVERY, 20, NOW)
    assert [run.started for run in found.runs] == starts
    assert found.ended == "oldest"
    assert store.listed[-1] == "runs/2026/05/"
    assert len(store.listed) == 1 + (DAYS + 1) + 7


def test_an_empty_history_costs_one_request() -> None:
    store = CountingStore()
    assert find_runs(browser(store), EVERY, 20, NOW).runs == ()
    assert store.listed == ["runs/"]


def test_a_rare_status_is_looked_for_within_a_bound_that_is_told() -> None:
    store = CountingStore()
    for minutes in range(MOST_REPORTS + 5):
        keep(store, NOW - timedelta(minutes=minutes), ("m", "published"))
    found = find_runs(browser(store), Filter(statuses=frozenset({"refused"})), 20, NOW)
    assert (found.runs, found.ended) == ((), "reports")
    assert len(store.got) == MOST_REPORTS
    assert found.reached == NOW - timedelta(minutes=MOST_REPORTS - 1)


def test_listings_are_bounded_where_runs_are_rare() -> None:
    store = CountingStore()
    keep(store, NOW - 3000 * DAY, ("m", "published"))
    found = find_runs(browser(store), EVERY, 20, NOW)
    assert (found.runs, found.ended) == ((), "listings")
    assert len(store.listed) == 1 + MOST_LISTINGS


def test_a_host_that_is_ahead_is_seen_and_since_keeps_older_days_unlisted() -> None:
    store = CountingStore()
    ahead = keep(store, NOW + timedelta(hours=20), ("m", "published"))
    keep(store, NOW - 5 * DAY, ("m", "published"))
    found = find_runs(browser(store), Filter(since=NOW - DAY), 20, NOW)
    assert [run.run_id for run in found.runs] == [ahead]
    assert store.listed == ["runs/", *(f"runs/2026/11/{day}/" for day in (22, 21, 20))]


def test_ids_are_found_by_one_short_listing() -> None:
    store = CountingStore()
    run_id = keep(store, NOW, ("m", "published"))
    for beginning in ("2026", "202611", "20261121", run_id[:18], run_id):
        store.listed.clear()
        assert find_ids(browser(store), beginning, 2) == (keys.run(run_id, NOW),)
        assert len(store.listed) == 1
    assert find_ids(browser(store), "x", 2) == ()


@pytest.mark.parametrize("status", ["skipped", "interrupted"])
def test_a_run_that_was_not_ok_tells_why_in_its_line(cli: Cli, status: Status) -> None:
    """Neither fails nor publishes anything: all other numbers are 0."""
    assert cli("run-once").code == 0
    started = datetime.now(UTC)
    run_id = f"{started:%Y%m%dT%H%M%S}.000Z-0badcafe"
    locked = Failure("locked_elsewhere", "somebody works on it", None)
    one = VersionReport(ModelName("a"), "1", status, error=locked)
    write(cli, RunReport(run_id, "full", started, 1.0, (one,)))
    heading, *lines = cli("history").out.splitlines()
    (line,) = (line for line in lines if line.startswith(run_id))
    word = line[heading.index("STATUS") :].split()[0]
    skipped = line[: heading.index("SKIPPED") + len("SKIPPED")].split()[-1]
    expected = {"skipped": ("partial", "1"), "interrupted": ("interrupted", "0")}
    assert (word, skipped) == expected[status]
