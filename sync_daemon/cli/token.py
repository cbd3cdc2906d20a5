"""`token create|list|revoke`: who may read by the gateway."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sync_daemon import bootstrap
from sync_daemon.cli.command import Command, add_json, add_many
from sync_daemon.cli.output import Column
from sync_daemon.cli.session import Session
from sync_daemon.config import Settings
from sync_daemon.config.units import UnitError, parse_duration
from sync_daemon.domain.access import ModelPattern
from sync_daemon.domain.errors import ConfigurationError, InvalidName
from sync_daemon.domain.exits import EXIT_FAILED, EXIT_OK
from sync_daemon.domain.tokens import Token, TokenName
from sync_daemon.domain.words import human_age
from sync_daemon.engine.vault import Vault
from sync_daemon.gateway.access.tokens import Stored, TokenBook

ALL = (ModelPattern("*"),)

_COLUMNS: tuple[Column, ...] = (
    ("NAME", "left"),
    ("ID", "left"),
    ("STATE", "left"),
    ("MODELS", "left"),
    ("CREATED", "right"),
    ("EXPIRES", "left"),
)


@dataclass(frozen=True, slots=True)
class Wish:
    """A token as it was asked for."""

    name: TokenName
    models: tuple[ModelPattern, ...]
    expires: timedelta | None

    def unknown(self, settings: Settings) -> tuple[ModelPattern, ...]:
        """Return the patterns that no declared model has."""
        names = [model.name for model in settings.models]
        return tuple(one for one in self.models if not any(map(one.matches, names)))


def create(session: Session) -> int:
    """Make a token, and show it this once."""
    words = session.arguments
    wish = _read_wish(words)
    settings = session.settings()
    with _book(session, settings, create=True) as book:
        now = _now()
        expires = now + wish.expires if wish.expires else None
        token, secret = book.create(wish.name, wish.models, now, expires)
    if words.json:
        session.out.json({"token": secret, **_describe(token, now)})
        return EXIT_OK
    session.out.line(secret)
    if session.log_format() != "json":
        session.talk.write(_explain(token))
    for pattern in wish.unknown(settings):
        session.notice("config.warning", "warning", f"no model of the YAML is named {pattern}")
    return EXIT_OK


def show(session: Session) -> int:
    """List the tokens; what they open is never shown."""
    settings = session.settings()
    with _book(session, settings) as book:
        stored = sorted(book.read(), key=_order)
    now = _now()
    if session.arguments.json:
        tokens = [_describe_stored(one, now) for one in stored]
        session.out.json({"store": str(settings.store.url), "tokens": tokens})
    elif stored:
        session.out.table(_COLUMNS, (_row(one, now) for one in stored))
    else:
        session.out.line("there are no tokens")
    return EXIT_FAILED if any(one.token is None for one in stored) else EXIT_OK


def revoke(session: Session) -> int:
    """Revoke a token; one that is revoked already stays so."""
    which = session.arguments.which
    settings = session.settings()
    with _book(session, settings) as book:
        now = _now()
        token, changed = book.revoke(which, now)
    if session.arguments.json:
        session.out.json({"changed": changed, **_describe(token, now)})
    else:
        told = "is revoked" if changed else f"was revoked on {_day(token.revoked)}"
        session.out.line(f"token {token.name} (id {token.id}) {told}")
    return EXIT_OK


def _explain(token: Token) -> str:
    until = f"until {_day(token.expires)}" if token.expires else "until it is revoked"
    reads = f"token {token.name} (id {token.id}) reads {', '.join(token.models)} {until}"
    return f"{reads}; it is shown this once, and only its SHA-256 is kept"


@contextmanager
def _book(session: Session, settings: Settings, *, create: bool = False) -> Iterator[TokenBook]:
    """Open the tokens of the store, which must be a mirror, or empty if one is to be made."""
    with session.listening() as emit, bootstrap.store(settings, create=create) as store:
        retry = bootstrap.retry(settings, emit, session.stop)
        Vault(store, retry).open(create=create)
        yield TokenBook(store, retry)


def _read_wish(words: argparse.Namespace) -> Wish:
    try:
        name, models = TokenName(words.name), tuple(map(ModelPattern, words.model))
    except InvalidName as error:
        raise ConfigurationError(str(error), hint=error.hint) from error
    return Wish(name, models or ALL, _read_life(words.expires))


def _read_life(text: str | None) -> timedelta | None:
    if text is None:
        return None
    try:
        return parse_duration(text)
    except UnitError as error:
        raise ConfigurationError(f"--expires {text!r}: {error}", hint=error.hint) from error


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _order(stored: Stored) -> tuple[str, str]:
    token = stored.token
    return (token.name.casefold(), token.created.isoformat()) if token else ("", stored.ident)


def _describe_stored(stored: Stored, now: datetime) -> dict[str, Any]:
    if stored.token is not None:
        return _describe(stored.token, now)
    return {"id": stored.ident, "name": None, "state": "unreadable"}


def _describe(token: Token, now: datetime) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "state": token.state(now),
        "models": list(token.models),
        "created": token.created.isoformat(),
        "expires": token.expires.isoformat() if token.expires else None,
        "revoked": token.revoked.isoformat() if token.revoked else None,
    }


def _row(stored: Stored, now: datetime) -> tuple[str, ...]:
    token = stored.token
    if token is None:
        return "?", stored.ident, "unreadable", "", "", ""
    age = human_age(token.created, now)
    models = ", ".join(token.models)
    return token.name, token.id, token.state(now), models, age, _day(token.expires)


def _day(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if moment else "never"


def _configure_create(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="whose it is: a person, a team, a machine")
    add_many(
        parser,
        "--model",
        "PATTERN",
        "it reads this model only, or all that begin so: llama-*; may be repeated",
    )
    parser.add_argument(
        "--expires", metavar="TIME", help="it opens nothing after so long: 12h, 30d"
    )
    add_json(parser)


def _configure_revoke(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "which", metavar="NAME", help="its name, its id, or the token itself where it was found"
    )
    add_json(parser)


CREATE = Command(
    name="token create",
    description=(
        "Make a token and print it, this once; the store keeps its SHA-256 alone. Whoever\n"
        "shows it to the gateway reads the models that its patterns cover, all by default."
    ),
    exits=(0, 2, 3, 130),
    run=create,
    configure=_configure_create,
)
LIST = Command(
    name="token list",
    description="List every token with its state: active, expired or revoked. Never the token.",
    exits=(0, 1, 2, 3, 130),
    run=show,
    configure=add_json,
)
REVOKE = Command(
    name="token revoke",
    description=(
        "Revoke a token for good, by its name (the active one of that name) or its id. Gateways\n"
        "know of it within gateway.refresh. A second time changes nothing."
    ),
    exits=(0, 2, 3, 130),
    run=revoke,
    configure=_configure_revoke,
)
