"""The command line: arguments, one `except`, one table of exit codes."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sync_daemon import __version__
from sync_daemon.cli.command import EXIT_CODES, Command
from sync_daemon.cli.output import Output
from sync_daemon.cli.session import Session
from sync_daemon.cli.stopping import stoppable
from sync_daemon.cli.verbs import GROUPS, all_commands, find_commands
from sync_daemon.config import ConfigError
from sync_daemon.domain.errors import (
    ConfigurationError,
    Interrupted,
    LockedElsewhere,
    StoreRefused,
    SyncError,
    Unavailable,
)
from sync_daemon.domain.report import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_LOCKED,
    EXIT_UNREACHABLE,
    EXIT_USAGE,
)
from sync_daemon.observers.journald import PRIORITIES, leads_to_journal
from sync_daemon.observers.lines import Lines, printable

_EXIT_OF: Mapping[type[BaseException], int] = MappingProxyType(
    {
        ConfigurationError: EXIT_USAGE,
        Unavailable: EXIT_UNREACHABLE,
        StoreRefused: EXIT_UNREACHABLE,
        LockedElsewhere: EXIT_LOCKED,
        Interrupted: EXIT_INTERRUPTED,
        KeyboardInterrupt: EXIT_INTERRUPTED,
    }
)
"""What an error means that ended the whole command; any other is a failure."""


def main(argv: Sequence[str] | None = None, *, environ: Mapping[str, str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        given = sys.argv[1:] if argv is None else argv
        arguments = make_parser(find_commands(given)).parse_args(given)
    except SystemExit as end:  # help was shown, or the arguments are wrong
        return int(end.code or 0)
    around = os.environ if environ is None else environ
    talk = Lines(sys.stderr, journal=leads_to_journal(sys.stderr, around))
    session = Session(arguments, around, Output(sys.stdout), talk)
    command: Command = arguments.command
    try:
        with stoppable(session.stop, graceful=command.graceful):
            return command.run(session)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the one place that ends all
        _explain(error, session)
        return exit_code(error)
    finally:
        session.close()


def exit_code(error: BaseException) -> int:
    """Return the exit code of an error that ended a command."""
    found = (code for kind, code in _EXIT_OF.items() if isinstance(error, kind))
    return next(found, EXIT_FAILED)


def _explain(error: BaseException, session: Session) -> None:
    match error:
        case KeyboardInterrupt():
            session.talk.write("interrupted")
        case ConfigError(problems=problems):
            for problem in problems:
                session.talk.write(printable(str(problem)), PRIORITIES["error"])
        case ConfigurationError(hint=hint):
            session.talk.write(printable(f"error: {error}"), PRIORITIES["error"])
            if hint:
                session.talk.write(printable(f"hint: {hint}"), PRIORITIES["error"])
        case SyncError(hint=hint):
            more = {"hint": hint} if hint else {}
            session.notice("command.failed", "error", str(error), kind=error.kind, **more)
        case _:
            hint = "this is a fault of sync-daemon: please report it, with --log-level debug"
            message = f"{type(error).__name__}: {error}"
            session.notice("command.failed", "error", message, kind="internal_error", hint=hint)
            if session.logs.levels.least == "debug":
                for line in "".join(traceback.format_exception(error)).splitlines():
                    session.talk.write(printable(line))


class _Parser(argparse.ArgumentParser):
    """Refuses what is unknown where it stands: with the usage of the verb, not of the program."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown


def make_parser(commands: Sequence[Command] | None = None) -> argparse.ArgumentParser:
    """Return the parser of the command line, or of only some of its verbs."""
    parser = _Parser(
        prog="sync-daemon",
        description="Scheduled, verified, versioned mirrors of AI models in an object store.",
        epilog=_exits(EXIT_CODES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-V", "--version", action="version", version=f"sync-daemon {__version__}")
    _add_global(parser, suppress=False)
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    groups: dict[str, argparse._SubParsersAction[_Parser]] = {}
    for command in all_commands() if commands is None else commands:
        group, _, name = command.name.rpartition(" ")
        if group and group not in groups:
            outer = verbs.add_parser(
                group, help=GROUPS[group], description=GROUPS[group], allow_abbrev=False
            )
            _add_global(outer, suppress=True)
            groups[group] = outer.add_subparsers(metavar="COMMAND", required=True)
        _add_command(groups[group] if group else verbs, name, command)
    return parser


def _add_command(verbs: argparse._SubParsersAction[_Parser], name: str, command: Command) -> None:
    parser = verbs.add_parser(
        name,
        help=command.summary,
        description=command.description,
        epilog=_exits({code: EXIT_CODES[code] for code in command.exits}),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.configure(parser)
    _add_global(parser, suppress=True)
    parser.set_defaults(command=command)


def _add_global(parser: argparse.ArgumentParser, *, suppress: bool) -> None:
    """Offer the global options: before the verb with their defaults, after it without, so
    that what stands before is not overwritten."""

    def default(value: str | None) -> str | None:
        return argparse.SUPPRESS if suppress else value

    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        default=default(None),
        help="the YAML; `-` is standard input",
    )
    parser.add_argument(
        "--log-format",
        choices=("auto", "json", "text"),
        default=default("auto"),
        help="log lines on stderr; auto: text on a terminal, JSON elsewhere",
    )
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default=default(None),
        help="least level of log lines, instead of the YAML's log.level",
    )


def _exits(codes: Mapping[int, str]) -> str:
    return "exit codes:\n" + "\n".join(f"  {code:<4} {text}" for code, text in codes.items())
