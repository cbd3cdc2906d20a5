"""One stream of events, many listeners."""

import threading

from sync_daemon.domain.events import Event, VersionWarning
from sync_daemon.observers.fanout import Fanout
from tests.support.fakes import Recorder

EVENT = VersionWarning(model="m", version="1", message="x")


def test_every_listener_is_told_in_order() -> None:
    first, second = Recorder(), Recorder()
    emit = Fanout([first, second], lambda _: None)
    emit(EVENT)
    assert (first.events, second.events) == ([EVENT], [EVENT])


def test_a_listener_that_fails_is_dropped_with_one_complaint_and_the_others_go_on() -> None:
    """I6: telling never stops the work."""
    complaints: list[str] = []
    last, calls = Recorder(), []

    def failing(event: Event) -> None:
        calls.append(event)
        raise OSError("no room")

    emit = Fanout([failing, last], complaints.append)
    for _ in range(3):
        emit(EVENT)
    assert len(calls) == 1
    assert len(last.events) == 3
    assert len(complaints) == 1
    assert "failing" in complaints[0]
    assert "no room" in complaints[0]


def test_a_complaint_that_fails_stops_nothing_either() -> None:
    def failing(_: object) -> None:
        raise OSError

    recorder = Recorder()
    Fanout([failing, recorder], failing)(EVENT)
    assert recorder.events == [EVENT]


def test_listeners_are_called_by_one_thread_at_a_time() -> None:
    inside, seen, most = [0], [0], [0]

    def counting(event: Event) -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        seen[0] += 1
        threading.Event().wait(0.0005)
        inside[0] -= 1

    emit = Fanout([counting], lambda _: None)
    threads = [threading.Thread(target=lambda: [emit(EVENT) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (seen[0], most[0]) == (80, 1)
