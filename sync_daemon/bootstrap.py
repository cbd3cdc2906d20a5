"""Settings -> objects: the one place where things are wired.

Everything is a plain constructor call. What must be closed is closed by the context
manager that made it, in the opposite order: transfer workers, heartbeat, connections.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo

from sync_daemon.config import (
    DirectoryOrigin as DirectorySettings,
)
from sync_daemon.config import (
    DirectoryPlace,
    EndpointEntry,
    FailureRate,
    S3Place,
    Secret,
    Settings,
    resolve_models,
)
from sync_daemon.config import (
    HttpOrigin as HttpSettings,
)
from sync_daemon.config import (
    HuggingFaceOrigin as HubSettings,
)
from sync_daemon.config import (
    Origin as OriginSettings,
)
from sync_daemon.domain.errors import ConfigurationError, StoreRefused, StoreUnavailable
from sync_daemon.domain.wanted import Wanted, WantedTags
from sync_daemon.engine.clock import SystemClock
from sync_daemon.engine.hours import Hours
from sync_daemon.engine.locks import Locks
from sync_daemon.engine.outlook import Life, Outlook, Speed
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.run import Engine
from sync_daemon.engine.setup import Home
from sync_daemon.engine.throttle import Throttle
from sync_daemon.engine.transfer import Limits, Transfer
from sync_daemon.engine.vault import Vault
from sync_daemon.engine.verify import Verifier
from sync_daemon.observers.declared import Declared
from sync_daemon.origins.directory import DirectoryOrigin
from sync_daemon.origins.endpoint import Endpoint
from sync_daemon.origins.endpoints import Endpoints, FailureRule
from sync_daemon.origins.http import HttpFile, HttpOrigin
from sync_daemon.origins.watched import Watched
from sync_daemon.ports import Clock, Emit, ObjectStore, Origin, StoreCapacity
from sync_daemon.stores.local import LocalStore
from sync_daemon.stores.memory import MemoryStore
from sync_daemon.wire import Http
from sync_daemon.wire.governor import Governor

if TYPE_CHECKING:
    from sync_daemon.stores.minio_admin import Keys
    from sync_daemon.stores.minio_server import MinioServer


class ClosableStore(Home, Protocol):
    """A store that has connections to close, and can be made."""

    def close(self) -> None:
        """Close them."""


VERIFY_WORKERS = 8
"""Blobs that are read at once to be verified, at most."""

MINIO_LIFE = timedelta(hours=24)
"""How long MinIO keeps an unfinished upload unless it is told otherwise."""

_CONDITIONAL = {"auto": "auto", "yes": "on", "no": "off"}


def entries(settings: Settings) -> tuple[Wanted | WantedTags, ...]:
    """Return what the YAML asks for, in its order."""
    return tuple(one for model in resolve_models(settings) for one in model.versions)


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


def limits(settings: Settings) -> Limits:
    """Return the limits that all transfers share."""
    transfer = settings.transfer
    return Limits(
        connections=transfer.connections,
        part_size=transfer.part_size,
        memory=transfer.memory,
        min_speed=transfer.min_speed,
        patience=transfer.read_timeout.total_seconds(),
    )


def rate(
    settings: Settings, now: Callable[[ZoneInfo], datetime] = datetime.now
) -> Callable[[], int | None]:
    """Return the function that tells the bandwidth allowed now, None for no limit."""
    timetable, zone = settings.transfer.bandwidth, ZoneInfo(str(settings.schedule.timezone))
    if timetable.constant is not None:
        fixed = timetable.constant or None
        return lambda: fixed
    return lambda: timetable.rate_at(now(zone)) or None


@contextmanager
def store(settings: Settings, *, create: bool = False, dry: bool = False) -> Iterator[ObjectStore]:
    """Open the store. A bucket must be there.

    Of a directory, `create` makes the last segment when its parent is there; with `dry` a
    directory that could be made is taken for an empty store, so that `plan` works before
    the first run. Otherwise a missing one is refused at first use. Raises StoreRefused.
    """
    place = settings.store.url
    if isinstance(place, S3Place):
        with closing(_s3(settings, place)) as found:
            yield found
    elif place.path.is_dir() or not place.path.parent.is_dir() or not (create or dry):
        yield LocalStore(place.path)
    elif dry:
        yield MemoryStore()
    else:
        yield _new_directory(place)


def _new_directory(place: DirectoryPlace) -> LocalStore:
    found = LocalStore(place.path)
    found.create()
    return found


@contextmanager
def home(settings: Settings) -> Iterator[ClosableStore]:
    """Open the store, be its bucket or directory there or not. Raises ConfigurationError."""
    place = settings.store.url
    found = _s3(settings, place) if isinstance(place, S3Place) else LocalStore(place.path)
    with closing(found):
        yield found


def _s3(settings: Settings, place: S3Place) -> ClosableStore:
    from sync_daemon.stores.s3 import S3Store  # noqa: PLC0415 - boto3 takes 0.1 s to import

    config, transfer = settings.store, settings.transfer
    keys = config.credentials
    return S3Store(
        place.bucket,
        place.prefix,
        endpoint=config.endpoint,
        region=config.region,
        addressing=config.addressing,
        access_key=keys.access_key.reveal() if keys and keys.access_key else None,
        secret_key=keys.secret_key.reveal() if keys and keys.secret_key else None,
        checksum=config.checksum,
        conditional_writes=_CONDITIONAL[config.conditional_writes],  # type: ignore[arg-type]
        ca_file=_path(config.ca_file),
        proxy=_proxy(config.proxy),
        connections=transfer.connections,
        connect_timeout=transfer.connect_timeout.total_seconds(),
        read_timeout=transfer.read_timeout.total_seconds(),
        ask_capacity=lambda: _capacity(settings, place.bucket),
    )


def _capacity(settings: Settings, bucket: str) -> StoreCapacity | None:
    """Ask MinIO for the room of the bucket; where it does not tell, the YAML may."""
    from sync_daemon.stores.minio_server import find_capacity  # noqa: PLC0415 - urllib3, certifi

    with suppress(StoreRefused, StoreUnavailable), administration(settings) as server:
        if server is not None:
            return find_capacity(server, bucket)
    total = settings.store.capacity
    return StoreCapacity(total) if total else None


@contextmanager
def administration(settings: Settings) -> Iterator[MinioServer | None]:
    """Open what a MinIO server lets its administrators do; None where none can be: a
    directory, AWS, no keys. Nothing is asked yet, so another server may be behind it."""
    from sync_daemon.stores.minio_server import open_server  # noqa: PLC0415 - as above

    config, keys = settings.store, find_keys(settings)
    if not isinstance(config.url, S3Place) or config.endpoint is None or keys is None:
        yield None
        return
    with open_server(
        config.endpoint,
        keys,
        region=config.region,
        ca_file=_path(config.ca_file),
        proxy=_proxy(config.proxy),
    ) as server:
        yield server


def find_keys(settings: Settings) -> Keys | None:
    """Return the keys of the YAML, or those that boto3 finds."""
    from sync_daemon.stores import minio_admin  # noqa: PLC0415 - as above

    given = settings.store.credentials
    return minio_admin.find_keys(
        given.access_key.reveal() if given and given.access_key else None,
        given.secret_key.reveal() if given and given.secret_key else None,
    )


def says_minio(settings: Settings) -> bool:
    """Ask the S3 server whether it is MinIO; no rights are needed."""
    from sync_daemon.stores.minio_admin import is_minio  # noqa: PLC0415 - as above

    config = settings.store
    if not isinstance(config.url, S3Place) or config.endpoint is None:
        return False
    ca_file, proxy = _path(config.ca_file), _proxy(config.proxy)
    return is_minio(config.endpoint, ca_file=ca_file, proxy=proxy)


def upload_life(settings: Settings) -> Life | None:
    """Ask the store how long an unfinished upload lives; None: it neither says, nor is MinIO."""
    if not says_minio(settings):
        return None
    with suppress(StoreRefused, StoreUnavailable), administration(settings) as server:
        if server is not None and (expiry := server.upload_rules().expiry) is not None:
            return Life(expiry)
    return Life(MINIO_LIFE, assumed=True)


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
            name: _origin(name, settings, clients[_way(config)], emit, clock)
            for name, config in settings.origins.items()
        }


def _way(config: OriginSettings) -> tuple[str | None, str | None]:
    """Return certificates and proxy of an origin; those with the same share connections."""
    if isinstance(config, DirectorySettings):
        return None, None
    return _path(config.ca_file), _proxy(config.proxy)


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


def _path(path: Path | None) -> str | None:
    return str(path) if path is not None else None


def _proxy(setting: str | Secret | None) -> str | None:
    return setting.reveal() if isinstance(setting, Secret) else setting


def _origin(name: str, settings: Settings, http: Http, emit: Emit, clock: Clock) -> Origin:
    config = settings.origins[name]
    match config:
        case HubSettings():
            from sync_daemon.origins.huggingface import HuggingFace  # noqa: PLC0415 - 0.1 s

            endpoints = _endpoints(name, config, settings.alerts.failure_rate, emit, clock)
            return HuggingFace(name, endpoints, config.token, http=http)
        case HttpSettings():
            headers = {key: value.reveal() for key, value in config.headers.items()}
            files = _files_of(name, settings)
            served = HttpOrigin(name, config.url, http=http, files=files, headers=headers)
            return Watched(served, config.url, clock=clock, emit=emit)
        case DirectorySettings():
            folder = DirectoryOrigin(name, config.path)
            return Watched(folder, str(config.path), clock=clock, emit=emit)


def _endpoints(
    name: str, config: HubSettings, rule: FailureRate, emit: Emit, clock: Clock
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
    )


def _files_of(origin: str, settings: Settings) -> dict[str, tuple[HttpFile, ...]]:
    """Return which files each repository of an HTTP origin has: only the YAML knows."""
    found: dict[str, tuple[HttpFile, ...]] = {}
    for model in resolve_models(settings):
        if not any(version.origin == origin for version in model.versions):
            continue
        files = tuple(HttpFile(str(file.path), file.sha256) for file in model.files)
        if found.setdefault(model.repository.name, files) != files:
            message = (
                f"models: {model.name} and another one name different files of"
                f" {model.repository.name or 'the same folder'!r} at origin {origin!r}"
            )
            raise ConfigurationError(message, hint="give each of them a repo, its own folder")
    return found


def retry(settings: Settings, emit: Emit, stop: threading.Event) -> Retry:
    """Return the one retry policy."""
    total = settings.transfer.total_timeout.total_seconds()
    return Retry(settings.transfer.attempts, emit, SystemClock(stop), total)


def off_peak(
    settings: Settings, now: Callable[[ZoneInfo], datetime] = datetime.now
) -> Hours | None:
    """Return when large files may move, None for always. Only the daemon asks."""
    window, zone = settings.schedule.window, ZoneInfo(settings.schedule.timezone)
    if window is None:
        return None
    any_time = settings.schedule.any_time
    small = settings.transfer.part_size if any_time is None else any_time
    return Hours(lambda: window.holds(now(zone).time()), small, str(window))


def engine_parts(settings: Settings) -> tuple[object, ...]:
    """Return what an engine is made from: while it is equal, an engine serves on."""
    schedule = settings.schedule
    return (
        settings.store,
        settings.origins,
        settings.transfer,
        settings.alerts.failure_rate,
        (schedule.timezone, schedule.window, schedule.any_time),
        [
            _files_of(n, settings)
            for n, o in settings.origins.items()
            if isinstance(o, HttpSettings)
        ],
    )


def verifier(store: ObjectStore, settings: Settings, emit: Emit, stop: threading.Event) -> Verifier:
    """Return what proves the bytes of a store."""
    workers = min(VERIFY_WORKERS, settings.transfer.connections)
    clock = SystemClock(stop)
    return Verifier(store, retry(settings, emit, stop), clock, stop, workers=workers)


@contextmanager
def engine(
    settings: Settings,
    emit: Emit,
    stop: threading.Event,
    *,
    dry: bool = False,
    hours: Hours | None = None,
) -> Iterator[Engine]:
    """Make an engine, started; the end of the block waits for its threads.

    `dry` is for planning: nothing is made that is not there yet. `hours` are those in which
    large files may move, None for always. Raises ConfigurationError, StoreRefused.
    """
    clock = SystemClock(stop)
    again = retry(settings, emit, stop)
    speed = emit = Speed(emit, clock)
    with ExitStack() as stack:
        sources = stack.enter_context(origins(settings, emit, clock))
        target = stack.enter_context(store(settings, create=not dry, dry=dry))
        locks = stack.enter_context(closing(Locks(target, again, clock, emit)))
        allowed = rate(settings)
        throttle = Throttle(allowed, clock)
        transfer = Transfer(
            target,
            limits(settings),
            throttle=throttle,
            retry=again,
            clock=clock,
            emit=emit,
            stop=stop,
            hours=hours,
        )
        yield Engine(
            vault=Vault(target, again),
            origins=sources,
            transfer=stack.enter_context(transfer),
            locks=locks,
            retry=again,
            clock=clock,
            emit=emit,
            stop=stop,
            part_size=limits(settings).part_size,
            outlook=Outlook(
                limits(settings),
                lambda: allowed() or speed.rate(),
                lambda: upload_life(settings),
            ),
            keep_reports=settings.retention.reports,
        )
