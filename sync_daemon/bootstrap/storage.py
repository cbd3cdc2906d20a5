"""The store, and the way to its administration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from sync_daemon.bootstrap.ways import path_text, proxy_text
from sync_daemon.config import DirectoryPlace, S3Place, Settings
from sync_daemon.domain.errors import StoreRefused, StoreUnavailable
from sync_daemon.engine.outlook import Life
from sync_daemon.engine.setup import Home
from sync_daemon.ports import ObjectStore, StoreCapacity

if TYPE_CHECKING:
    from sync_daemon.stores.local import LocalStore
    from sync_daemon.stores.minio_server import MinioServer
    from sync_daemon.stores.s3_sign import SigningKeys

MINIO_LIFE = timedelta(hours=24)
"""How long MinIO keeps an unfinished upload unless it is told otherwise."""

_CONDITIONAL = {"auto": "auto", "yes": "on", "no": "off"}


class ClosableStore(Home, Protocol):
    """A store that has connections to close, and can be made."""

    def close(self) -> None:
        """Close them."""


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
        yield _directory(place)
    elif dry:
        from sync_daemon.stores.memory import MemoryStore  # noqa: PLC0415 - rarely

        yield MemoryStore()
    else:
        made = _directory(place)
        made.create()
        yield made


def _directory(place: DirectoryPlace) -> LocalStore:
    from sync_daemon.stores.local import LocalStore  # noqa: PLC0415 - not beside S3

    return LocalStore(place.path)


@contextmanager
def home(settings: Settings) -> Iterator[ClosableStore]:
    """Open the store, be its bucket or directory there or not. Raises ConfigurationError."""
    place = settings.store.url
    found = _s3(settings, place) if isinstance(place, S3Place) else _directory(place)
    with closing(found):
        yield found


def _s3(settings: Settings, place: S3Place) -> ClosableStore:
    from sync_daemon.stores.s3 import S3Store  # noqa: PLC0415 - not beside a directory

    config, transfer = settings.store, settings.transfer
    access_key, secret_key = _given_keys(settings)
    return S3Store(
        place.bucket,
        place.prefix,
        endpoint=config.endpoint,
        region=config.region,
        addressing=config.addressing,
        access_key=access_key,
        secret_key=secret_key,
        checksum=config.checksum,
        conditional_writes=_CONDITIONAL[config.conditional_writes],  # type: ignore[arg-type]
        ca_file=path_text(config.ca_file),
        proxy=proxy_text(config.proxy),
        connections=transfer.connections,
        connect_timeout=transfer.connect_timeout.total_seconds(),
        read_timeout=transfer.read_timeout.total_seconds(),
        ask_capacity=lambda: _capacity(settings, place.bucket),
    )


def _capacity(settings: Settings, bucket: str) -> StoreCapacity | None:
    """Ask MinIO for the room of the bucket; where it does not tell, the YAML may."""
    from sync_daemon.stores import minio_space  # noqa: PLC0415 - as in _s3

    config = settings.store
    if config.endpoint is not None and (keys := find_keys(settings)) is not None:
        with (
            suppress(StoreRefused, StoreUnavailable),
            minio_space.open_questions(
                config.endpoint,
                keys,
                region=config.region,
                ca_file=path_text(config.ca_file),
                proxy=proxy_text(config.proxy),
            ) as ask,
        ):
            return minio_space.find_capacity(ask, bucket)
    return StoreCapacity(config.capacity) if config.capacity else None


@contextmanager
def administration(settings: Settings) -> Iterator[MinioServer | None]:
    """Open what a MinIO server lets its administrators do; None where none can be: a
    directory, AWS, no keys. Nothing is asked yet, so another server may be behind it."""
    from sync_daemon.stores.minio_server import open_server  # noqa: PLC0415 - the SDK

    config = settings.store
    keys = find_keys(settings) if config.endpoint is not None else None
    if config.endpoint is None or keys is None:
        yield None
        return
    with open_server(
        config.endpoint,
        keys,
        region=config.region,
        ca_file=path_text(config.ca_file),
        proxy=proxy_text(config.proxy),
    ) as server:
        yield server


def find_keys(settings: Settings) -> SigningKeys | None:
    """Return the keys of the YAML, of the environment, or those that boto3 finds, if any; None
    for a directory."""
    with suppress(StoreRefused, StoreUnavailable):
        return read_keys(settings)
    return None


def read_keys(settings: Settings) -> SigningKeys | None:
    """Return the keys as `find_keys` does. Raises StoreRefused with the reason why a bucket has
    none, and StoreUnavailable where the service that gives them does not answer."""
    from sync_daemon.stores.s3_account import Account  # noqa: PLC0415 - as in _s3

    if not isinstance(settings.store.url, S3Place):
        return None
    access_key, secret_key = _given_keys(settings)
    return Account(str(settings.store.url), access_key=access_key, secret_key=secret_key).keys()


def _given_keys(settings: Settings) -> tuple[str | None, str | None]:
    """Return what the YAML says of the access key and the secret key."""
    given = settings.store.credentials
    keys = (given.access_key, given.secret_key) if given else (None, None)
    access_key, secret_key = (key.reveal() if key else None for key in keys)
    return access_key, secret_key


def says_minio(settings: Settings) -> bool:
    """Ask the S3 server whether it is MinIO; no rights are needed."""
    from sync_daemon.stores.minio_admin import is_minio  # noqa: PLC0415 - as above

    config = settings.store
    if not isinstance(config.url, S3Place) or config.endpoint is None:
        return False
    ca_file, proxy = path_text(config.ca_file), proxy_text(config.proxy)
    return is_minio(config.endpoint, ca_file=ca_file, proxy=proxy)


def upload_life(settings: Settings) -> Life | None:
    """Ask the store how long an unfinished upload lives; None: it neither says, nor is MinIO."""
    if not says_minio(settings):
        return None
    with suppress(StoreRefused, StoreUnavailable), administration(settings) as server:
        if server is not None and (expiry := server.upload_rules().expiry) is not None:
            return Life(expiry)
    return Life(MINIO_LIFE, assumed=True)
