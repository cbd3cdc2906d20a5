"""Tags in version order, and reports that say what happened in one exit code."""

from datetime import UTC, datetime

import pytest

from sync_daemon.domain.names import ModelName
from sync_daemon.domain.report import Failure, RunReport, Status, VersionReport
from sync_daemon.domain.versions import newest_tags


def test_the_newest_tags_come_first_and_pre_releases_last() -> None:
    tags = ["v1.9", "v1.10", "v2.0-rc1", "v1.2", "other", "vnext"]
    assert newest_tags(tags, "v*", None) == ("v1.10", "v1.9", "v1.2", "v2.0-rc1", "vnext")
    assert newest_tags(tags, "v*", 2) == ("v1.10", "v1.9")


def test_a_tag_with_a_slash_is_ordered_by_its_last_part() -> None:
    assert newest_tags(["r/v1", "r/v10", "r/v9"], "r/*", 2) == ("r/v10", "r/v9")


def run(*outcomes: tuple[Status, str | None]) -> RunReport:
    versions = tuple(
        VersionReport(ModelName("m"), str(n), status, error=Failure(kind, "x") if kind else None)
        for n, (status, kind) in enumerate(outcomes)
    )
    return RunReport("id", "incremental", datetime(2026, 1, 1, tzinfo=UTC), 1.0, versions)


@pytest.mark.parametrize(
    ("outcomes", "status", "code"),
    [
        ([("published", None), ("unchanged", None)], "ok", 0),
        ([("planned", None)], "ok", 0),
        ([("held", None)], "ok", 0),
        ([], "ok", 0),
        ([("published", None), ("failed", "repository_not_found")], "partial", 1),
        ([("refused", None)], "failed", 1),
        ([("failed", "origin_unavailable")], "failed", 3),
        ([("failed", "store_unavailable"), ("failed", "origin_unavailable")], "failed", 3),
        ([("failed", "origin_unavailable"), ("unchanged", None)], "partial", 1),
        ([("skipped", "locked_elsewhere")], "partial", 5),
        ([("skipped", "deferred")], "ok", 0),
        ([("interrupted", "interrupted")], "partial", 130),
        ([("interrupted", "interrupted"), ("failed", "origin_unavailable")], "partial", 130),
        ([("skipped", "locked_elsewhere"), ("unchanged", None)], "ok", 0),
        ([("interrupted", "interrupted"), ("published", None)], "partial", 130),
    ],
)
def test_a_run_ends_in_the_exit_code_of_the_contract(
    outcomes: list[tuple[Status, str | None]], status: str, code: int
) -> None:
    report = run(*outcomes)
    assert (report.status, report.exit_code) == (status, code)


def test_the_stored_record_counts_what_did_not_change() -> None:
    record = run(("unchanged", None), ("unchanged", None), ("published", None)).to_record()
    assert b'"unchanged": 2' in record
    assert record.count(b'"model"') == 1
