"""Events as log lines: JSON for machines, text for people."""

import io
import json
import logging
import threading
import warnings
from dataclasses import fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from sync_daemon.domain.events import (
    AlertTold,
    BytesMoved,
    DamageFound,
    Event,
    InternalError,
    Level,
    RequestRetried,
    RunFailed,
    RunFinished,
    RunStarted,
    VersionFailed,
    VersionRefused,
    VersionUnchanged,
    VersionWarning,
    catalogue,
)
from sync_daemon.observers.journald import leads_to_journal
from sync_daemon.observers.levels import Levels
from sync_daemon.observers.libraries import library_messages
from sync_daemon.observers.lines import Lines, printable, printable_json
from sync_daemon.observers.logs import Format, Logs
from sync_daemon.observers.mask import Mask

STARTED = RunStarted(run_id="r1", mode="full", versions=2)
FINISHED = RunFinished(run_id="r1", status="ok", seconds=1.5, published=1, unchanged=1, failed=0)
WARNING = VersionWarning(model="m", version="1", message="look")


def write(*events: Event, form: Format = "json", level: Level = "debug") -> str:
    stream = io.StringIO()
    logs = Logs(Lines(stream), form=form, levels=Levels(level))
    for event in events:
        logs(event)
    return stream.getvalue()


def parse(*events: Event, level: Level = "debug") -> list[dict[str, Any]]:
    return [json.loads(line) for line in write(*events, level=level).splitlines()]


def example(kind: type[Event]) -> Event:
    """An event with something in every field."""
    values: dict[str, Any] = {"str": "x", "int": 1, "float": 1.5, "bool": True}
    values |= {"tuple[str, ...]": ("x",), "Mapping[str, str]": {"x": "y"}}
    names = {field.name: cast("str", field.type) for field in fields(kind)}
    return kind(**{name: values[of.removesuffix(" | None")] for name, of in names.items()})


@pytest.mark.parametrize("kind", [k for k in catalogue() if k is not BytesMoved])
def test_every_event_is_a_line_of_its_name_level_and_fields(kind: type[Event]) -> None:
    event = example(kind)
    (line,) = parse(event)
    assert (line["event"], line["level"]) == (kind.name, kind.level)
    assert {field.name for field in fields(kind)} <= set(line)
    text = write(event, form="text")
    assert kind.name in text
    assert kind.level in text


def test_bytes_on_their_way_are_never_logged() -> None:
    assert write(BytesMoved(model="m", version="1", bytes=1)) == ""


def test_the_run_is_named_on_every_line_from_any_thread() -> None:
    stream = io.StringIO()
    logs = Logs(Lines(stream), form="json")
    logs(STARTED)
    thread = threading.Thread(target=logs, args=(WARNING,))
    thread.start()
    thread.join()
    logs(FINISHED)
    logs(WARNING)
    runs = [json.loads(line).get("run_id") for line in stream.getvalue().splitlines()]
    assert runs == ["r1", "r1", "r1", None]


def test_what_goes_on_beside_a_run_does_not_bear_its_name() -> None:
    lines = parse(STARTED, DamageFound(key="k", problem="p"), WARNING)
    assert [line.get("run_id") for line in lines] == ["r1", None, "r1"]


def test_a_run_that_breaks_off_is_over_and_the_failure_of_another_job_does_not_end_it() -> None:
    stream = io.StringIO()
    logs = Logs(Lines(stream), form="json")
    failed = RunFailed(job="x", kind="store_unavailable", error="e")
    logs(STARTED)
    other = threading.Thread(target=logs, args=(failed,))
    other.start()
    other.join()
    for event in (WARNING, failed, WARNING):
        logs(event)
    runs = [json.loads(line).get("run_id") for line in stream.getvalue().splitlines()]
    assert runs == ["r1", "r1", "r1", "r1", None]


RETRIED = RequestRetried(what="w", attempt=1, wait=1.0, error="e")


