"""Addresses, headers that cannot be sent, and servers that answer nonsense."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from sync_daemon.domain.errors import ConfigurationError, StoreRefused
from sync_daemon.stores.s3 import S3Store
from sync_daemon.stores.s3_errors import ForeignAnswer

KEYS = {"access_key": "access", "secret_key": "secret"}
MODIFIED = "Sat, 21 Nov 2026 10:00:00 GMT"
REGION = "set the store's region to the one of the bucket: eu-1"


def address(bucket: str, **options: Any) -> str:
    """Return where the store looks for an object."""
    store = S3Store(bucket, **KEYS, **options)
    url = store.link("k", endpoint=None, life=timedelta(hours=1), overrides={})
    return url.partition("?")[0]


@pytest.mark.parametrize(
    ("endpoint", "bucket", "expected"),
    [
        ("http://s3.example:9000", "mirror", "http://mirror.s3.example:9000/k"),
        ("https://s3.example/", "mirror", "https://mirror.s3.example/k"),
        ("http://s3.example", "my.bucket", "http://my.bucket.s3.example/k"),
        ("https://s3.example", "my.bucket", "https://s3.example/my.bucket/k"),
        ("https://s3.example", "My_Bucket", "https://s3.example/My_Bucket/k"),
        ("http://127.0.0.1:9000", "mirror", "http://127.0.0.1:9000/mirror/k"),
        ("http://[::1]:9000", "mirror", "http://[::1]:9000/mirror/k"),
    ],
)
def test_a_bucket_is_part_of_a_name_only_where_that_can_be(
    endpoint: str, bucket: str, expected: str
) -> None:
    """As boto3 has it: an address has no names below it, a certificate proves one label."""
    assert address(bucket, endpoint=endpoint, addressing="virtual") == expected


@pytest.mark.parametrize(
    ("bucket", "expected"),
    [
        ("mirror", "https://mirror.s3.eu-west-3.amazonaws.com/k"),
        ("my.bucket", "https://s3.eu-west-3.amazonaws.com/my.bucket/k"),
        ("My_Bucket", "https://s3.eu-west-3.amazonaws.com/My_Bucket/k"),
    ],
)
def test_a_bucket_of_aws_is_addressed_as_its_name_allows(
    monkeypatch: pytest.MonkeyPatch, bucket: str, expected: str
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    assert address(bucket, region="eu-west-3") == expected


@pytest.mark.parametrize(
    "endpoint", ["http://h:99999", "http://h:x", "http://m\u00fcnchen", "http://h/ x"]
)
def test_an_endpoint_that_cannot_be_is_refused_at_once(endpoint: str) -> None:
    with pytest.raises(ConfigurationError, match=r"store\.endpoint"):
        S3Store("mirror", endpoint=endpoint, **KEYS)


@pytest.mark.parametrize(
    "keys",
    [("line\nbreak", "secret"), ("\u20ac", "secret"), ("access", "not-\udcff-text")],
)
def test_keys_that_no_header_can_hold_are_refused_and_not_shown(keys: tuple[str, str]) -> None:
    store = S3Store("mirror", endpoint="http://127.0.0.1:9", access_key=keys[0], secret_key=keys[1])
    with pytest.raises(StoreRefused) as caught:
        store.get("key")
    told = "".join(traceback.format_exception(caught.value))
    assert "check the keys" in str(caught.value.hint)
    assert not [key for key in (*keys, "udcff", "u20ac") if key != "access" and key in told]


@pytest.mark.parametrize("etag", ["a\r\nX-Evil: 1", "\u20ac"])
def test_an_etag_that_no_header_can_hold_is_not_sent(etag: str) -> None:
    """A listing may hold anything."""
    store = S3Store(
        "mirror", endpoint="http://127.0.0.1:9", conditional_writes="on", checksum="md5", **KEYS
    )
    with pytest.raises(StoreRefused, match="cannot be sent"):
        store.put("key", b"data", if_match=etag)


@pytest.fixture
def serve() -> Iterator[Callable[..., S3Store]]:
    """Open a store at a server that gives one answer to everything."""
    with ExitStack() as stack:

        def answering(status: int, body: bytes = b"", **headers: str) -> S3Store:
            class Always(BaseHTTPRequestHandler):
                protocol_version = "HTTP/1.1"

                def answer(self) -> None:
                    self.rfile.read(int(self.headers.get("Content-Length") or 0))
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name.replace("_", "-"), value)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body if self.command != "HEAD" else b"")

                do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer  # noqa: N815

                def log_message(self, *_: object) -> None: ...

            http = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Always))
            threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
            stack.callback(http.shutdown)
            return S3Store("mirror", endpoint=f"http://127.0.0.1:{http.server_port}", **KEYS)

        yield answering


def page(name: str, content: str) -> bytes:
    return f'\ufeff<?xml version="1.0"?><{name}>{content}</{name}>'.encode()


NEXT = "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
ENTRY = (
    "<Contents><Key>k</Key><Size>1</Size><ETag>e</ETag>"
    "<LastModified>2026-11-21T10:00:00Z</LastModified></Contents>"
)


@pytest.mark.parametrize("server", ["MinIO", "SeaweedFS"])
@pytest.mark.parametrize("entry", ["", ENTRY])
def test_a_listing_that_never_ends_is_no_listing(
    serve: Callable[..., S3Store], server: str, entry: str
) -> None:
    store = serve(200, page("ListBucketResult", f"<Name>mirror</Name>{entry}{NEXT}"), Server=server)
    with pytest.raises(ForeignAnswer):
        list(store.list(""))


@pytest.mark.parametrize(
    "content",
    [ENTRY, "<Name>mirror</Name><IsTruncated>true</IsTruncated>", "<Name>mirror</Name><Contents/>"],
)
def test_a_listing_that_lacks_what_s3_gives_is_not_its_own(
    serve: Callable[..., S3Store], content: str
) -> None:
    with pytest.raises(ForeignAnswer):
        list(serve(200, page("ListBucketResult", content)).list(""))


def test_a_page_of_somebody_else_has_deleted_nothing(serve: Callable[..., S3Store]) -> None:
    with pytest.raises(ForeignAnswer):
        serve(200, b"<html><body>Welcome</body></html>").delete("key")
    serve(200).delete("key")
    serve(204).delete("key")


def test_parts_that_are_listed_for_ever_are_not_s3s(serve: Callable[..., S3Store]) -> None:
    part = ENTRY.replace("Contents>", "Part>").replace("<Key>k</Key>", "<PartNumber>1</PartNumber>")
    body = f"<UploadId>u</UploadId><IsTruncated>true</IsTruncated>{part}"
    with pytest.raises(ForeignAnswer):
        serve(200, page("ListPartsResult", body)).parts("key", "u")


def test_uploads_that_are_listed_for_ever_are_not_s3s(serve: Callable[..., S3Store]) -> None:
    body = (
        "<IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker>"
        "<NextUploadIdMarker>u</NextUploadIdMarker>"
    )
    with pytest.raises(ForeignAnswer):
        serve(200, page("ListMultipartUploadsResult", body)).unfinished()


@pytest.mark.parametrize(
    ("status", "code", "region"),
    [
        (301, "PermanentRedirect", {"x_amz_bucket_region": "eu-1"}),
        (307, "TemporaryRedirect", {"x_amz_bucket_region": "eu-1"}),
        (400, "AuthorizationHeaderMalformed", {}),
    ],
)
def test_a_wrong_region_is_told_with_the_right_one(
    serve: Callable[..., S3Store], status: int, code: str, region: dict[str, str]
) -> None:
    inside = "" if region else "<Region>eu-1</Region>"
    location = {"Location": "http://127.0.0.1:9/elsewhere"}
    store = serve(status, page("Error", f"<Code>{code}</Code>{inside}"), **region, **location)
    calls: tuple[Callable[[], object], ...] = (
        lambda: store.get("key"),
        lambda: store.open("key", 1, 2),
        lambda: list(store.list("")),
        lambda: store.delete("key"),
        store.capabilities,
    )
    for call in calls:
        with pytest.raises(StoreRefused, match="region") as caught:
            call()
        assert caught.value.hint == REGION
    if region:
        with pytest.raises(StoreRefused, match="another region"):
            store.stat("key")


def test_a_region_is_quoted_only_if_it_can_be_one(serve: Callable[..., S3Store]) -> None:
    store = serve(301, x_amz_bucket_region="eu-1\x1b[2J and more")
    with pytest.raises(StoreRefused, match="another region") as caught:
        store.get("key")
    assert caught.value.hint == REGION.partition(":")[0]


def test_close_leaves_no_connection_behind(serve: Callable[..., S3Store]) -> None:
    """Those of patient requests included."""
    store = serve(200, page("CopyObjectResult", "<ETag>e</ETag>"), ETag="e", Last_Modified=MODIFIED)
    store.copy("source", "target")
    pools = (store._link._http, store._link._patient_http)
    assert [len(pool._pool) for pool in pools] == [1, 1]
    store.close()
    assert [len(pool._pool) for pool in pools] == [0, 0]
