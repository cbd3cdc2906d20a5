"""The gateway, by itself or inside the daemon, which serves while the YAML has its section."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Self

from sync_daemon import bootstrap
from sync_daemon.config import Settings
from sync_daemon.daemon.jobs import next_runs
from sync_daemon.domain.errors import SyncError
from sync_daemon.gateway.access.log import Traffic
from sync_daemon.gateway.pages.making import make_pages
from sync_daemon.gateway.pages.overview import Coming
from sync_daemon.gateway.server import Gateway, PageMaker
from sync_daemon.ports import Emit, ObjectStore

SECTION = "gateway"
CONNECTING = timedelta(seconds=3)
READING = timedelta(seconds=8)
"""Longest waits for the store: huggingface_hub gives up after ten seconds without an answer."""

FAREWELL = timedelta(minutes=10)
"""Time in which downloads may end at an address that is served no more."""


def make_gateway(
    settings: Settings,
    store: ObjectStore,
    emit: Emit,
    *,
    traffic: Traffic | None = None,
    newest: Callable[[], Settings] | None = None,
    close: Callable[[], object] | None = None,
) -> Gateway:
    """Return a gateway with its pages, not started. Raises ConfigurationError.

    `newest` tells the configuration whose schedule the pages show, `close` lets go of the store.
    """
    pages = _pages(settings, store, emit, newest or (lambda: settings))
    return Gateway(settings, store, emit, traffic=traffic, pages=pages, close=close)


def _pages(
    settings: Settings, store: ObjectStore, emit: Emit, newest: Callable[[], Settings]
) -> PageMaker:
    def coming(now: datetime) -> tuple[Coming, ...]:
        return tuple(
            Coming(run.planned.job.kind, run.planned.job.model, run.at)
            for run in next_runs(newest(), now)
        )

    return make_pages(settings, store, emit, coming)


class Serving:
    """A context manager that serves by the newest valid configuration.

    The gateway has a store of its own: it must answer while a run is stuck. `alone`: it serves
    also where the YAML has no such section, and only once the store could be read.
    """

    def __init__(
        self, settings: Settings, traffic: Traffic | None = None, *, alone: bool = False
    ) -> None:
        self._settings, self._traffic, self._alone = settings, traffic, alone
        self._emit: Emit = _nobody
        self._gateway: Gateway | None = None
        self._former: list[Gateway] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop()

    @property
    def alive(self) -> bool:
        """Tell whether it serves."""
        return self._gateway is not None and self._gateway.alive

    def attach(self, emit: Emit) -> None:
        """Say where its events go, and begin. Raises ConfigurationError, and if it is alone
        StoreUnavailable and StoreRefused."""
        self._emit = emit
        self._start(self._make(self._settings))

    def configure(self, settings: Settings) -> None:
        """Follow a new configuration. Raises ConfigurationError, and then serves as before.

        Connections and what is being sent are not cut, but where the address or `tls` comes or
        goes: then what is under way has `FAREWELL` to end.
        """
        before, self._settings = self._settings, settings
        if _parts(settings) == _parts(before):
            if self._gateway is not None:
                self._gateway.reload_certificate()
            return
        try:
            self._replace(before, settings)
        except SyncError:
            self._settings = before
            raise
        finally:
            gc.collect()  # what it knew is in circles, which Python finds late

    def _replace(self, before: Settings, settings: Settings) -> None:
        former = self._gateway if self.alive else None
        if former is not None and self._wants(settings) and former.can_follow(settings):
            self._follow(former, before, settings)
            return
        gateway = self._make(settings)
        if gateway is None or former is None or not _clash(before, settings):
            self._start(gateway, former if _same_address(before, settings) else None)
            self._retire(former)
            return
        self._retire(former)
        try:
            self._start(gateway)
        except SyncError:
            self._start(self._make(before))
            raise

    def _follow(self, gateway: Gateway, before: Settings, settings: Settings) -> None:
        """Change what is served, and how, below the open socket."""
        if settings.store == before.store:
            gateway.follow(settings, pages=self._make_pages(settings, gateway.store))
            return
        with _kept() as opened:
            store = opened.enter_context(self._open(settings))
            gateway.follow(
                settings,
                pages=self._make_pages(settings, store),
                store=store,
                close=opened.close,
                strict=self._alone,
            )

    def _make(self, settings: Settings) -> Gateway | None:
        """Return a gateway that is ready to start; None where none is wanted."""
        if not self._wants(settings):
            return None
        with _kept() as opened:
            gateway = make_gateway(
                settings,
                opened.enter_context(self._open(settings)),
                self._emit,
                traffic=self._traffic,
                newest=lambda: self._settings,
                close=opened.close,
            )
            if self._alone:
                gateway.load()
            return gateway

    def _wants(self, settings: Settings) -> bool:
        section = SECTION in settings.model_fields_set and settings.gateway.listen is not None
        return self._alone or section

    def _open(self, settings: Settings) -> AbstractContextManager[ObjectStore]:
        return bootstrap.store(_hurried(settings), create=not self._alone)

    def _make_pages(self, settings: Settings, store: ObjectStore) -> PageMaker:
        return _pages(settings, store, self._emit, lambda: self._settings)

    def _start(self, gateway: Gateway | None, instead: Gateway | None = None) -> None:
        if gateway is not None:
            gateway.start(instead)
        self._gateway = gateway

    def _retire(self, gateway: Gateway | None) -> None:
        self._former = [one for one in self._former if one.alive]
        if gateway is not None:
            self._former.append(gateway)
            gateway.retire(FAREWELL.total_seconds())

    def _stop(self) -> None:
        """End all of them at the same time."""
        gateways = [*self._former, *([self._gateway] if self._gateway else ())]
        self._gateway, self._former = None, []
        ends = [threading.Thread(target=one.stop, name="end") for one in gateways]
        for end in ends:
            end.start()
        for end in ends:
            end.join()


@contextmanager
def _kept() -> Iterator[ExitStack]:
    """Give a stack that is closed by whoever takes it over, or here if that fails."""
    opened = ExitStack()
    try:
        yield opened
    except BaseException:
        opened.close()
        raise


def _hurried(settings: Settings) -> Settings:
    """Return settings by which a store that hangs is given up while a client still waits."""
    transfer = settings.transfer
    shorter = {
        "connect_timeout": min(transfer.connect_timeout, CONNECTING),
        "read_timeout": min(transfer.read_timeout, READING),
    }
    return settings.model_copy(update={"transfer": transfer.model_copy(update=shorter)})


def _parts(settings: Settings) -> tuple[object, ...]:
    """Return what a gateway is made from: while it is equal, it serves on."""
    models = [model.name for model in settings.models]
    return settings.store, settings.gateway, SECTION in settings.model_fields_set, models


def _same_address(before: Settings, settings: Settings) -> bool:
    return before.gateway.listen == settings.gateway.listen


def _clash(before: Settings, settings: Settings) -> bool:
    """Tell whether two addresses may be ones that cannot both be listened at: `0.0.0.0:80` and
    `127.0.0.1:80`."""
    listens = before.gateway.listen, settings.gateway.listen
    ports = {one.port for one in listens if one}
    return None not in listens and listens[0] != listens[1] and len(ports) == 1


def _nobody(event: object) -> None:
    del event
