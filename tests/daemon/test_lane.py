"""One thread, one job at a time, each at most once."""

import threading

from sync_daemon.daemon.jobs import Job
from sync_daemon.daemon.lane import Lane


def test_a_job_that_runs_or_waits_is_not_taken_again() -> None:
    done: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def do(job: Job) -> None:
        begun.set()
        go_on.wait(10)
        done.append(str(job))

    lane = Lane("test", do)
    lane.start()
    assert lane.offer(Job("incremental"))
    assert begun.wait(10)
    assert not lane.offer(Job("incremental"))
    assert lane.offer(Job("full"))
    assert not lane.offer(Job("full"))
    assert not lane.offer(Job("full"), again=True)
    go_on.set()
    while lane.running:
        pass
    assert lane.offer(Job("incremental"))
    while len(done) < 3:
        pass
    lane.close()
    assert lane.join(10)
    assert done == ["incremental", "full", "incremental"]


def test_a_job_that_runs_may_be_asked_for_once_more() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def do(job: Job) -> None:
        begun.set()
        go_on.wait(10)

    lane = Lane("test", do)
    lane.start()
    lane.offer(Job("webhook", "a"))
    assert begun.wait(10)
    assert lane.offer(Job("webhook", "a"), again=True)
    assert not lane.offer(Job("webhook", "a"), again=True)
    lane.close()
    go_on.set()
    assert lane.join(10)


def test_the_end_drops_what_waits_and_is_told_when_it_is_late() -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def do(job: Job) -> None:
        begun.set()
        go_on.wait(10)

    lane = Lane("test", do, ended.set)
    lane.start()
    lane.offer(Job("incremental"))
    lane.offer(Job("full"))
    assert begun.wait(10)
    lane.close()
    assert not lane.join(0.01)
    assert lane.running == Job("incremental")
    go_on.set()
    assert lane.join(10)
    assert ended.is_set()
    assert lane.running is None
