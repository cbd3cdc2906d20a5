"""A plan tells beforehand which file cannot be moved, and which upload will hardly end in time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from sync_daemon.bootstrap import upload_life
from sync_daemon.config import load
from sync_daemon.domain.events import BytesMoved, Event
from sync_daemon.domain.report import VersionReport
from sync_daemon.engine.limits import Limits
from sync_daemon.engine.outlook import Life, Outlook, Speed
from sync_daemon.engine.tools import How
from sync_daemon.stores.memory import MemoryStore
from tests.support.fakes import FakeClock, FakeOrigin, running, wanted
from tests.support.servers import S3Server, keep_uploads_for_a_day

SIZE = 3_000_000


def report(outlook: Outlook, *, apply: bool = False) -> VersionReport:
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", {"big.bin": bytes(SIZE), "small": b"x"})
    with running(store, origin) as engine:
        run = replace(engine, outlook=outlook).run((wanted(),), How(apply=apply))
    assert apply or list(store.list("")) == []
    return run.versions[0]


@pytest.mark.parametrize("apply", [False, True])
def test_a_file_that_is_too_large_for_the_memory_refuses_its_version(*, apply: bool) -> None:
    found = report(Outlook(Limits(part_size=1_048_576, memory=4_000_000)), apply=apply)
    assert found.status == "refused"
    (reason,) = found.reasons
    assert reason.startswith("big.bin: a file of 3000000 bytes needs parts of 1 MiB, four at a")
    assert "set transfer.memory to 4MiB" in reason


@pytest.mark.parametrize(
    ("rate", "assumed", "said"),
    [(30, False, "drops an unfinished upload 24 h after it began:"), (30, True, "MinIO's default")],
)
def test_an_upload_that_takes_longer_than_the_store_allows_is_warned_of(
    rate: int, said: str, *, assumed: bool
) -> None:
    life = Life(timedelta(hours=24), assumed)
    found = report(Outlook(Limits(part_size=1_048_576), lambda: rate, lambda: life))
    assert found.status == "planned"
    (warning,) = found.warnings
    assert warning.startswith("big.bin takes 28 h")
    assert said in warning
    assert "stale_uploads_expiry" in warning


def test_the_store_is_asked_only_when_a_file_takes_an_hour() -> None:
    def never() -> Life | None:
        raise AssertionError

    for rate in (None, SIZE / 3000):
        found = report(Outlook(Limits(part_size=1_048_576), lambda rate=rate: rate, never))
        assert found.warnings == ()


def test_a_store_that_drops_nothing_draws_no_warning() -> None:
    assert report(Outlook(Limits(part_size=1_048_576), lambda: 1, lambda: None)).warnings == ()


def test_speed_is_what_came_over_the_line_since_the_first_byte() -> None:
    clock, passed = FakeClock(), list[Event]()
    speed = Speed(passed.append, clock)
    assert speed.rate() is None
    clock.wait(100)
    for _ in range(21):
        speed(BytesMoved(model="m", version="v", bytes=1000))
        clock.wait(1)
    speed(BytesMoved(model="m", version="v", bytes=10**9))  # taken up from a journal
    assert speed.rate() == pytest.approx(1050)
    assert len(passed) == 22


def test_minio_tells_how_long_an_upload_lives_or_is_known_by_its_name(
    minio_server: S3Server,
) -> None:
    keep_uploads_for_a_day(minio_server)
    text = f"""
version: 1
store:
  url: s3://ai-mirror/hub
  endpoint: {minio_server.endpoint}
  credentials: {{access_key: "%s", secret_key: "%s"}}
"""
    right = text % (minio_server.access_key, minio_server.secret_key)
    wrong = text % ("nobody", "nothing-at-all")
    for one, assumed in ((right, False), (wrong, True)):
        life = upload_life(load(one.encode(), environ={}))
        assert life == Life(timedelta(hours=24), assumed)
