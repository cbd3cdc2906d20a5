"""`unlock`: who works on what, and the release of locks for those who cannot wait."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from sync_daemon import bootstrap
from sync_daemon.cli.command import Command, add_json
from sync_daemon.cli.output import Column, Output
from sync_daemon.cli.selecting import gives, parse_target
from sync_daemon.cli.session import Session
from sync_daemon.config import Settings
from sync_daemon.domain.errors import ConfigurationError
from sync_daemon.domain.exits import EXIT_FAILED, EXIT_LOCKED, EXIT_OK
from sync_daemon.domain.words import plural
from sync_daemon.engine.unlock import Held, Locksmith
from sync_daemon.engine.vault import Vault

_COLUMNS: tuple[Column, ...] = (
    ("VERSION", "left"),
    ("HOST", "left"),
    ("PROCESS", "right"),
    ("REFRESHED", "right"),
    ("STATE", "left"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `unlock`."""
    parser.add_argument(
        "target",
        metavar="MODEL[@VERSION]",
        nargs="?",
        help="release the locks of this model, or of one version of it",
    )
    parser.add_argument("--all", action="store_true", help="release the locks of all versions")
    parser.add_argument(
        "--force", action="store_true", help="also release what a living process still holds"
    )
    add_json(parser)


def run(session: Session) -> int:
    """Show the locks and, where that is asked for, release them."""
    arguments = session.arguments
    _check(arguments)
    settings = session.settings()
    act = arguments.all or arguments.target is not None
    with session.listening() as emit, bootstrap.store(settings, dry=True) as store:
        retry = bootstrap.retry(settings, emit, session.stop)
        Vault(store, retry).open(create=False)
        smith = Locksmith(store, retry, emit)
        found = smith.find(_meant(arguments.target))
        if not found and arguments.target is not None:
            _check_declared(arguments.target, settings)
        if act:
            found = smith.release(found, force=arguments.force)
    if arguments.json:
        document = {"store": str(settings.store.url), "locks": [held.to_json() for held in found]}
        session.out.json(document)
    else:
        _show(found, session.out, act=act)
    return _answer(found)


def _check(arguments: argparse.Namespace) -> None:
    if arguments.all and arguments.target is not None:
        message = "--all goes with no MODEL"
        raise ConfigurationError(message, hint="name one, or release all")
    if arguments.force and not arguments.all and arguments.target is None:
        message = "--force releases nothing by itself"
        raise ConfigurationError(message, hint="name MODEL or MODEL@VERSION, or say --all")


def _meant(target: str | None) -> Callable[[str], bool]:
    """Return which scopes are meant."""
    if target is None:
        return lambda _: True
    model, version = parse_target(target)
    if version is None:
        return lambda scope: scope.partition("@")[0] == model
    return lambda scope: scope == f"{model}@{version}"


def _check_declared(target: str, settings: Settings) -> None:
    """Raise ConfigurationError for what nobody knows: it may be mistyped."""
    model, version = parse_target(target)
    entries = bootstrap.entries(settings)
    here = [entry for entry in entries if entry.model == model]
    if not here:
        hint = f"models that are there: {', '.join(sorted({entry.model for entry in entries}))}"
    elif version is None or any(gives(entry, version) for entry in here):
        return
    else:
        hint = f"see `ls {model}`"
    message = f"{target} is not in the configuration, and there is no lock of it"
    raise ConfigurationError(message, hint=hint)


def _show(found: Sequence[Held], out: Output, *, act: bool) -> None:
    if not found:
        out.line("nothing is locked")
        return
    out.table(_COLUMNS, (_cells(held) for held in found))
    count = {word: sum(held.outcome == word for held in found) for word in ("released", "refused")}
    if count["refused"]:
        out.line("hint: their owners are alive; wait for them, or take the locks with --force")
    summary = f"{plural(len(found), 'lock')}"
    if act:
        summary += f": {count['released']} released, {count['refused']} refused"
    out.line(summary)


def _cells(held: Held) -> tuple[str, ...]:
    state = f"stale: {held.stale}" if held.stale else "held"
    return (
        held.name,
        held.host or "unknown",
        str(held.body.owner.pid) if held.body.owner else "",
        f"{held.age:,.0f} s ago",
        state if held.outcome == "held" else held.outcome,
    )


def _answer(found: Sequence[Held]) -> int:
    refused = sum(held.outcome == "refused" for held in found)
    if not refused:
        return EXIT_OK
    return EXIT_LOCKED if refused == len(found) else EXIT_FAILED


COMMAND = Command(
    name="unlock",
    description=(
        "Show the locks that are held: by which process, how long ago it last refreshed them by\n"
        "the store's clock, and whether they are stale. With MODEL, MODEL@VERSION or --all they\n"
        "are released; those of a living process only with --force. What it does after that is\n"
        "not published. A run takes stale locks over by itself: this is for the impatient."
    ),
    exits=(0, 1, 2, 3, 5, 130),
    run=run,
    configure=configure,
    graceful=True,
)
