"""What runs did is read back from a real store, and goes from it by age."""

import time

from tests.e2e.conftest import Mirror
from tests.support.hub import Hub, Synthetic


def test_runs_are_listed_shown_and_removed_by_age(mirror: Mirror, hub: Hub) -> None:
    """Two runs, one of which fails for one model; then a full one that removes both reports."""
    hub.repo("org/m").commit({"config.json": b"{}", "w.bin": Synthetic(300_000, seed=1)})
    good, bad = {"name": "m", "repo": "org/m"}, {"name": "gone", "repo": "org/gone"}
    mirror.write(good, retention={"reports": "1s"})
    assert (
        mirror.run("history").out == "no run is on record; `sync-daemon run-once` makes the first\n"
    )
    mirror.sync()
    mirror.write(good, bad, retention={"reports": "1s"})
    mirror.sync(code=1)
    second, first = mirror.run("history", "--json").json["runs"]
    assert (first["status"], second["status"]) == ("ok", "partial")
    assert first["bytes"] == {"fetched": 300_002, "uploaded": 300_002}
    (failed,) = mirror.run("history", "--status", "failed", "--model", "gone", "--json").json[
        "runs"
    ]
    assert failed["run_id"] == second["run_id"]

    shown = mirror.run("history", first["run_id"]).out
    assert "w.bin" in shown
    assert hub.endpoint in shown
    shown = mirror.run("history", second["run_id"]).out
    assert "gone@main: failed" in shown
    assert "hint: " in shown

    time.sleep(2.1)  # S3 keeps whole seconds
    mirror.sync("--full", code=1)
    (kept,) = mirror.run("history", "--json").json["runs"]
    assert kept["mode"] == "full"
    assert mirror.run("history", first["run_id"]).code == 2
    assert set(mirror.published()) == {"m@main"}
