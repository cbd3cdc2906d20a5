"""`ls`: the models that the store holds, or the versions of one."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sync_daemon.cli.command import Command, add_json
from sync_daemon.cli.output import Column, Output
from sync_daemon.cli.reading import browsing, names_of
from sync_daemon.cli.selecting import parse_target
from sync_daemon.cli.session import Session
from sync_daemon.domain.errors import ConfigurationError
from sync_daemon.domain.names import ModelName
from sync_daemon.domain.words import human_age, human_size
from sync_daemon.engine.browse import Browser, Summary, Tally, summarise, version_json
from sync_daemon.engine.clock import SystemClock

_MODELS: tuple[Column, ...] = (
    ("MODEL", "left"),
    ("VERSIONS", "right"),
    ("NEWEST", "left"),
    ("PUBLISHED", "left"),
    ("SIZE", "right"),
    ("DISTINCT", "right"),
)
_VERSIONS: tuple[Column, ...] = (
    ("VERSION", "left"),
    ("COMMIT", "left"),
    ("PUBLISHED", "left"),
    ("KIND", "left"),
    ("FILES", "right"),
    ("SIZE", "right"),
)


@dataclass(slots=True)
class Shelf:
    """A model and its versions, newest first."""

    model: ModelName
    versions: list[Summary] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)

    def to_json(self) -> dict[str, Any]:
        """Return one entry of `ls --json`."""
        versions = [{"version": one.version} | version_json(one) for one in self.versions]
        return {"model": self.model, "versions": versions, "totals": self.tally.to_json()}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `ls`."""
    parser.add_argument("model", metavar="MODEL", nargs="?", help="list the versions of this model")
    add_json(parser)


def run(session: Session) -> int:
    """Read what is asked for and print it."""
    settings, model = session.settings(), _model(session.arguments.model)
    with browsing(session, settings) as browser:
        shelves = _shelves(browser, model)
    now, out = SystemClock(session.stop).now(), session.out
    if session.arguments.json:
        models = [shelf.to_json() for shelf in shelves.values()]
        out.json({"store": str(settings.store.url), "models": models})
    elif model:
        _show_versions(shelves[model].versions, now, out)
    else:
        out.table(_MODELS, (_model_cells(shelf, now) for shelf in shelves.values()))
    return 0


def _model(text: str | None) -> ModelName | None:
    if text is None:
        return None
    model, version = parse_target(text)
    if version is not None:
        message = f"{text}: a model is meant, without a version"
        raise ConfigurationError(message, hint=f"write {model}; or `sync-daemon show {text}`")
    return model


def _shelves(browser: Browser, model: ModelName | None) -> Mapping[ModelName, Shelf]:
    names = names_of(browser, model) if model else browser.names()
    shelves = {name: Shelf(name) for name, _ in names}
    for stored in browser.read_all(names):
        shelf = shelves[stored.model]
        shelf.versions.append(summarise(stored))
        if stored.manifest is not None:
            shelf.tally.add(stored.manifest)
    return shelves


def _show_versions(versions: Sequence[Summary], now: datetime, out: Output) -> None:
    out.table(_VERSIONS, (_version_cells(one, now) for one in versions))
    for one in versions:
        if one.problem:
            out.line(f"{one.version}: damaged: {one.problem}", "red")


def _model_cells(shelf: Shelf, now: datetime) -> tuple[str, ...]:
    latest = max(
        ((one.pointer.published_at, one.version) for one in shelf.versions if one.pointer),
        default=None,
    )
    return (
        shelf.model,
        f"{len(shelf.versions):,}",
        latest[1] if latest else "",
        human_age(latest[0], now) if latest else "",
        human_size(shelf.tally.size),
        human_size(shelf.tally.distinct),
    )


def _version_cells(one: Summary, now: datetime) -> tuple[str, ...]:
    pointer, readable = one.pointer, one.problem is None
    return (
        one.version,
        pointer.commit[:12] if pointer else "",
        human_age(pointer.published_at, now) if pointer else "",
        _kind(one),
        f"{one.files:,}" if readable else "",
        human_size(one.size) if readable else "",
    )


def _kind(one: Summary) -> str:
    if one.problem is not None or one.pointer is None:
        return "damaged"
    if one.pointer.hold:
        return "held"
    return "pinned" if one.pointer.pin else "followed"


COMMAND = Command(
    name="ls",
    description=(
        "List the published models, declared or not, or the published versions of one, the\n"
        "newest first. DISTINCT counts content that versions share once."
    ),
    exits=(0, 2, 3, 130),
    run=run,
    configure=configure,
)
