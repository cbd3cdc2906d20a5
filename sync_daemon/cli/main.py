"""The command line: its arguments, its help, and the way to the command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from sync_daemon import __version__
from sync_daemon.cli.command import EXIT_CODES, Command
from sync_daemon.cli.verbs import GROUPS, VERBS, find_commands


def main(argv: Sequence[str] | None = None, *, environ: Mapping[str, str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        given = sys.argv[1:] if argv is None else argv
        arguments = make_parser(find_commands(given)).parse_args(given)
    except SystemExit as end:  # help was shown, or the arguments are wrong
        return int(end.code or 0)
    from sync_daemon.cli.call import call  # noqa: PLC0415 - half of the program, and no help's

    return call(arguments, os.environ if environ is None else environ)


class _Parser(argparse.ArgumentParser):
    """Refuses what is unknown where it stands: with the usage of the verb, not of the program."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown


def make_parser(commands: Sequence[Command]) -> argparse.ArgumentParser:
    """Return the parser of the command line for these verbs, or for a help that names all."""
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
    known = {command.name: command for command in commands}
    for name in known or VERBS:
        group, _, last = name.rpartition(" ")
        if group and group not in groups:
            outer = verbs.add_parser(
                group, help=GROUPS[group], description=GROUPS[group], allow_abbrev=False
            )
            _add_global(outer, suppress=True)
            groups[group] = outer.add_subparsers(metavar="COMMAND", required=True)
        inner = (groups[group] if group else verbs).add_parser(last, help=VERBS[name].summary)
        if name in known:
            _complete(inner, known[name])
    return parser


def _complete(parser: argparse.ArgumentParser, command: Command) -> None:
    parser.description = command.description
    meanings = {**EXIT_CODES, **command.meanings}
    parser.epilog = _exits({code: meanings[code] for code in command.exits})
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.allow_abbrev = False
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
