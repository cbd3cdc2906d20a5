"""Settings -> pages: how readers reach what a page shows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from starlette.types import ASGIApp

from sync_daemon import bootstrap
from sync_daemon.config import Settings
from sync_daemon.engine.browse import Browser
from sync_daemon.engine.clock import SystemClock
from sync_daemon.gateway.library import Library
from sync_daemon.gateway.pages.commands import Place
from sync_daemon.gateway.pages.overview import Collector, Coming
from sync_daemon.gateway.pages.site import Pages
from sync_daemon.gateway.shelf import Edition
from sync_daemon.ports import Emit, ObjectStore


def make_pages(
    settings: Settings,
    store: ObjectStore,
    emit: Emit,
    coming: Callable[[datetime], tuple[Coming, ...]],
) -> Callable[[Library], ASGIApp]:
    """Return what makes the pages of a library. `coming` tells the schedule's next runs."""
    stop = threading.Event()
    browser = Browser(store, bootstrap.retry(settings, emit, stop))
    clock = SystemClock(stop)
    gateway = settings.gateway

    def place(_: Edition, url: str) -> Place:
        return Place(url, needs_token=not gateway.anonymous)

    def make(library: Library) -> ASGIApp:
        collector = Collector(library, browser, clock, coming)
        return Pages(library, collector, clock, place, public_url=gateway.public_url)

    return make
