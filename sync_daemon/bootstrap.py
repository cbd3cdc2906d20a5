"""Settings -> objects: the one place where things are wired.

Everything is a plain constructor call. What must be closed is closed by the context
manager that made it, in the opposite order: transfer workers, heartbeat, connections.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from typing import Protocol
from zoneinfo import ZoneInfo

from sync_daemon.config import (
    DirectoryOrigin as DirectorySettings,
)
from sync_daemon.config import (
    DirectoryPlace,
    S3Place,
    Settings,
    resolve_models,
)
from sync_daemon.config import (
    HttpOrigin as HttpSettings,
)
from sync_daemon.config import (
    HuggingFaceOrigin as HubSettings,
)
from sync_daemon.domain.errors import ConfigurationError, StoreRefused
from sync_daemon.domain.wanted import Wanted, WantedTags
from sync_daemon.engine.clock import SystemClock
from sync_daemon.engine.locks import Locks
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.run import Engine
from sync_daemon.engine.throttle import Throttle
from sync_daemon.engine.transfer import Limits, Transfer
from sync_daemon.engine.vault import Vault
from sync_daemon.origins.directory import DirectoryOrigin
from sync_daemon.origins.http import HttpFile, HttpOrigin
from sync_daemon.ports import Emit, ObjectStore, Origin
from sync_daemon.stores.local import LocalStore
from sync_daemon.stores.memory import MemoryStore
from sync_daemon.wire import Http


class ClosableStore(ObjectStore, Protocol):
    """A store that has connections to close."""

    def close(self) -> None:
        """Close them."""


_CONDITIONAL = {"auto": "auto", "yes": "on", "no": "off"}


def entries(settings: Settings) -> tuple[Wanted | WantedTags, ...]:
    """Return what the YAML asks for, in its order."""
    return tuple(one for model in resolve_models(settings) for one in model.versions)


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
    try:
        place.path.mkdir(exist_ok=True)
    except OSError as error:
        message = f"{place}: the directory cannot be made: {error.strerror}"
        raise StoreRefused(message, hint="make it for the user that runs sync-daemon") from error
    return LocalStore(place.path)


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
        ca_file=str(config.ca_file) if config.ca_file else None,
        connections=transfer.connections,
        connect_timeout=transfer.connect_timeout.total_seconds(),
        read_timeout=transfer.read_timeout.total_seconds(),
    )


@contextmanager
def origins(settings: Settings, emit: Emit) -> Iterator[Mapping[str, Origin]]:
    """Make every origin of the YAML, by its name; they share one pool of connections."""
    transfer = settings.transfer
    http = Http(
        "origin",
        connect_timeout=transfer.connect_timeout.total_seconds(),
        read_timeout=transfer.read_timeout.total_seconds(),
        idle=transfer.connections,
    )
    with closing(http):
        yield {name: _origin(name, settings, http, emit) for name in settings.origins}


def _origin(name: str, settings: Settings, http: Http, emit: Emit) -> Origin:
    config = settings.origins[name]
    match config:
        case HubSettings():
            from sync_daemon.origins.huggingface import HuggingFace  # noqa: PLC0415 - 0.1 s

            return HuggingFace(name, config.endpoints, config.token, http=http, emit=emit)
        case HttpSettings():
            headers = {key: value.reveal() for key, value in config.headers.items()}
            files = _files_of(name, settings)
            return HttpOrigin(name, config.url, http=http, files=files, headers=headers)
        case DirectorySettings():
            return DirectoryOrigin(name, config.path)


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
    return Retry(settings.transfer.attempts, emit, SystemClock(stop))


@contextmanager
def engine(
    settings: Settings, emit: Emit, stop: threading.Event, *, dry: bool = False
) -> Iterator[Engine]:
    """Make an engine, started; the end of the block waits for its threads.

    `dry` is for planning: nothing is made that is not there yet. Raises ConfigurationError,
    StoreRefused.
    """
    clock = SystemClock(stop)
    again = retry(settings, emit, stop)
    with ExitStack() as stack:
        sources = stack.enter_context(origins(settings, emit))
        target = stack.enter_context(store(settings, create=not dry, dry=dry))
        locks = stack.enter_context(closing(Locks(target, again, clock, emit)))
        throttle = Throttle(rate(settings), clock)
        transfer = Transfer(
            target,
            limits(settings),
            throttle=throttle,
            retry=again,
            clock=clock,
            emit=emit,
            stop=stop,
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
        )
