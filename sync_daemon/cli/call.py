"""One call of a command: one `except`, one table of exit codes."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Mapping
from types import MappingProxyType

from sync_daemon.cli.command import Command
from sync_daemon.cli.output import Output
from sync_daemon.cli.session import Session
from sync_daemon.cli.stopping import stoppable
from sync_daemon.config import ConfigError
from sync_daemon.domain.errors import (
    ConfigurationError,
    Interrupted,
    LockedElsewhere,
    StoreRefused,
    SyncError,
    Unavailable,
)
from sync_daemon.domain.exits import (
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


def call(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run the command of the arguments and return its exit code."""
    talk = Lines(sys.stderr, journal=leads_to_journal(sys.stderr, environ))
    session = Session(arguments, environ, Output(sys.stdout), talk)
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
