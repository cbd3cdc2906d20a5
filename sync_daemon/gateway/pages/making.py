"""Settings -> pages: how readers reach what a page shows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from starlette.types import ASGIApp

from sync_daemon import bootstrap
from sync_daemon.config import S3Place, Settings
from sync_daemon.engine.browse import Browser
from sync_daemon.engine.clock import SystemClock
from sync_daemon.gateway.pages.commands import Place
from sync_daemon.gateway.pages.overview import Collector, Coming
from sync_daemon.gateway.pages.site import Pages
from sync_daemon.gateway.published.library import Library
from sync_daemon.gateway.published.shelf import Edition
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

    bucket = settings.store.url if isinstance(settings.store.url, S3Place) else None

    def place(edition: Edition, url: str) -> Place:
        tree = edition.pointer.tree if edition.pointer else None
        shown = f"{bucket}/{tree.key}" if bucket and tree and tree.whole else None
        endpoint = gateway.store_url or settings.store.endpoint
        return Place(url, not gateway.anonymous, shown, endpoint)

    def make(library: Library) -> ASGIApp:
        collector = Collector(library, browser, clock, coming)
        return Pages(library, collector, clock, place, public_url=gateway.public_url)

    return make
