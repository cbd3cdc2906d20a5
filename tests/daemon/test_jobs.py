"""Which jobs the YAML asks for, what each covers, and what a reload changes."""

from datetime import UTC, datetime
from typing import Any

from sync_daemon import bootstrap
from sync_daemon.daemon.differences import differences
from sync_daemon.daemon.jobs import Asked, Job, covered, next_runs, plan
from tests.daemon.conftest import Configure

OWN: list[dict[str, Any]] = [
    {"name": "a", "repo": "a", "schedule": {"incremental": "15m", "full": "off"}},
    {"name": "b", "repo": "b"},
]


def test_by_default_there_is_an_hourly_run_and_a_weekly_full_one(configure: Configure) -> None:
    now = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
    found = [(str(run.planned.job), run.at.isoformat()) for run in next_runs(configure(), now)]
    assert found == [
        ("incremental", "2026-11-21T10:00:00+00:00"),
        ("full", "2026-11-22T03:30:00+00:00"),
    ]


def test_times_are_those_of_the_time_zone(configure: Configure) -> None:
    settings = configure(schedule={"timezone": "Asia/Shanghai", "incremental": "off"})
    (run,) = next_runs(settings, datetime(2026, 11, 21, 9, 30, tzinfo=UTC))
    assert run.to_json() == {"job": "full", "at": "2026-11-22T03:30:00+08:00"}


def test_a_model_with_times_of_its_own_is_left_out_of_the_common_job(configure: Configure) -> None:
    settings = configure(models=OWN)
    assert [str(one.job) for one in plan(settings)] == ["incremental", "full", "incremental a"]

    def models(job: Job) -> list[str]:
        return [str(entry.model) for entry in covered(settings, job)]

    assert models(Job("incremental")) == ["b"]
    assert models(Job("incremental", "a")) == ["a"]
    assert models(Job("full")) == ["b"]
    assert models(Job("start")) == models(Job("window")) == ["a", "b"]
    assert models(Job("webhook", "a")) == ["a"]
    assert models(Job("request", asked=Asked((), full=True, run="1"))) == ["a", "b"]
    assert models(Job("request", asked=Asked(("b", "gone"), full=True, run="1"))) == ["b"]


def test_where_every_model_has_its_own_times_there_is_no_common_job(configure: Configure) -> None:
    settings = configure(models=OWN[:1])
    assert [str(one.job) for one in plan(settings)] == ["incremental a"]


def test_the_window_begins_with_a_run(configure: Configure) -> None:
    settings = configure(schedule={"window": "22:30-06:00", "verify": "0 5 1 * *"})
    runs = {str(one.job): str(one.timing) for one in plan(settings)}
    assert runs["window"] == "30 22 * * *"
    assert runs["verify"] == "0 5 1 * *"


def test_large_files_move_in_the_window_alone(configure: Configure) -> None:
    settings = configure(schedule={"window": "22:00-06:00", "timezone": "Asia/Shanghai"})
    moments = [datetime(2026, 1, 1, 13, 59, tzinfo=UTC), datetime(2026, 1, 1, 14, 0, tzinfo=UTC)]
    hours = bootstrap.off_peak(settings, lambda zone: moments.pop(0).astimezone(zone))
    assert hours is not None
    part = settings.transfer.part_size
    assert not hours.hold_back(part)
    assert hours.hold_back(part + 1)
    assert not hours.hold_back(part + 1)
    assert "outside the window 22:00-06:00" in str(hours.put_off("f"))
    assert bootstrap.off_peak(configure()) is None


def test_a_reload_names_the_keys_that_differ_and_no_values(configure: Configure) -> None:
    old = configure()
    origins = {"disk": {"type": "directory", "path": "/else"}, "hf": {"type": "huggingface"}}
    new = configure(
        transfer={"connections": 4}, origins=origins, models=OWN, defaults={"origin": "disk"}
    )
    assert differences(old, new) == (
        "origins.disk.path",
        "origins.hf",
        "defaults.origin",
        "models.a",
        "transfer.connections",
    )
    assert differences(new, new) == ()


def test_an_engine_serves_on_while_what_it_is_made_from_is_the_same(configure: Configure) -> None:
    parts = bootstrap.engine_parts
    assert parts(configure()) == parts(configure(models=OWN, schedule={"full": "1d"}))
    assert parts(configure()) != parts(configure(transfer={"connections": 4}))
    assert parts(configure()) != parts(configure(schedule={"window": "22:00-06:00"}))
