"""`run-once`: one run over everything that is declared, or a part of it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from sync_daemon import bootstrap
from sync_daemon.bootstrap import alerting
from sync_daemon.cli.command import Command, add_files, add_json, add_selection
from sync_daemon.cli.reporting import show_plans, show_run
from sync_daemon.cli.selecting import parse_names, select
from sync_daemon.cli.session import Session
from sync_daemon.domain.exits import EXIT_FAILED
from sync_daemon.domain.report import RunReport
from sync_daemon.engine.clock import SystemClock
from sync_daemon.engine.tools import How
from sync_daemon.observers.fanout import Listener


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `run-once`."""
    add_selection(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="only tell what would be done, as `plan` does"
    )
    add_files(parser)
    add_json(parser)


def run(session: Session) -> int:
    """Run what was asked for and print the report."""
    arguments = session.arguments
    return sync(session, How(full=arguments.full, apply=not arguments.dry_run))


def sync(session: Session, how: How) -> int:
    """Sync or plan the selected versions; the common body of `run-once` and `plan`."""
    arguments = session.arguments
    settings = session.settings()
    only = frozenset(parse_names(arguments.version))
    entries = select(bootstrap.entries(settings), arguments.model, only)
    clock = SystemClock(session.stop)
    alerts = alerting.open_alerts(settings, clock) if how.apply else None
    with (
        _watching(session, how) as listeners,
        session.listening(*listeners, *([alerts] if alerts else ())) as emit,
        bootstrap.engine(settings, emit, session.stop, dry=not how.apply) as engine,
        alerting.hearing(alerts, emit, engine.vault.store, clock) if alerts else nullcontext(),
    ):
        report = engine.run(entries, how, only, frozenset(arguments.model))
        free = None if how.apply else engine.vault.store.free_bytes()
    if how.apply:
        show(session, report)
    else:
        show_planned(session, report, free)
    return answer(session, report, only)


@contextmanager
def _watching(session: Session, how: How) -> Iterator[tuple[Listener, ...]]:
    """Draw progress bars where a person is looking and bytes will move."""
    if not (how.apply and session.talk.terminal and session.log_format() == "text"):
        yield ()
        return
    from sync_daemon.observers.progress import Progress  # noqa: PLC0415 - rich, for terminals

    with Progress(session.talk) as progress:
        yield (progress,)


def answer(session: Session, report: RunReport, only: frozenset[str]) -> int:
    """Return the exit code. That a tag which was asked for does not exist is a failure:
    only the origin can tell, so it is known when the run is over."""
    code = report.exit_code
    if absent := sorted(only - {version.version for version in report.versions}):
        message = f"no tag gives version {', '.join(absent)}"
        hint = "it may be missing upstream, or be older than `latest` lets through"
        session.notice("version.absent", "error", message, hint=hint)
        return code or EXIT_FAILED
    return code


def show(session: Session, report: RunReport) -> None:
    """Print what a run did, the way that was asked for."""
    if session.arguments.json:
        session.out.json(report.to_json())
    else:
        show_run(report, session.out)


def show_planned(session: Session, report: RunReport, free: int | None) -> None:
    """Print what a run would do; `free` is the store's free space, None if it does not say."""
    if session.arguments.json:
        session.out.json(report.to_json() | {"free_bytes": free})
    else:
        show_plans(report, session.out, files=session.arguments.files, free=free)


COMMAND = Command(
    name="run-once",
    description=(
        "Bring every declared version up to date: list what the origins hold, fetch what the\n"
        "store lacks, prove every byte, publish. What fails is reported, the rest is done.\n"
        "A second run right after finds nothing to move."
    ),
    exits=(0, 1, 2, 3, 5, 130),
    run=run,
    configure=configure,
    graceful=True,
)
