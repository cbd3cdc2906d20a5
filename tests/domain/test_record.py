"""Reports are read back as they were written, and whatever else lies there is no report."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from sync_daemon.domain import keys
from sync_daemon.domain.digests import CommitId
from sync_daemon.domain.names import ModelName
from sync_daemon.domain.record import parse_record
from sync_daemon.domain.report import (
    Bytes,
    EndpointTally,
    Failure,
    Files,
    MovedFile,
    RunReport,
    Selected,
    VersionReport,
)
from sync_daemon.meter import MOST_FILES, Meter

STARTED = datetime(2026, 11, 21, 5, 37, 38, tzinfo=UTC)
WHOLE = VersionReport(
    ModelName("meta/m"),
    "tags:v*",
    "failed",
    CommitId("a" * 40),
    "models/m/1/manifests/x.json",
    Files(4, 3, 1, 2),
    Bytes(40, 30, 20, 10),
    7,
    8,
    1.5,
    ("why",),
    ("look",),
    Failure("forbidden", "no", None),
    moved=(MovedFile("a b", 3, 0.5), MovedFile("c", 4, 0.25, "too_slow")),
)


def report(*versions: VersionReport) -> RunReport:
    tallies = (EndpointTally("hf", "https://hub.example", 3, 1),)
    asked = Selected(("meta/m",), ("1.0",))
    return RunReport("id", "full", STARTED, 2.0, versions, tallies, asked)


def test_a_report_comes_back_as_it_was_written() -> None:
    given = report(WHOLE)
    record = parse_record(given.to_record())
    assert record.versions == given.versions
    assert (record.endpoints, record.selected) == (given.endpoints, given.selected)
    assert (record.run_id, record.mode, record.status) == ("id", "full", "failed")
    assert (record.started, record.seconds, record.unchanged) == (STARTED, 2.0, 0)
    assert (record.fetched, record.rate) == (30, 15)


def test_what_was_unchanged_is_named_only_if_it_cost_something() -> None:
    idle = VersionReport(ModelName("a"), "1", "unchanged")
    compared = VersionReport(ModelName("b"), "1", "unchanged", bytes=Bytes(fetched=5))
    restored = VersionReport(ModelName("c"), "1", "unchanged", reasons=("2 missing blobs",))
    record = parse_record(report(idle, idle, compared, restored).to_record())
    assert [version.model for version in record.versions] == ["b", "c"]
    assert record.unchanged == 2
    assert record.count() == {"unchanged": 4}
    assert record.fetched == 5


def test_a_report_of_many_versions_names_few_files_of_each() -> None:
    files = tuple(MovedFile(f"f{n}", 1, 1.0) for n in range(100))
    versions = [VersionReport(ModelName(f"m{n}"), "1", "published", moved=files) for n in range(40)]
    record = parse_record(report(*versions).to_record())
    assert [len(one.moved) for one in record.versions] == [50] * 40
    assert len(parse_record(report(versions[0]).to_record()).versions[0].moved) == 100


@pytest.mark.parametrize(
    "change",
    [
        {"started": "yesterday"},
        {"started": "2026-11-21T05:37:38"},
        {"started": 5},
        {"seconds": -1},
        {"seconds": float("nan")},
        {"seconds": True},
        {"unchanged": 1.5},
        {"unchanged": None},
        {"run_id": 3},
        {"models": None},
        {"models": [{}]},
        {"models": [{"model": "../x", "version": "1", "status": "failed"}]},
        {"models": [{"model": "m", "version": "1", "status": "failed", "bytes": {"fetched": -1}}]},
        {"models": [{"model": "m", "version": "1", "status": "failed", "reasons": "why"}]},
        {"models": [{"model": "m", "version": "1", "status": "failed", "moved": [{}]}]},
        {"endpoints": [{}]},
        {"selected": {}},
    ],
)
def test_a_field_of_the_wrong_kind_makes_it_no_report(change: dict[str, Any]) -> None:
    document = json.loads(report(WHOLE).to_record()) | change
    with pytest.raises(ValueError, match="this is no run report"):
        parse_record(json.dumps(document).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"3", b"{}", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_report_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(ValueError, match="this is no run report"):
        parse_record(data)


def test_the_key_of_a_run_tells_its_id_and_when_it_began() -> None:
    run_id = f"{STARTED:%Y%m%dT%H%M%S}.123Z-0badcafe"
    key = keys.run(run_id, STARTED)
    assert keys.parse_run(key) == (run_id, STARTED)
    for length in range(1, len(run_id) + 1):
        prefix = keys.runs_named(run_id[:length])
        assert prefix is not None
        assert key.startswith(prefix)


@pytest.mark.parametrize(
    "key",
    [
        "runs/2026/11/21/x.json",
        "runs/2026/11/22/20261121T053738.123Z-0badcafe.json",
        "runs/2026/13/40/20261340T053738.123Z-0badcafe.json",
        "runs/2026/11/21/20261121T053738.123Z-0badcafe.json.bak",
        "runs/2026/11/21/a/20261121T053738.123Z-0badcafe.json",
        "blobs/2026/11/21/20261121T053738.123Z-0badcafe.json",
    ],
)
def test_another_key_is_that_of_no_run(key: str) -> None:
    assert keys.parse_run(key) is None


@pytest.mark.parametrize("beginning", ["", "x", "20261121T05/..", "2026-11-21", "202611211", "٣"])
def test_what_no_run_id_begins_with_is_not_looked_for(beginning: str) -> None:
    assert keys.runs_named(beginning) is None


def test_a_selection_covers_what_it_names_and_an_empty_one_everything() -> None:
    assert Selected().covers("m", "1")
    assert Selected(("m",)).covers("m", "1")
    assert not Selected(("m",)).covers("n", "1")
    assert not Selected(("m",), ("1",)).covers("m", "2")


def test_a_meter_remembers_failures_then_the_largest_files_and_not_more_than_the_most() -> None:
    meter = Meter()
    for size in range(3 * MOST_FILES):
        meter.note(f"f{size}", size, 1.0)
    meter.note("bad", 0, 1.0, "too_slow")
    found = meter.files()
    assert len(found) == MOST_FILES
    assert found[0] == ("bad", 0, 1.0, "too_slow")
    assert [size for _, size, *_ in found[1:]] == list(range(299, 200, -1))
