"""`accept MODEL@VERSION`: a person lets a moved tag, a changed pin or a held version through."""

from __future__ import annotations

import argparse

from sync_daemon import bootstrap
from sync_daemon.cli.command import Command, add_json
from sync_daemon.cli.run_once import answer, show
from sync_daemon.cli.selecting import parse_version, select
from sync_daemon.cli.session import Session
from sync_daemon.engine.tools import How


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `accept`."""
    parser.add_argument("target", metavar="MODEL@VERSION", help="the version to let through")
    add_json(parser)


def run(session: Session) -> int:
    """Sync the version as the origin and the YAML have it now."""
    settings = session.settings()
    model, version = parse_version(session.arguments.target)
    entries = select(bootstrap.entries(settings), [model], [version])
    with (
        session.listening() as emit,
        bootstrap.engine(settings, emit, session.stop) as engine,
    ):
        only, models = frozenset({version}), frozenset({model})
        report = engine.run(entries, How(accept=True), only, models)
    show(session, report)
    if not session.arguments.json and {one.status for one in report.versions} == {"unchanged"}:
        target = session.arguments.target
        session.out.line(f"nothing to accept: {target} was as the origin and the YAML have it")
    return answer(session, report, frozenset({version}))


COMMAND = Command(
    name="accept",
    description=(
        "Let a version through that was refused because its tag moved upstream or its pin\n"
        "changed in the YAML, or that a rollback holds: it is synced now, as the origin and\n"
        "the YAML have it. The former manifest stays in the store."
    ),
    exits=(0, 1, 2, 3, 5, 130),
    run=run,
    configure=configure,
    graceful=True,
)
