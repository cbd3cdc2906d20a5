"""The steps of `store init`, in their order, for whoever takes them or only looks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from types import MappingProxyType
from typing import Literal

from sync_daemon import bootstrap
from sync_daemon.config import S3Place, Settings
from sync_daemon.domain.errors import SyncError
from sync_daemon.engine.readers import Grant, Safe, set_reader
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.setup import (
    Administration,
    Home,
    Step,
    set_quota,
    set_up,
    set_upload_life,
)

STYLES: Mapping[str, str] = MappingProxyType(
    {"done": "green", "planned": "cyan", "impossible": "yellow"}
)
Server = Literal["directory", "minio", "s3"]

_NO_MINIO = "the server is no MinIO"


def name_server(settings: Settings) -> Server:
    """Return what the store is; `s3` is any other server, or a MinIO that hides."""
    if not isinstance(settings.store.url, S3Place):
        return "directory"
    if bootstrap.says_minio(settings):
        return "minio"
    # A proxy before MinIO may hide its name; whoever answers its administration is MinIO.
    with suppress(SyncError), bootstrap.administration(settings) as server:
        if server is not None:
            server.space()
            return "minio"
    return "s3"


def take_first(settings: Settings, home: Home, retry: Retry, *, apply: bool) -> tuple[Step, ...]:
    """Make bucket or directory and put the marker; with `apply=False` tell what would be done.

    Raises what an unusable store raises: StoreRefused, StoreUnavailable.
    """
    place = settings.store.url
    bucket = place.bucket if isinstance(place, S3Place) else None
    return tuple(set_up(home, retry, bucket, apply=apply))


def is_there(first: Sequence[Step]) -> bool:
    """Tell whether the bucket or directory is there, after the first steps."""
    return first[0].state in {"done", "already"}


def take_rest(
    settings: Settings,
    server: Server,
    grant: Grant | None = None,
    safe: Safe = lambda _: nullcontext(),
    *,
    there: bool,
    apply: bool,
) -> Iterator[Step]:
    """Take the steps of the server's administration. Raises ConfigurationError."""
    place = settings.store.url
    if server == "s3":
        yield from _without_minio(settings, grant)
    if server != "minio" or not isinstance(place, S3Place):
        return
    with bootstrap.administration(settings) as administration:
        if administration is None:
            return
        bucket = place.bucket if there else None
        yield from _administer(settings, administration, bucket, apply=apply)
        if grant is not None:
            yield set_reader(administration, grant, safe, apply=apply)


def _administer(
    settings: Settings, server: Administration, bucket: str | None, *, apply: bool
) -> Iterator[Step]:
    quota = settings.store.quota
    if quota is not None and bucket is not None:
        yield set_quota(server, bucket, quota, apply=apply)
    elif quota is not None:
        state: Literal["impossible", "planned"] = "impossible" if apply else "planned"
        yield Step("quota", state, "there is no bucket yet")
    yield set_upload_life(server, apply=apply)


def _without_minio(settings: Settings, grant: Grant | None) -> Iterator[Step]:
    if settings.store.quota is not None:
        message = f"{_NO_MINIO}: set the quota by its own administration"
        yield Step("quota", "impossible", message)
    if grant is not None:
        message = f"{_NO_MINIO}: give a user of it the policy that `--json` prints"
        yield Step("reader", "impossible", message, policy=grant.policy)
