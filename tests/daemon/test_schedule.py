"""What is due when: every occurrence once, missed ones once together, jitter within bounds."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from sync_daemon.config.timing import Timing, parse_timing
from sync_daemon.daemon.jobs import Job, Planned
from sync_daemon.daemon.schedule import Schedule

START = datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


INCREMENTAL = Job("incremental")


def planned(when: str, job: Job = INCREMENTAL, **how: object) -> Planned:
    known = {"zone": "UTC", "jitter": timedelta()} | how
    return Planned(job, parse_timing(when), **known)  # type: ignore[arg-type]


def fired(schedule: Schedule, start: datetime, length: timedelta, step: timedelta) -> Counter[str]:
    found: Counter[str] = Counter()
    now = start
    while now < start + length:
        found.update(str(job) for job in schedule.due(now))
        now += step
    return found


def test_a_day_has_so_many_of_each() -> None:
    jobs = (
        planned("0 * * * *"),
        planned("15m", Job("incremental", "m")),
        planned("30 3 * * *", Job("full")),
        planned("0 22 * * *", Job("window")),
        planned("off", Job("verify")),
    )
    schedule = Schedule(jobs, START, lambda: 0.0)
    assert fired(schedule, START, DAY + MINUTE, MINUTE) == {
        "incremental": 24,
        "incremental m": 96,
        "full": 1,
        "window": 1,
    }


def test_what_was_missed_is_made_up_for_by_one_run() -> None:
    """The machine slept for five hours."""
    schedule = Schedule((planned("0 * * * *"),), START, lambda: 0.0)
    assert schedule.due(START + 5 * HOUR) == (Job("incremental"),)
    assert schedule.due(START + 5 * HOUR + MINUTE) == ()
    assert schedule.due(START + 6 * HOUR) == (Job("incremental"),)


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_jitter_delays_and_neither_doubles_nor_drops(chance: float) -> None:
    one = planned("0 * * * *", jitter=timedelta(minutes=20))
    schedule = Schedule((one,), START, lambda: chance)
    first = datetime(2026, 1, 1, 1, tzinfo=UTC) + chance * timedelta(minutes=20)
    assert schedule.soonest() == (Job("incremental"), first)
    assert fired(schedule, START, DAY, MINUTE)["incremental"] in {23, 24}
    assert fired(schedule, START + DAY, 9 * DAY, MINUTE)["incremental"] == 9 * 24


def test_jitter_is_at_most_half_of_the_way_to_the_next_time() -> None:
    one = planned("10s", jitter=HOUR)
    schedule = Schedule((one,), START, lambda: 1.0)
    found = schedule.soonest()
    assert found is not None
    assert found[1] - START == timedelta(seconds=15)


def test_a_clock_that_was_set_back_does_not_stop_the_schedule() -> None:
    schedule = Schedule((planned("0 * * * *"),), START, lambda: 0.0)
    schedule.due(START)
    assert schedule.due(START - 3 * DAY) == ()
    assert schedule.due(START - 3 * DAY + HOUR) == (Job("incremental"),)


def test_other_jobs_do_not_move_those_that_stay() -> None:
    """A job with jitter keeps the time that was drawn for it."""
    chances = iter([0.25, 0.75, 0.5])
    stays = planned("0 * * * *", jitter=HOUR / 2)
    schedule = Schedule((stays,), START, lambda: next(chances))
    before = schedule.soonest()
    schedule.replace((stays, planned("0 5 * * *", Job("full"))), START)
    assert schedule.soonest() == before
    schedule.replace((planned("30 * * * *"),), START)
    assert schedule.jobs() == (Job("incremental"),)
    assert schedule.soonest() == (Job("incremental"), START + MINUTE * 29.5)


@pytest.mark.parametrize(
    ("when", "start", "hours"),
    [
        ("30 2 * * *", "2026-03-28T12:00+01:00", [14.5, 37.5]),
        ("0 22 * * *", "2026-03-28T23:00+01:00", [22, 46]),
        ("0 * * * *", "2026-03-29T00:30+01:00", [0.5, 1.5, 2.5]),
        ("0 * * * *", "2026-10-25T00:30+02:00", [0.5, 1.5, 2.5, 3.5]),
    ],
)
def test_the_changes_of_the_clocks(when: str, start: str, hours: list[float]) -> None:
    """Berlin: an hourly job runs every hour that passes, a daily one every day."""
    moment = begin = datetime.fromisoformat(start)
    zone, timing = ZoneInfo("Europe/Berlin"), parse_timing(when)
    found = []
    for _ in hours:
        following = timing.next_after(moment, zone)
        assert following is not None
        moment = following.astimezone(UTC)
        found.append((moment - begin) / HOUR)
    assert found == hours


def test_intervals_do_not_depend_on_when_somebody_asks() -> None:
    timing, utc = parse_timing("6h"), ZoneInfo("UTC")
    assert timing.next_after(START, utc) == datetime(2026, 1, 1, 6, tzinfo=UTC)
    assert timing.next_after(START + 3 * HOUR, utc) == datetime(2026, 1, 1, 6, tzinfo=UTC)


@pytest.mark.parametrize("text", ["0 * * * *", "15m", "1h30m", "off"])
def test_a_timing_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_timing(text)) == text
    assert (parse_timing(text) == Timing()) == (text == "off")
