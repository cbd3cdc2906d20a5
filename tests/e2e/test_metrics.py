"""Metrics of real runs from every kind of origin: what moved, how often was asked, how long."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sync_daemon import bootstrap
from sync_daemon.config import Settings
from sync_daemon.config.load import load
from sync_daemon.daemon.room import Room
from sync_daemon.domain.report import RunReport
from sync_daemon.engine.tools import How
from sync_daemon.observers.fanout import Fanout
from sync_daemon.observers.metrics import Metrics
from tests.support.hub import Fault, Hub, Status
from tests.support.webroot import WebRoot, page

SIZES = {"hub": 300_000, "web": 200_000, "folder": 100_000}


class Mirror:
    """Three models of three kinds of origin, a store, and metrics that listen."""

    def __init__(self, hub: Hub, web: WebRoot, folder: Path) -> None:
        self.hub, self.web = hub, web
        hub.repo("org/m").commit({"weights.bin": bytes(SIZES["hub"])}, lfs=["*.bin"])
        web.pages["/m/weights.bin"] = page(bytes(SIZES["web"]))
        (folder / "origin/m").mkdir(parents=True)
        (folder / "origin/m/weights.bin").write_bytes(bytes(SIZES["folder"]))
        (folder / "store").mkdir()
        self.places = {"hub": hub.endpoint, "web": web.url, "folder": str(folder / "origin")}
        document: dict[str, Any] = {
            "version": 1,
            "store": {"url": f"file://{folder / 'store'}"},
            "origins": {
                "hub": {"type": "huggingface", "endpoints": [hub.endpoint + "/"]},
                "web": {"type": "http", "url": web.url},
                "folder": {"type": "directory", "path": self.places["folder"]},
            },
            "transfer": {"attempts": 1},
            "models": [
                {"name": "of-hub", "origin": "hub", "repo": "org/m"},
                {
                    "name": "of-web",
                    "origin": "web",
                    "repo": "m",
                    "files": [{"path": "weights.bin"}],
                },
                {"name": "of-folder", "origin": "folder", "repo": "m"},
            ],
        }
        self.settings: Settings = load(json.dumps(document).encode(), environ={})
        self.metrics = Metrics(bootstrap.declared(self.settings))

    def run(self) -> RunReport:
        emit = Fanout([self.metrics], pytest.fail)
        with bootstrap.engine(self.settings, emit, threading.Event()) as engine:
            report = engine.run(bootstrap.entries(self.settings), How())
            Room(engine.clock.monotonic).tell(engine.vault.store, emit)
            return report

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"sync_daemon_{name}", labels)


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    with ExitStack() as stack:
        yield Mirror(stack.enter_context(Hub()), stack.enter_context(WebRoot()), tmp_path)


@pytest.mark.parametrize("origin", SIZES)
def test_a_run_moves_the_metrics_of_its_origin(mirror: Mirror, origin: str) -> None:
    report = mirror.run()
    assert report.status == "ok"
    model, place = f"of-{origin}", mirror.places[origin]
    fetched = sum(one.bytes.fetched for one in report.versions if one.model == model)
    moved = mirror.value("transfer_bytes_total", origin=origin, model=model)
    assert moved == fetched >= SIZES[origin]
    assert mirror.value("blobs_total", origin=origin, result="stored") == 1
    assert mirror.value("transfer_seconds_count", origin=origin) == 1
    assert mirror.value("success_ratio", origin=origin) == 1.0
    assert mirror.value("origin_up", origin=origin) == 1.0
    asked = mirror.value("origin_requests_total", origin=origin, endpoint=place, result="ok")
    assert asked is not None
    assert asked >= 2, "the listing and the file"
    rtt = mirror.value("origin_rtt_seconds", endpoint=place)
    assert rtt is not None
    assert 0 <= rtt < 10
    state = {"model": model, "version": "main", "state": "published"}
    assert mirror.value("version_state", **state) == 1.0


def test_a_run_counts_itself_its_requests_and_the_room_of_the_store(mirror: Mirror) -> None:
    report = mirror.run()
    mirror.run()
    assert mirror.value("runs_total", status="ok") == 2
    assert mirror.value("runs_active") == 0
    assert mirror.value("versions_total", status="published") == 3
    assert mirror.value("versions_total", status="unchanged") == 3
    spent = sum(one.store_requests for one in report.versions)
    counted = mirror.value("requests_total", side="store")
    assert counted is not None
    assert counted > spent > 0
    free = mirror.value("store_bytes", kind="free")
    assert free is not None
    assert free > 0


def test_origins_that_fail_are_down_and_lower_their_share(mirror: Mirror) -> None:
    mirror.run()
    mirror.hub.faults.add(Fault("api", Status(503), times=None))
    mirror.web.pages["/m/weights.bin"].status = 503
    assert mirror.run().status == "partial"
    for origin in ("hub", "web"):
        assert mirror.value("origin_up", origin=origin) == 0.0
        share = mirror.value("success_ratio", origin=origin)
        assert share is not None
        assert 0 < share < 1
        state = {"model": f"of-{origin}", "version": "main", "state": "failed"}
        assert mirror.value("version_state", **state) == 1.0
    assert mirror.value("success_ratio", origin="folder") == 1.0
    assert mirror.value("versions_total", status="failed") == 2
