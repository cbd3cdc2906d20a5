"""`store init`: make the bucket, put the marker, set quota and expiry, make accounts."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from sync_daemon import bootstrap
from sync_daemon.cli.command import Command, add_json, add_many
from sync_daemon.cli.output import Output
from sync_daemon.cli.session import Session
from sync_daemon.cli.store_steps import STYLES, is_there, name_server, take_first, take_rest
from sync_daemon.config import S3Place, Settings
from sync_daemon.config.units import UnitError, parse_network
from sync_daemon.domain.access import AccountName, ModelPattern, make_policy, name_policy
from sync_daemon.domain.errors import ConfigurationError, InvalidName
from sync_daemon.domain.exits import EXIT_FAILED, EXIT_OK
from sync_daemon.domain.names import GroupName
from sync_daemon.domain.words import plural
from sync_daemon.engine.readers import Grant, Safe
from sync_daemon.engine.setup import Step

_ONLY_WITH_READER = ("network", "model", "rotate", "secret_file")
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class Reader:
    """An account as it was asked for."""

    grant: Grant
    models: tuple[ModelPattern, ...]
    networks: tuple[str, ...]
    file: Path | None

    def safe(self) -> Safe:
        """Return where a new secret goes before the account is made."""
        path = self.file
        return (lambda _: nullcontext()) if path is None else (lambda text: _kept(path, text))

    def unknown(self, settings: Settings) -> tuple[ModelPattern, ...]:
        """Return the patterns that no declared model has."""
        names = [model.name for model in settings.models]
        return tuple(one for one in self.models if not any(map(one.matches, names)))


def run(session: Session) -> int:
    """Take every step; lines appear as it goes."""
    settings = session.settings()
    words = session.arguments
    reader = _read_reader(words, settings)
    steps: list[Step] = []
    with session.listening() as emit, bootstrap.home(settings) as home:
        retry = bootstrap.retry(settings, emit, session.stop)
        first = take_first(settings, home, retry, apply=not words.dry_run)
        server = name_server(settings)
        rest = take_rest(
            settings,
            server,
            *((reader.grant, reader.safe()) if reader else ()),
            there=is_there(first),
            apply=not words.dry_run,
        )
        for step in chain(first, rest):
            steps.append(step)
            if not words.json:
                show_step(step, session.out)
                _show_secret(step, reader, session.out)
    if words.json:
        document = _document(steps, reader, settings) | {"dry_run": words.dry_run}
        session.out.json({"store": str(settings.store.url), "server": server} | document)
    else:
        _sum_up(steps, reader.unknown(settings) if reader else (), session.out)
    return EXIT_FAILED if any(step.state == "impossible" for step in steps) else EXIT_OK


def _read_reader(words: argparse.Namespace, settings: Settings) -> Reader | None:
    """Read the options of an account. Raises ConfigurationError."""
    if words.reader is None:
        if wrong := [name for name in _ONLY_WITH_READER if getattr(words, name)]:
            option = f"--{wrong[0].replace('_', '-')}"
            raise ConfigurationError(f"{option} goes with --reader", hint="name the account")
        return None
    place = settings.store.url
    if not isinstance(place, S3Place):
        message = f"--reader: {place} is a directory, which has no accounts"
        raise ConfigurationError(message, hint="give readers rights by the file system")
    try:
        account = AccountName(words.reader)
        models = tuple(map(ModelPattern, words.model))
    except InvalidName as error:
        raise ConfigurationError(str(error), hint=error.hint) from error
    keys = bootstrap.find_keys(settings)
    if keys is not None and keys.access_key == account:
        message = f"--reader: {account} is the mirror's own access key"
        raise ConfigurationError(message, hint="choose another name")
    networks = tuple(map(_read_network, words.network))
    groups = [GroupName(model.group) for model in settings.models if model.group]
    policy = make_policy(place.bucket, place.prefix, models, networks, groups)
    name = name_policy(account, place.bucket, place.prefix)
    grant = Grant(account, name, policy, words.rotate, keep=not (models or networks))
    return Reader(grant, models, networks, words.secret_file)


def _read_network(text: str) -> str:
    try:
        return str(parse_network(text))
    except UnitError as error:
        message = f"--network {text!r}: {error}"
        raise ConfigurationError(message, hint="write CIDR: 10.0.0.0/8") from error


@contextmanager
def _kept(path: Path, text: str) -> Iterator[None]:
    """Write a secret beside `path` before the account is made, and name it `path` after."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(fresh, _NEW, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(f"{text}\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        message = f"--secret-file {path}: cannot be written: {error.strerror}"
        raise ConfigurationError(message, hint="name a file in a folder of your own") from error
    try:
        yield
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    fresh.replace(path)


def show_step(step: Step, out: Output) -> None:
    """Print how one thing stands, and what an administrator would run."""
    out.line(f"{step.state:<10} {step.name:<9} {step.message}", STYLES.get(step.state, ""))
    if step.state == "impossible" and step.command:
        out.line(f"{'':<20} an administrator: {step.command}")


def _show_secret(step: Step, reader: Reader | None, out: Output) -> None:
    if step.secret is None or reader is None:
        return
    where = f"in {reader.file}" if reader.file else f"{step.secret} (shown this once)"
    out.line(f"{'':<20} access key: {reader.grant.account}")
    out.line(f"{'':<20} secret key: {where}")


def _sum_up(steps: Iterable[Step], unknown: tuple[ModelPattern, ...], out: Output) -> None:
    states = [step.state for step in steps]
    for pattern in unknown:
        out.line(f"note: no model of the YAML is named {pattern}")
    words = ("done", "already", "planned", "impossible")
    told = [f"{states.count(state)} {state}" for state in words if state in states]
    out.line(f"{plural(len(states), 'step')}: {', '.join(told)}")


def _document(steps: list[Step], reader: Reader | None, settings: Settings) -> dict[str, Any]:
    return {
        "steps": [step.to_json() for step in steps],
        "reader": _describe(reader, steps, settings) if reader else None,
    }


def _describe(reader: Reader, steps: Iterable[Step], settings: Settings) -> dict[str, Any]:
    secret = next((step.secret for step in steps if step.secret), None)
    return {
        "access_key": reader.grant.account,
        "secret_key": None if reader.file else secret,
        "secret_file": str(reader.file) if reader.file and secret else None,
        "policy_name": reader.grant.policy_name,
        "models": list(reader.models),
        "networks": list(reader.networks),
        "unknown_models": list(reader.unknown(settings)),
    }


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--reader", metavar="NAME", help="make or change a consumer's read-only account (MinIO)"
    )
    add_many(
        parser, "--network", "CIDR", "the account works from this network only; may be repeated"
    )
    add_many(
        parser,
        "--model",
        "PATTERN",
        "the account reads this model only, or all that begin so: llama-*; may be repeated",
    )
    parser.add_argument(
        "--rotate", action="store_true", help="give the account a new secret key as well"
    )
    parser.add_argument(
        "--secret-file",
        type=Path,
        metavar="FILE",
        help="write a new secret key to FILE, readable by you alone, and not to stdout",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only tell what would be done; write nothing"
    )
    add_json(parser)


COMMAND = Command(
    name="store init",
    description=(
        "Make the bucket or directory and put the format marker; where the server is MinIO,\n"
        "set the quota of the YAML, let unfinished uploads live for 30 days, and make read-only\n"
        "accounts. A second time changes nothing."
    ),
    exits=(0, 1, 2, 3, 130),
    run=run,
    configure=_configure,
)
