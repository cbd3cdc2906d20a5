"""Links to the bucket: who gets one, what it opens, and until when."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request as Ask, urlopen

import boto3
import pytest
from botocore.config import Config
from starlette.requests import Request

from sync_daemon.domain import keys
from sync_daemon.gateway.files.agents import parse_agent
from sync_daemon.gateway.files.links import Links
from sync_daemon.stores.local import LocalStore
from sync_daemon.stores.memory import MemoryStore
from sync_daemon.stores.s3 import S3Store
from sync_daemon.stores.s3_sign import SigningKeys, Site, sign_link
from tests.gateway.test_files import ask, open_minio
from tests.support.file_gate import COMMIT, MIB, make_bytes, make_settings, put_file, run_gate
from tests.support.servers import BUCKET, S3Server

BODY = make_bytes(2 * MIB)
NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
KEYS = SigningKeys("access", "secret")
HUB = "unknown/None; hf_hub/1.33.0; python/3.11"
PUBLIC = "store_url: 'http://s3.example'"


@pytest.fixture
def bucket(minio_server: S3Server, tmp_path: Path) -> Iterator[S3Store]:
    with closing(open_minio(minio_server, f"links-{tmp_path.name}")) as store:
        yield store


def fetch(url: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    try:
        with urlopen(Ask(url, headers=headers), timeout=20) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


def test_a_large_file_comes_from_the_bucket_by_a_link(
    minio_server: S3Server, bucket: S3Store
) -> None:
    settings = make_settings(f"store_url: '{minio_server.endpoint}'")
    with run_gate(bucket, settings) as gate:
        gate.add(put_file(bucket, "index.html", BODY))
        path = gate.path("index.html", COMMIT)
        status, headers, body = ask(gate, "GET", path)
        _, head, _ = ask(gate, "HEAD", path)
    assert (status, body, headers["cache-control"]) == (302, b"", "no-store")
    for name in ("x-repo-commit", "etag", "x-linked-etag", "x-linked-size"):
        assert headers[name] == head[name]
    status, given, data = fetch(headers["location"])
    assert (status, data) == (200, BODY)
    assert given["Content-Type"] == "application/octet-stream"
    assert given["Content-Disposition"].startswith("attachment;")
    assert fetch(headers["location"], Range="bytes=5-9")[::2] == (206, BODY[5:10])


def test_a_link_opens_one_blob_only_and_ends(minio_server: S3Server, bucket: S3Store) -> None:
    mine = keys.blob(put_file(bucket, "mine", BODY).sha256)
    other = keys.blob(put_file(bucket, "other", BODY + b"x").sha256)
    link = bucket.link(mine, endpoint=None, life=timedelta(hours=1), overrides={})
    assert fetch(link)[0] == 200
    assert fetch(link.replace(mine, other))[0] == 403
    assert fetch(link.replace("X-Amz-Expires=3600", "X-Amz-Expires=7200"))[0] == 403
    past = sign_link(
        Site(minio_server.endpoint, BUCKET, "us-east-1"),
        SigningKeys(minio_server.access_key, minio_server.secret_key),
        link.partition(f"{BUCKET}/")[2].partition("?")[0],
        life=timedelta(minutes=1),
        now=datetime.now(UTC) - timedelta(minutes=2),
        overrides={},
    )
    status, _, text = fetch(past)
    assert (status, b"expired" in text) == (403, True)


@pytest.mark.parametrize("name", ["hub/blobs/ab", "odd key/ü+~'(1)*!=&.bin"])
def test_a_link_is_signed_as_boto3_signs_it(minio_server: S3Server, name: str) -> None:
    overrides = {"response-content-disposition": 'attachment; filename="a b*\'~.bin";'}
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=minio_server.endpoint,
        aws_access_key_id=minio_server.access_key,
        aws_secret_access_key=minio_server.secret_key,
        region_name="us-east-1",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    theirs = client.generate_presigned_url(
        "get_object",
        Params={
            "Bucket": BUCKET,
            "Key": name,
            "ResponseContentDisposition": overrides["response-content-disposition"],
        },
        ExpiresIn=777,
    )
    query = parse_qs(urlsplit(theirs).query)
    now = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    ours = sign_link(
        Site(minio_server.endpoint, BUCKET, "us-east-1"),
        SigningKeys(minio_server.access_key, minio_server.secret_key),
        name,
        life=timedelta(seconds=777),
        now=now,
        overrides=overrides,
    )
    assert parse_qs(urlsplit(ours).query) == query


def test_a_link_names_the_endpoint_that_clients_see() -> None:
    def host(endpoint: str, *, virtual: bool = False) -> str:
        site = Site(endpoint, "models", "eu-1", virtual=virtual)
        return sign_link(
            site, KEYS, "a/b", life=timedelta(hours=1), now=NOW, overrides={}
        ).partition("?")[0]

    assert host("https://S3.example:443") == "https://s3.example/models/a/b"
    assert host("http://s3.example:9000") == "http://s3.example:9000/models/a/b"
    assert host("http://[fd00::1]:9000") == "http://[fd00::1]:9000/models/a/b"
    assert host("https://s3.example", virtual=True) == "https://models.s3.example/a/b"
    assert host("https://mirror.example/s3") == "https://mirror.example/s3/models/a/b"


def test_a_link_lives_no_longer_than_s3_allows_nor_than_the_keys() -> None:
    site = Site("https://s3.example", "models", "eu-1")

    def life(wanted: timedelta, until: timedelta | None) -> int:
        signing = SigningKeys("a", "b", "token/+", NOW + until if until else None)
        url = sign_link(site, signing, "a", life=wanted, now=NOW, overrides={})
        assert "X-Amz-Security-Token=token%2F%2B" in url
        return int(parse_qs(urlsplit(url).query)["X-Amz-Expires"][0])

    assert life(timedelta(hours=1), None) == 3600
    assert life(timedelta(days=30), None) == 7 * 86_400
    assert life(timedelta(days=1), timedelta(minutes=15)) == 900
    assert life(timedelta(days=1), timedelta(minutes=-1)) == 1


def test_keys_do_not_show() -> None:
    assert "secret" not in repr(SigningKeys("access", "secret", "secret"))


def request(scheme: str, token: str | None) -> Request:
    headers = [(b"authorization", token.encode())] if token else []
    return Request({"type": "http", "scheme": scheme, "path": "/", "headers": headers,
                    "server": ("mirror", 80)})  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "agent", "token", "scheme", "size", "fits"),
    [
        (PUBLIC, HUB, "Bearer t", "http", MIB, True),
        (PUBLIC, HUB, None, "http", MIB, True),
        (PUBLIC, HUB, None, "http", MIB - 1, False),
        (PUBLIC + ", redirect_above: 0", HUB, None, "http", 1, True),
        (PUBLIC, "curl/8", None, "http", MIB, True),
        (PUBLIC, "curl/8", "Bearer t", "http", MIB, False),
        (PUBLIC, "", "Bearer t", "http", MIB, False),
        (PUBLIC, HUB, None, "https", MIB, False),
        ("store_url: 'https://s3.example'", HUB, None, "https", MIB, True),
        ("", HUB, None, "http", MIB, False),
        ("redirect: never, " + PUBLIC, HUB, None, "http", MIB, False),
        ("redirect: always", "curl/8", "Bearer t", "http", MIB, True),
        ("redirect: always", HUB, None, "http", MIB - 1, False),
        ("redirect: always, " + PUBLIC, HUB, None, "https", MIB, True),
    ],
)
def test_only_clients_that_get_there_are_sent_to_the_bucket(
    settings: str, agent: str, token: str | None, scheme: str, size: int, *, fits: bool
) -> None:
    store = S3Store(BUCKET, endpoint="http://127.0.0.1:1", access_key="a", secret_key="b")
    with closing(store):
        links = Links(store, make_settings(settings))
        assert links.fits(request(scheme, token), parse_agent(agent), size) is fits


def test_a_host_that_is_none_does_no_harm() -> None:
    store = S3Store(BUCKET, endpoint="http://127.0.0.1:1", access_key="a", secret_key="b")
    asked = request("http", None)
    asked.scope["headers"] = [(b"host", b"[")]
    with closing(store):
        assert Links(store, make_settings(PUBLIC)).fits(asked, parse_agent(HUB), MIB)


def test_a_store_without_links_sends_the_bytes_itself(tmp_path: Path) -> None:
    for store in (MemoryStore(), LocalStore(tmp_path)):
        links = Links(store, make_settings("redirect: always"))
        assert not links.fits(request("http", None), parse_agent(HUB), 10 * MIB)
