"""What an operator sees of a day, in seconds: the same that `make demo-daemon` shows by minutes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from tests.support.demonstration import BIG, MIB, Demonstration
from tests.support.running import WITHIN


def test_runs_reloads_an_end_in_mid_transfer_and_its_resumption_are_seen(tmp_path: Path) -> None:
    """By `status`, by `history` and by the metrics."""
    transcript: list[str] = []
    seen = Demonstration(tmp_path, "2s", transcript.append).show()
    assert [moment.second % 2 for moment in seen.began] == [0, 0], "of the clock, not of the start"
    assert all(after > before for before, after in pairwise(seen.began))
    assert (seen.code, seen.seconds_to_end < WITHIN) == (0, True)
    assert seen.resumed >= 10 * MIB
    assert seen.fetched <= BIG - seen.resumed + 2

    statuses = [run["status"] for run in reversed(seen.history)]
    assert statuses.count("ok") >= 4
    assert statuses.count("partial") == 1
    ended = {one["model"]: one["status"] for one in seen.broken_off["models"]}
    assert ended["m"] == "interrupted"
    first, bad, last = seen.metrics
    assert first['sync_daemon_runs_total{status="ok"}'] >= 3
    assert (first["sync_daemon_config_valid"], bad["sync_daemon_config_valid"]) == (1.0, 0.0)
    assert bad['sync_daemon_versions_total{status="published"}'] == 4, "three of m, one of n"
    assert last["sync_daemon_config_valid"] == 1.0
    moved = last['sync_daemon_transfer_bytes_total{model="m",origin="hf"}']
    assert moved == seen.fetched
    published = {one["model"]: one["state"] for one in seen.status["versions"]}
    assert published == {"m": "published", "n": "published"}
    assert seen.status["next_runs"][0]["job"] == "incremental"
    assert any("modles" in line for line in transcript), "what is wrong is named"
