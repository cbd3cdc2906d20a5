"""The origins, with one governor and a client for each way to them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager

from sync_daemon.bootstrap.ways import path_text, proxy_text
from sync_daemon.config import (
    DirectoryOrigin as DirectorySettings,
    EndpointEntry,
    FailureRate,
    HttpOrigin as HttpSettings,
    HuggingFaceOrigin as HubSettings,
    Origin as OriginSettings,
    Secret,
    Settings,
    resolve_models,
)
from sync_daemon.domain.wanted import Wanted, WantedTags
from sync_daemon.engine.clock import SystemClock
from sync_daemon.observers.declared import Declared
from sync_daemon.origins.directory import DirectoryOrigin
from sync_daemon.origins.endpoint import Endpoint
from sync_daemon.origins.endpoints import Endpoints, FailureRule
from sync_daemon.origins.http import HttpFile, HttpOrigin
from sync_daemon.origins.watched import Watched
from sync_daemon.ports import Clock, Emit, Origin
from sync_daemon.wire import Http
from sync_daemon.wire.governor import Governor


@contextmanager
def origins(
    settings: Settings, emit: Emit, clock: Clock | None = None
) -> Iterator[Mapping[str, Origin]]:
    """Make every origin of the YAML, by its name; they share connections and the governor.

    The stop event of `clock` ends every wait for a limit on requests.
    """
    clock = clock or SystemClock(threading.Event())
    transfer = settings.transfer
    governor = Governor(
        clock,
        emit,
        request_rate=transfer.request_rate,
        connections=transfer.connections,
    )
    with ExitStack() as stack:
        clients: dict[tuple[str | None, str | None], Http] = {}
        for way in map(_way, settings.origins.values()):
            if way not in clients:
                clients[way] = stack.enter_context(closing(_client(settings, *way, governor)))
        yield {
            name: _origin(name, settings, clients[_way(config)], emit, clock, governor=governor)
            for name, config in settings.origins.items()
        }


def _way(config: OriginSettings) -> tuple[str | None, str | None]:
    """Return certificates and proxy of an origin; those with the same share connections."""
    if isinstance(config, DirectorySettings):
        return None, None
    return path_text(config.ca_file), proxy_text(config.proxy)


def _client(settings: Settings, ca_file: str | None, proxy: str | None, governor: Governor) -> Http:
    transfer = settings.transfer
    return Http(
        "origin",
        connect_timeout=transfer.connect_timeout.total_seconds(),
        read_timeout=transfer.read_timeout.total_seconds(),
        ca_file=ca_file,
        proxy=proxy,
        idle=transfer.connections,
        governor=governor,
    )


def _origin(
    name: str, settings: Settings, http: Http, emit: Emit, clock: Clock, *, governor: Governor
) -> Origin:
    config = settings.origins[name]

    def waited() -> float:
        return governor.waited

    match config:
        case HubSettings():
            from sync_daemon.origins.huggingface import HuggingFace  # noqa: PLC0415 - 0.1 s

            endpoints = _endpoints(
                name, config, settings.alerts.failure_rate, emit, clock, waited=waited
            )
            return HuggingFace(name, endpoints, config.token, http=http, tokens=_tokens(config))
        case HttpSettings():
            headers = {key: value.reveal() for key, value in config.headers.items()}
            files = files_of(name, settings)
            served = HttpOrigin(name, config.url, http=http, files=files, headers=headers)
            return Watched(served, config.url, clock=clock, emit=emit, waited=waited)
        case DirectorySettings():
            folder = DirectoryOrigin(name, config.path)
            return Watched(folder, str(config.path), clock=clock, emit=emit)


def _tokens(config: HubSettings) -> dict[str, Secret]:
    """Return the tokens of endpoints that have their own."""
    return {
        one.url.rstrip("/"): one.token
        for one in config.endpoints
        if isinstance(one, EndpointEntry) and one.token is not None
    }


def _endpoints(
    name: str,
    config: HubSettings,
    rule: FailureRate,
    emit: Emit,
    clock: Clock,
    *,
    waited: Callable[[], float],
) -> Endpoints:
    """Return the endpoints of an origin; their place in the list is their priority, unless said."""
    return Endpoints(
        name,
        (
            Endpoint(one.url, one.priority or place)
            if isinstance(one, EndpointEntry)
            else Endpoint(one, place)
            for place, one in enumerate(config.endpoints, 1)
        ),
        clock=clock,
        emit=emit,
        rule=FailureRule(rule.above, rule.within, rule.switch),
        waited=waited,
    )


def files_of(origin: str, settings: Settings) -> dict[str, tuple[HttpFile, ...]]:
    """Return which files each repository of an HTTP origin has: only the YAML knows."""
    found: dict[str, tuple[HttpFile, ...]] = {}
    for model in resolve_models(settings):
        if not any(version.origin == origin for version in model.versions):
            continue
        files = tuple(HttpFile(str(file.path), file.sha256) for file in model.files)
        found[model.repository.name] = files  # the same of each: config/checks.py
    return found


def declared(settings: Settings) -> Declared:
    """Return what bounds the labels of metrics: what the YAML declares."""
    return Declared.of(
        entries(settings),
        {name: _places_of(config) for name, config in settings.origins.items()},
    )


def _places_of(config: OriginSettings) -> tuple[str, ...]:
    """Return the endpoints of an origin, as its events name them."""
    match config:
        case HubSettings():
            urls = (one.url if isinstance(one, EndpointEntry) else one for one in config.endpoints)
            return tuple(url.rstrip("/") for url in urls)
        case HttpSettings():
            return (config.url,)
    return (str(config.path),)


def entries(settings: Settings) -> tuple[Wanted | WantedTags, ...]:
    """Return what the YAML asks for, in its order."""
    return tuple(one for model in resolve_models(settings) for one in model.versions)
