"""`plan`: what `run-once` would do, without doing it."""

from __future__ import annotations

import argparse

from sync_daemon.cli.command import Command, add_files, add_json, add_selection
from sync_daemon.cli.run_once import sync
from sync_daemon.cli.session import Session
from sync_daemon.engine.tools import How


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `plan`."""
    add_selection(parser)
    add_files(parser)
    add_json(parser)


def run(session: Session) -> int:
    """Plan what was asked for and print it."""
    return sync(session, How(full=session.arguments.full, apply=False))


COMMAND = Command(
    name="plan",
    description=(
        "Tell what run-once would do, and write nothing, not even a lock. Fails when a\n"
        "repository or revision does not exist, so that a configuration can be checked in CI."
    ),
    exits=(0, 1, 2, 3, 130),
    run=run,
    configure=configure,
    graceful=True,
)
