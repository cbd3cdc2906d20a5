"""Pulls from a gateway that sends its clients to a real MinIO, by signed links."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sync_daemon.domain.events import RequestRetried
from sync_daemon.ports import ObjectStore
from sync_daemon.stores.s3 import S3Store
from tests.client.conftest import MIB, Machine
from tests.gateway.test_files import open_minio
from tests.support.published import Publisher, Serving, serving
from tests.support.servers import S3Server

WEIGHTS = random.Random(2).randbytes(24 * MIB)
FILES = {"config.json": b"{}", "model.safetensors": WEIGHTS}
LIFE = timedelta(seconds=1)


class ShortLinks:
    """A bucket whose links end soon, whatever the gateway asks for. `made` counts them."""

    def __init__(self, store: S3Store, life: timedelta) -> None:
        self._store = store
        self._life = life
        self.made = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def link(
        self, key: str, *, endpoint: str | None, life: timedelta, overrides: Mapping[str, str]
    ) -> str:
        self.made += 1
        return self._store.link(
            key, endpoint=endpoint, life=min(life, self._life), overrides=overrides
        )


@pytest.fixture
def bucket(minio_server: S3Server, tmp_path: Path) -> Iterator[S3Store]:
    with closing(open_minio(minio_server, f"pull-{tmp_path.name}")) as store:
        Publisher(store).publish("m", "main", FILES, repo="org/m", lfs=("model.safetensors",))
        yield store


@contextmanager
def sending(store: ObjectStore, server: S3Server, folder: Path, **more: Any) -> Iterator[Serving]:
    with serving(folder, store, store_url=server.endpoint, **more) as found:
        yield found


def slowly(client: Machine, **more: Any) -> None:
    """Pull by one connection and small pieces, so that it takes twice the life of a link."""
    config = {"transfer": {"part_size": "5MiB"}}
    client.pull("m", config=config, connections=1, bandwidth="10MiB", **more)


def weights(client: Machine) -> bytes:
    return (client.output / "model.safetensors").read_bytes()


def test_large_files_come_from_the_bucket_by_one_link(
    minio_server: S3Server, bucket: S3Store, tmp_path: Path
) -> None:
    store = ShortLinks(bucket, timedelta(hours=1))
    with sending(store, minio_server, tmp_path) as found:
        client = Machine(tmp_path, [found.url])
        report = client.pull("m", connections=1)
    assert weights(client) == WEIGHTS
    assert report.bytes.fetched == sum(map(len, FILES.values()))
    assert store.made == 1


def test_a_link_that_ends_in_the_middle_is_replaced(
    minio_server: S3Server, bucket: S3Store, tmp_path: Path
) -> None:
    """MinIO refuses the old link, the gateway gives another one, and no attempt is lost."""
    store = ShortLinks(bucket, LIFE)
    with sending(store, minio_server, tmp_path) as found:
        client = Machine(tmp_path, [found.url])
        slowly(client)
    assert weights(client) == WEIGHTS
    assert store.made > 1
    assert not [one for one in client.events if isinstance(one, RequestRetried)]


def test_the_token_stays_with_the_gateway(
    minio_server: S3Server, bucket: S3Store, tmp_path: Path
) -> None:
    """MinIO refuses a request that shows both a token and a signature."""
    store = ShortLinks(bucket, LIFE)
    with sending(store, minio_server, tmp_path, anonymous=False) as found:
        client = Machine(tmp_path, [found.url])
        slowly(client, token=found.token("ci", "m"))
    assert weights(client) == WEIGHTS
    assert store.made > 1