@pytest.mark.parametrize(
    ("named", "shown"),
    [
        ({"request.retried": "error"}, {WARNING.name}),
        ({"request": "error"}, {WARNING.name}),
        ({"req": "error", "retried": "error"}, {WARNING.name, RETRIED.name}),
        ({"version": "error"}, {RETRIED.name}),
        ({"request": "debug", "request.retried": "error"}, {WARNING.name}),
    ],
)
def test_a_level_of_its_own_holds_for_an_event_and_for_what_begins_so(
    named: dict[str, Level], shown: set[str]
) -> None:
    stream = io.StringIO()
    logs = Logs(Lines(stream), form="json", levels=Levels("info", named))
    logs(WARNING)
    logs(RETRIED)
    assert {json.loads(line)["event"] for line in stream.getvalue().splitlines()} == shown


def test_a_level_of_its_own_lets_a_debug_event_through() -> None:
    stream = io.StringIO()
    levels = Levels("error", {"version.unchanged": "debug"})
    Logs(Lines(stream), form="json", levels=levels)(
        VersionUnchanged(model="m", version="1", commit="c")
    )
    assert "version.unchanged" in stream.getvalue()


def test_loggers_of_libraries_have_levels_of_their_own_that_may_change_and_are_given_back() -> None:
    stream = io.StringIO()
    loud, quiet, third = map(logging.getLogger, ("loud_lib.part", "quiet_lib", "third_lib"))
    silenced = logging.getLogger("silenced_lib")
    silenced.propagate = False
    silenced.setLevel(logging.CRITICAL)
    named: dict[str, Level] = {"loud_lib": "debug", "quiet_lib": "error", "silenced_lib": "debug"}
    logs = Logs(Lines(stream), form="json", levels=Levels("info", named))
    with library_messages(logs):
        loud.debug("one")
        quiet.warning("two")
        third.info("three")
        third.warning("four")
        silenced.error("five")
        logs.levels = Levels("info")
        loud.debug("six")
        quiet.warning("seven")
    told = [json.loads(line)["message"] for line in stream.getvalue().splitlines()]
    assert told == ["one", "four", "seven"]
    assert logging.getLogger("loud_lib").level == logging.NOTSET
    assert silenced.level == logging.CRITICAL


def alert(severity: str, state: str = "firing") -> AlertTold:
    return AlertTold(
        alert="stale",
        severity=severity,
        state=state,
        labels={"model": "m"},
        value=1.0,
        threshold=2.0,
        since="2026-01-01T00:00:00Z",
        message="x",
    )


@pytest.mark.parametrize(
    ("event", "priority"),
    [
        (VersionUnchanged(model="m", version="1", commit="c"), 7),
        (STARTED, 6),
        (WARNING, 4),
        (VersionFailed(model="m", version="1", kind="k", error="e"), 3),
        (alert("critical"), 2),
        (alert("warning"), 4),
        (alert("critical", "resolved"), 5),
    ],
)
def test_for_the_journal_each_line_begins_with_its_priority(event: Event, priority: int) -> None:
    stream = io.StringIO()
    Logs(Lines(stream, journal=True), form="json", levels=Levels("debug"))(event)
    line = stream.getvalue()
    assert line.startswith(f"<{priority}>{{")
    assert json.loads(line[3:])["event"] == event.name


def test_every_line_of_a_trace_has_the_priority_of_its_event() -> None:
    stream = io.StringIO()
    event = InternalError(model="m", version="1", trace="Traceback:\n  File\nOops\n")
    Logs(Lines(stream, journal=True), form="text")(event)
    assert [line[:3] for line in stream.getvalue().splitlines()] == ["<3>"] * 4


def test_only_the_very_file_that_systemd_names_leads_to_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with path.open("w") as stream:
        found = path.stat()
        named = f"{found.st_dev}:{found.st_ino}"
        assert leads_to_journal(stream, {"JOURNAL_STREAM": named})
        assert not leads_to_journal(stream, {"JOURNAL_STREAM": f"{found.st_dev}:1"})
        assert not leads_to_journal(stream, {})
    assert not leads_to_journal(stream, {"JOURNAL_STREAM": named}), "it is closed"
    assert not leads_to_journal(io.StringIO(), {"JOURNAL_STREAM": named})


@pytest.mark.parametrize(("level", "count"), [("debug", 3), ("info", 2), ("warning", 1)])
def test_lines_below_the_level_are_left_out(level: Level, count: int) -> None:
    unchanged = VersionUnchanged(model="m", version="1", commit="c")
    assert len(parse(unchanged, STARTED, WARNING, level=level)) == count


