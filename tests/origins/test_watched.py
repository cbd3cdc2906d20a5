"""An origin of one endpoint tells of each request how it went, and changes nothing of it."""

from __future__ import annotations

from typing import Any

import pytest

from sync_daemon.domain.admission import admit
from sync_daemon.domain.errors import Interrupted, OriginUnavailable, RepositoryNotFound
from sync_daemon.domain.events import EndpointAsked, EndpointMeasured
from sync_daemon.domain.listing import RemoteFile, Repository
from sync_daemon.domain.selection import Selection
from sync_daemon.origins.watched import Watched
from sync_daemon.ports import Reader
from tests.support.fakes import FakeClock, FakeOrigin, Recorder

REPOSITORY = Repository("org/m", "model")
OK = EndpointAsked("hf", "/srv", failed=False)
FAILED = EndpointAsked("hf", "/srv", failed=True)


class Bench:
    """A watched origin with one file."""

    def __init__(self) -> None:
        self.inner, self.clock, self.told = FakeOrigin(), FakeClock(), Recorder()
        self.commit = self.inner.commit("org/m", {"a": b"hello"})
        self.origin = Watched(self.inner, "/srv", clock=self.clock, emit=self.told)

    def file(self) -> RemoteFile:
        (file,) = admit(self.inner.list(REPOSITORY, self.commit), Selection()).files
        return file


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_questions_are_samples_and_refusals_are_answers(bench: Bench) -> None:
    assert bench.origin.refs(REPOSITORY) == bench.inner.refs(REPOSITORY)
    assert bench.origin.list(REPOSITORY, bench.commit).commit == bench.commit
    with pytest.raises(RepositoryNotFound):
        bench.origin.refs(Repository("org/none", "model"))
    assert bench.told.events == [OK, OK, OK]


def test_a_body_is_a_sample_when_it_ends(bench: Bench) -> None:
    with bench.origin.open(REPOSITORY, bench.commit, bench.file(), 0, 5) as reader:
        buffer = memoryview(bytearray(9))
        assert reader.readinto(buffer) == 5
        assert bench.told.events == [EndpointMeasured("hf", "/srv", 0.0)]
    assert bench.told.events[1:] == [OK]


@pytest.mark.parametrize(
    ("error", "sample"), [(OriginUnavailable("reset"), FAILED), (Interrupted("stopped"), OK)]
)
def test_a_body_that_breaks_is_a_failure_unless_we_gave_it_up(
    bench: Bench, error: Exception, sample: EndpointAsked
) -> None:
    with (
        pytest.raises(type(error)),
        bench.origin.open(REPOSITORY, bench.commit, bench.file(), 0, 5),
    ):
        raise error
    assert bench.told.events[1:] == [sample]


def test_what_cannot_be_opened_is_a_failure_and_is_not_measured(bench: Bench) -> None:
    def refuse(path: str) -> None:
        raise OriginUnavailable(f"{path}: reset")

    bench.inner.on_open = refuse
    with pytest.raises(OriginUnavailable):
        bench.origin.open(REPOSITORY, bench.commit, bench.file(), 0, 5)
    assert bench.told.events == [FAILED]


def test_everything_else_is_the_origins_own(bench: Bench) -> None:
    assert (bench.origin.name, bench.origin.type, bench.origin.hops) == ("hf", "huggingface", 0)
    assert bench.origin.record is None


def test_our_own_wait_for_a_limit_is_no_latency(bench: Bench) -> None:
    looks = iter((5.0, 8.0))

    class Slow(FakeOrigin):
        def open(self, *args: Any, **kwargs: Any) -> Reader:
            bench.clock.wait(3.25)
            return super().open(*args, **kwargs)

    inner = Slow()
    commit = inner.commit("org/m", {"a": b"hello"})
    told = Recorder()
    origin = Watched(inner, "/srv", clock=bench.clock, emit=told, waited=lambda: next(looks))
    with origin.open(REPOSITORY, commit, bench.file(), 0, 5):
        assert told.events == [EndpointMeasured("hf", "/srv", 0.25)]
