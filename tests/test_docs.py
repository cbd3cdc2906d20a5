"""What the documents promise is what the program has: events, commands, options, exit codes."""

import argparse
import re
from dataclasses import fields
from pathlib import Path

import pytest

from sync_daemon.cli.command import EXIT_CODES, Command
from sync_daemon.cli.main import make_parser
from sync_daemon.cli.verbs import all_commands
from sync_daemon.domain.events import OTHER_LINES, BytesMoved, Event, catalogue
from tests.support.metrics_story import told as living_metrics

ROOT = Path(__file__).parents[1]
COMMANDS_PAGE = (ROOT / "docs/commands.md").read_text()
EVENTS_PAGE = (ROOT / "docs/events.md").read_text()
METRICS_PAGE = (ROOT / "docs/metrics.md").read_text()
README = (ROOT / "README.md").read_text()
BY_NAME = pytest.mark.parametrize("command", all_commands(), ids=lambda command: str(command.name))


def section(page: str, heading: str) -> str:
    """The text below a heading, up to the next of its kind."""
    found = re.search(
        rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL
    )
    assert found, f"there is no section {heading!r}"
    return found[1]


def table(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table whose first column has this heading."""
    found = re.search(rf"^\| {heading} \|.*\n\|[-|]+\|\n((?:\|.*\n?)*)", text, re.MULTILINE)
    rows = found[1].splitlines() if found else []
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser of a command; the empty name is that of all."""
    parser = make_parser(all_commands())
    for word in name.split():
        (verbs,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
        parser = verbs.choices[word]
    return parser


def arguments(parser: argparse.ArgumentParser) -> set[str]:
    """What may be written: `--json`, `--model MODEL`, `MODEL@VERSION`."""
    return {
        word
        for action in parser._actions
        if not isinstance(action, argparse._SubParsersAction)
        for word in (action.option_strings or [str(action.metavar or action.dest)])
    }


def documented(rows: list[list[str]]) -> set[str]:
    """The first column: `-v`, `--files`, `--model MODEL` without its value."""
    words = {word for row in rows for word in re.findall(r"`([^`]+)`", row[0])}
    return {word.split()[0] if word.startswith("-") else word for word in words}


def events() -> dict[str, type[Event]]:
    return {kind.name: kind for kind in catalogue()}


def test_the_catalogue_holds_every_event_once() -> None:
    package = Event.__module__.removesuffix("base")
    names = {
        kind.__name__ for kind in Event.__subclasses__() if kind.__module__.startswith(package)
    }
    assert [kind.__name__ for kind in catalogue()] == list(
        dict.fromkeys(kind.__name__ for kind in catalogue())
    )
    assert {kind.__name__ for kind in catalogue()} == names
    assert len(events()) == len(catalogue()), "two events share a name"


def test_the_table_of_events_is_the_catalogue() -> None:
    rows = table(EVENTS_PAGE, "event")
    told = {row[0].strip("`"): (row[1], re.findall(r"`(\w+)`", row[2])) for row in rows}
    has = {
        name: (kind.level, [field.name for field in fields(kind)])
        for name, kind in events().items()
    }
    assert told == has
    assert [row[0] for row in rows] == [f"`{name}`" for name in events()]
    assert all(row[4] for row in rows)


def test_the_table_says_which_events_are_logged() -> None:
    unlogged = {row[0] for row in table(EVENTS_PAGE, "event") if row[3] != "yes"}
    assert unlogged == {f"`{BytesMoved.name}`"}


def test_the_table_of_metrics_is_what_a_scrape_finds() -> None:
    rows = table(METRICS_PAGE, "metric")
    told = {row[0].strip("`"): (row[1], set(re.findall(r"`(\w+)`", row[2]))) for row in rows}
    has = {
        family.name + ("_total" if family.type == "counter" else ""): (
            family.type,
            {label for sample in family.samples for label in sample.labels} - {"le"},
        )
        for family in living_metrics().registry.collect()
    }
    assert told == {name: of for name, of in has.items() if name.startswith("sync_daemon_")}
    assert all(row[3] for row in rows)
    own = {name for name in has if name.startswith("process_")}
    assert own <= set(re.findall(r"`(process_\w+)`", METRICS_PAGE))


def test_the_lines_that_are_no_events_are_all_told() -> None:
    source = "".join(path.read_text() for path in (ROOT / "sync_daemon/cli").glob("*.py"))
    notices = set(re.findall(r"notice\(\s*\"([\w.]+)\"", source))
    told = {row[0].strip("`") for row in table(EVENTS_PAGE, "line")}
    assert told == notices | {"library.message"}
    assert told == set(OTHER_LINES)


@BY_NAME
def test_every_argument_of_a_command_is_documented_and_no_other(command: Command) -> None:
    text = section(COMMANDS_PAGE, command.name)
    shared = arguments(parser_of("")) - {"-V", "--version"}
    assert documented(table(text, "option")) == arguments(parser_of(command.name)) - shared


def test_the_global_options_are_documented() -> None:
    rows = table(section(COMMANDS_PAGE, "Global options"), "option")
    assert documented(rows) == arguments(parser_of(""))


@BY_NAME
def test_the_synopsis_names_every_argument(command: Command) -> None:
    text = section(COMMANDS_PAGE, command.name)
    (synopsis,) = re.findall(rf"^    sync-daemon {command.name}(?: .*)?$", text, re.MULTILINE)[:1]
    for row in table(text, "option"):
        assert re.findall(r"`([^`]+)`", row[0])[-1].split()[0] in synopsis


@BY_NAME
def test_a_command_documents_its_exit_codes(command: Command) -> None:
    text = section(COMMANDS_PAGE, command.name)
    (sentence,) = re.findall(r"^Exit codes: (.*?)\n\n", f"{text}\n\n", re.MULTILINE | re.DOTALL)
    codes = re.findall(r"(?:^|; )(\d+)\b", sentence.replace("\n", " "))
    assert tuple(map(int, codes)) == command.exits


def test_the_exit_codes_are_those_of_the_program() -> None:
    rows = table(section(COMMANDS_PAGE, "Exit codes"), "code")
    assert {int(code): meaning for code, meaning in rows} == dict(EXIT_CODES)


def test_no_command_is_documented_that_does_not_exist() -> None:
    headings = set(re.findall(r"^## (.*)$", COMMANDS_PAGE, re.MULTILINE))
    names = {command.name for command in all_commands()}
    assert headings == names | {"Global options", "Exit codes"}


def test_the_readme_lists_every_command() -> None:
    rows = table(section(README, "Commands"), "command")
    told = {name for row in rows for name in re.findall(r"`([^`]+)`", row[0])}
    assert told == {command.name for command in all_commands()}
    options = {word for row in rows for word in re.findall(r"--[a-z-]+", row[1])}
    known = {word for command in all_commands() for word in arguments(parser_of(command.name))}
    assert options <= known


@pytest.mark.parametrize(
    "page", ["README.md", *sorted(p.name for p in (ROOT / "docs").glob("*.md"))]
)
def test_links_to_other_pages_lead_somewhere(page: str) -> None:
    place = ROOT / page if page == "README.md" else ROOT / "docs" / page
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", place.read_text()):
        assert (place.parent / target).exists(), target


def test_the_readme_leads_to_every_page() -> None:
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert pages <= set(re.findall(r"\]\(([^)#:]+)", README))
