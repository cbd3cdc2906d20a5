"""Two Hubs as one origin, through run after run: what one run counts, the next ones know.

Every run has objects of its own, as a new process would: only the store is shared.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sync_daemon import bootstrap
from sync_daemon.config.load import load
from sync_daemon.domain.report import RunReport
from sync_daemon.engine.tools import How
from tests.support.fakes import Recorder
from tests.support.hub import Corrupt, Fault, Hub, Status, Synthetic
from tests.support.rehash import Folder, rehash

FILES: dict[str, Any] = {
    "config.json": b"{}",
    "model.safetensors": Synthetic(11 * 1024**2 + 3, seed=5),
}


@dataclass
class Pair:
    """Two Hubs with the same repository, and a store."""

    first: Hub
    second: Hub
    root: Path
    alerts: dict[str, Any] = field(default_factory=dict)

    def run(self, *endpoints: object) -> tuple[RunReport, Recorder]:
        """Run in new objects; return the report and what was told."""
        places = endpoints or (self.first.endpoint, self.second.endpoint)
        document = {
            "version": 1,
            "store": {"url": f"file://{self.root}"},
            "origins": {"hf": {"type": "huggingface", "endpoints": list(places)}},
            "transfer": {"part_size": "5MiB", "memory": "40MiB"},
            "models": [{"name": "m", "repo": "org/m"}],
            "alerts": self.alerts,
        }
        settings, told = load(json.dumps(document).encode(), environ={}), Recorder()
        with bootstrap.engine(settings, told, threading.Event()) as engine:
            return engine.run(bootstrap.entries(settings), How()), told

    def stored(self) -> list[dict[str, Any]]:
        """What the reports in the store say of endpoints, the oldest first."""
        found = sorted((self.root / "runs").rglob("*.json"))
        return [json.loads(one.read_bytes())["endpoints"] for one in found]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    root = tmp_path / "store"
    root.mkdir()
    with Hub() as first, Hub() as second:
        for hub in (first, second):
            hub.repo("org/m").commit(FILES, lfs=["*.safetensors"])
        yield Pair(first, second, root)


def switches(told: Recorder) -> list[str]:
    return [event.fields()["reason"] for event in told.named("endpoint.switched")]


def test_an_endpoint_that_failed_too_often_in_former_runs_is_not_the_first_any_more(
    pair: Pair,
) -> None:
    assert pair.run()[0].status == "ok"
    healthy = pair.stored()[0][0]["requests"]
    pair.first.faults.add(Fault("api", Status(503), times=None))
    runs = 0
    while (runs + healthy) < 20 or runs <= 0.2 * (runs + healthy):
        report, told = pair.run()
        runs += 1
        assert report.status == "ok"
        assert switches(told)[0].startswith("resting after: ")
    pair.first.faults.clear()
    pair.first.clear()
    report, told = pair.run()
    assert report.status == "ok"
    assert switches(told) == [f"{runs} of {runs + healthy} requests failed within a day"]
    assert pair.first.requests == [], "although it is well now"
    (tally,) = report.endpoints
    assert (tally.endpoint, tally.failures) == (pair.second.endpoint, 0)


def test_the_rule_can_be_switched_off_and_has_its_own_window_and_share(pair: Pair) -> None:
    pair.alerts = {"failure_rate": {"above": "20%", "within": "1d", "switch": False}}
    pair.first.faults.add(Fault("api", Status(503), times=None))
    for _ in range(22):
        pair.run()
    pair.first.faults.clear()
    report, told = pair.run()
    assert switches(told) == []
    assert report.endpoints[0].endpoint == pair.first.endpoint
    pair.alerts = {"failure_rate": {"above": "99%", "within": "2h"}}
    assert pair.run()[0].endpoints[0].endpoint == pair.first.endpoint
    pair.alerts = {"failure_rate": {"above": "50%", "within": "2h"}}
    report, told = pair.run()
    assert report.endpoints[0].endpoint == pair.second.endpoint
    assert switches(told)[0].endswith("requests failed within 2 h")


def test_what_is_counted_of_an_only_endpoint_is_kept_too(pair: Pair) -> None:
    pair.run(pair.first.endpoint)
    report, _ = pair.run(pair.first.endpoint)
    (tally,) = report.endpoints
    assert (tally.origin, tally.endpoint, tally.failures) == ("hf", pair.first.endpoint, 0)
    assert tally.requests == pair.first.count("refs") - 1


def test_a_file_with_wrong_bytes_comes_from_the_other_endpoint_the_second_time(
    pair: Pair,
) -> None:
    pair.first.faults.add(Fault("cdn", Corrupt(), times=None))
    report, told = pair.run()
    assert report.status == "ok"
    (restart,) = told.named("blob.restarted")
    assert restart.fields()["kind"] == "digest_mismatch"
    assert pair.second.count("cdn") >= 3
    assert rehash(Folder(pair.root))["m@main"].files.keys() == FILES.keys()


def test_endpoints_of_equal_priority_are_both_measured(pair: Pair) -> None:
    places = [{"url": hub.endpoint, "priority": 1} for hub in (pair.first, pair.second)]
    assert pair.run(*places)[0].status == "ok"
    assert pair.first.requests
    assert pair.second.requests


def test_the_lower_priority_number_is_asked_first(pair: Pair) -> None:
    places = [
        {"url": pair.first.endpoint, "priority": 9},
        {"url": pair.second.endpoint, "priority": 3},
    ]
    assert pair.run(*places)[0].status == "ok"
    assert pair.first.requests == []
