"""What is kept in memory has a bound, and what was used last is kept longest."""

from __future__ import annotations

from sync_daemon.gateway.recent import Recent


def make(room: int, fewest: int = 0) -> Recent[str, str]:
    return Recent(room, lambda _, value: len(value), fewest=fewest)


def kept(recent: Recent[str, str]) -> str:
    return "".join(key for key in "abcd" if recent.get(key) is not None)


def test_what_was_used_least_lately_goes_first() -> None:
    recent = make(room=6)
    recent.put("a", "11")
    recent.put("b", "22")
    recent.put("c", "33")
    assert recent.get("a") == "11"
    recent.put("d", "44")
    assert kept(recent) == "acd"


def test_a_value_in_the_place_of_another_is_counted_once() -> None:
    recent = make(room=4)
    recent.put("a", "11")
    for _ in range(3):
        recent.put("b", "22")
    assert kept(recent) == "ab"


def test_what_is_too_large_for_the_room_stays_only_where_some_must() -> None:
    free, held = make(room=2), make(room=2, fewest=1)
    for recent in (free, held):
        recent.put("a", "1")
        recent.put("b", "22222")
    assert (kept(free), kept(held)) == ("", "b")


def test_nothing_is_left_and_all_room_is_free_after_everything_was_forgotten() -> None:
    recent = make(room=4)
    recent.put("a", "1111")
    recent.clear()
    recent.put("b", "2222")
    assert kept(recent) == "b"
