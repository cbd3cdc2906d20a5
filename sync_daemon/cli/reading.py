"""What the reading verbs share: a view of the store that changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sync_daemon import bootstrap
from sync_daemon.cli.session import Session
from sync_daemon.config import Settings
from sync_daemon.domain.errors import ConfigurationError, StoreRefused
from sync_daemon.domain.manifest import Current, Manifest
from sync_daemon.domain.names import ModelName, VersionName
from sync_daemon.engine.browse import Browser, Stored

_DAMAGED = "run `sync-daemon verify` to see what is damaged"


@contextmanager
def browsing(session: Session, settings: Settings) -> Iterator[Browser]:
    """Open the store for reading. A directory that no run has made yet holds nothing."""
    with session.listening() as emit, bootstrap.store(settings, dry=True) as store:
        browser = Browser(store, bootstrap.retry(settings, emit, session.stop))
        browser.open()
        yield browser


def whole(stored: Stored) -> tuple[Current, Manifest]:
    """Return what a version consists of. Raises StoreRefused when it cannot be read."""
    if stored.pointer is None or stored.manifest is None:
        raise StoreRefused(f"{stored}: {stored.problem}", hint=_DAMAGED)
    return stored.pointer, stored.manifest


def read_version(browser: Browser, model: ModelName, version: VersionName) -> Stored:
    """Return a published version.

    Raises ConfigurationError when there is none of this name, StoreRefused when it cannot
    be read.
    """
    stored = browser.read(model, version)
    if stored is None:
        published = ", ".join(v for _, v in browser.names(model)) or "none"
        message = f"{model}@{version} is not published"
        raise ConfigurationError(message, hint=f"published versions of {model}: {published}")
    whole(stored)
    return stored


def names_of(browser: Browser, model: ModelName) -> tuple[tuple[ModelName, VersionName], ...]:
    """Return the published versions of a model, newest first. Raises ConfigurationError."""
    if names := browser.names(model):
        return names
    published = ", ".join(dict.fromkeys(m for m, _ in browser.names())) or "none"
    message = f"no version of {model} is published"
    raise ConfigurationError(message, hint=f"published models: {published}")