def test_times_are_utc() -> None:
    (line,) = parse(WARNING)
    assert datetime.fromisoformat(line["timestamp"]).utcoffset() == timedelta()


def test_fields_without_a_value_are_left_out() -> None:
    (line,) = parse(VersionFailed(model="m", version="1", kind="k", error="e"))
    assert "hint" not in line


def test_secrets_are_masked_in_either_form() -> None:
    for form in ("json", "text"):
        stream = io.StringIO()
        lines = Lines(stream)
        logs = Logs(lines, form=cast("Format", form))
        lines.mask = Mask(["s3cret-1"])
        logs(VersionRefused(model="m", version="1", reasons=("has s3cret-1", "fine")))
        assert "s3cret" not in stream.getvalue()
        assert "has ***" in stream.getvalue()


def test_control_characters_are_written_out() -> None:
    trick = VersionWarning(model="m", version="1", message="a\x1b[2J\x9b\u202e\nb 🦙")
    text = write(trick, form="text")
    assert text.count("\n") == 1
    assert text.rstrip("\n").isprintable()
    assert "🦙" in text
    raw = write(trick)
    assert raw.rstrip("\n").isprintable()
    assert json.loads(raw)["message"] == trick.message


def test_a_trace_is_one_field_for_machines_and_lines_of_their_own_for_people() -> None:
    event = InternalError(model="m", version="1", trace='Traceback:\n  File "x"\nOops: \x1b[2J\n')
    (line,) = parse(event)
    assert line["trace"] == event.trace
    text = write(event, form="text").splitlines()
    assert text[1:] == ["Traceback:", '  File "x"', "Oops: \\x1b[2J"]


def test_the_libraries_own_messages_join_the_stream_from_warning_on() -> None:
    stream, own = io.StringIO(), io.StringIO()
    library = logging.getLogger("some_library")
    library.handlers[:] = [logging.StreamHandler(own)]
    root = logging.getLogger()
    before = root.handlers[:]
    try:
        with library_messages(Logs(Lines(stream), form="json")):
            library.getChild("part").warning("slow %s", "down")
            library.info("chatter")
            warnings.warn("old thing", DeprecationWarning, stacklevel=1)
        library.warning("after")
    finally:
        handlers, library.handlers[:] = library.handlers[:], []
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {line["event"] for line in told} == {"library.message"}
    assert (told[0]["logger"], told[0]["message"]) == ("some_library.part", "slow down")
    assert "chatter" not in stream.getvalue()
    assert own.getvalue() == "after\n", "its own handler is set aside, and given back"
    assert len(handlers) == 1
    assert root.handlers == before


def test_a_record_that_cannot_be_formatted_stops_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stream = io.StringIO()
    with library_messages(Logs(Lines(stream), form="json")):
        logging.getLogger("some_library").warning("%d", "no number")
        logging.getLogger("some_library").warning("next")
    assert json.loads(stream.getvalue())["message"] == "next"
    assert "no number" in capsys.readouterr().err


def test_a_stream_that_is_closed_is_no_error() -> None:
    stream = io.StringIO()
    lines = Lines(stream)
    stream.close()
    lines.write("x")


def test_lines_of_many_threads_stay_whole() -> None:
    stream = io.StringIO()
    logs = Logs(Lines(stream), form="json")
    threads = [
        threading.Thread(target=lambda: [logs(WARNING) for _ in range(50)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([json.loads(line) for line in stream.getvalue().splitlines()]) == 200


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 🦙", "plain é 🦙"),
        ("\x1b[0m", "\\x1b[0m"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\u202e", "\\u202e"),
        ("\u2028", "\\u2028"),
        ("\udc80", "\\udc80"),
    ],
)
def test_what_could_drive_a_terminal_is_shown_instead(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_json_stays_the_same_document() -> None:
    document = {"a\x9b": ["\u202e", "🦙", "\U000e0001", "\udc80", "\n\x00"]}
    text = printable_json(json.dumps(document, ensure_ascii=False, indent=2))
    assert text.replace("\n", "").isprintable()
    assert "🦙" in text
    assert json.loads(text) == document
