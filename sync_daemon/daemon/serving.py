"""The gateway, by itself or inside the daemon, which serves while the YAML has its section."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Self

from sync_daemon import bootstrap
from sync_daemon.config import Settings
from sync_daemon.daemon.jobs import next_runs
from sync_daemon.domain.errors import SyncError
from sync_daemon.gateway.access.log import Traffic
from sync_daemon.gateway.pages.making import make_pages
from sync_daemon.gateway.pages.overview import Coming
from sync_daemon.gateway.server import Gateway
from sync_daemon.ports import Emit, ObjectStore

SECTION = "gateway"
CONNECTING = timedelta(seconds=3)
READING = timedelta(seconds=8)
"""Longest waits for the store: huggingface_hub gives up after ten seconds without an answer."""


def make_gateway(
    settings: Settings,
    store: ObjectStore,
    emit: Emit,
    *,
    traffic: Traffic | None = None,
    newest: Callable[[], Settings] | None = None,
) -> Gateway:
    """Return a gateway with its pages, not started. Raises ConfigurationError.

    `newest` tells the configuration whose schedule the pages show.
    """

    def coming(now: datetime) -> tuple[Coming, ...]:
        return tuple(
            Coming(run.planned.job.kind, run.planned.job.model, run.at)
            for run in next_runs(newest() if newest else settings, now)
        )

    pages = make_pages(settings, store, emit, coming)
    return Gateway(settings, store, emit, traffic=traffic, pages=pages)


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
        self._opened = ExitStack()

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
        self._start(self._settings)

    def configure(self, settings: Settings) -> None:
        """Follow a new configuration. Raises ConfigurationError, and then serves as before."""
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
            gc.collect()  # a client of S3 is a circle of 12 MB, which Python finds late

    def _start(self, settings: Settings) -> None:
        with ExitStack() as opened:
            gateway = self._make(settings, opened)
            self._run(gateway, opened)

    def _replace(self, before: Settings, settings: Settings) -> None:
        """Let a new gateway follow the one that serves, which ends only once that can be."""
        with ExitStack() as opened:
            gateway = self._make(settings, opened)
            if not _same_port(before, settings):
                former = self._opened
                self._run(gateway, opened)
                former.close()
                return
            self._stop()
            try:
                self._run(gateway, opened)
            except SyncError:
                self._start(before)
                raise

    def _make(self, settings: Settings, opened: ExitStack) -> Gateway | None:
        """Return a gateway that is ready to start; None where none is wanted."""
        if not self._alone and (
            SECTION not in settings.model_fields_set or settings.gateway.listen is None
        ):
            return None
        store = opened.enter_context(bootstrap.store(_hurried(settings), create=not self._alone))
        gateway = make_gateway(
            settings,
            store,
            self._emit,
            traffic=self._traffic,
            newest=lambda: self._settings,
        )
        if self._alone:
            gateway.load()
        return gateway

    def _run(self, gateway: Gateway | None, opened: ExitStack) -> None:
        if gateway is not None:
            gateway.start()
            opened.callback(gateway.stop)
        self._gateway, self._opened = gateway, opened.pop_all()

    def _stop(self) -> None:
        self._gateway = None
        self._opened.close()


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


def _same_port(before: Settings, settings: Settings) -> bool:
    """Tell whether both cannot listen at the same time."""
    listens = before.gateway.listen, settings.gateway.listen
    return None not in listens and len({one.port for one in listens if one}) == 1


def _nobody(event: object) -> None:
    del event
