"""Requests are signed as botocore signs them; links are compared in tests/gateway/test_links.py."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from sync_daemon.stores.s3_sign import EMPTY, SigningKeys, Site, make_url, sign_request

PATH = Site("http://S3.example:9000", "models", "eu-1")
VIRTUAL = Site("https://s3.example", "models", "eu-1", virtual=True)


def sign_by_botocore(
    keys: SigningKeys, method: str, url: str, headers: Mapping[str, str], body: bytes
) -> Mapping[str, str]:
    request = AWSRequest(method, url, data=body, headers=dict(headers))
    known = Credentials(keys.access_key, keys.secret_key, keys.token)
    S3SigV4Auth(known, "s3", "eu-1").add_auth(request)
    return dict(request.headers)


@pytest.mark.parametrize("site", [PATH, VIRTUAL])
@pytest.mark.parametrize("token", [None, "token/+="])
@pytest.mark.parametrize(
    ("method", "name", "query", "headers", "body"),
    [
        ("GET", None, {"list-type": "2", "prefix": "a/ü b+~%", "max-keys": "10"}, {}, b""),
        ("POST", "a/b", {"uploads": ""}, {"x-amz-checksum-algorithm": "CRC32C"}, b""),
        ("POST", "odd key/ü+~'(1)*!=&.bin", {"uploadId": "a+/=b"}, {}, b"<xml/>"),
        ("PUT", "a/b", {}, {"Content-MD5": "x==", "If-None-Match": "*"}, b"data"),
        ("DELETE", "a//b/../c", {}, {}, b""),
        ("PUT", "a", {}, {"If-Match": " x  y "}, b""),
    ],
)
def test_a_request_is_signed_as_botocore_signs_it(  # noqa: PLR0917 - a table
    site: Site,
    token: str | None,
    method: str,
    name: str | None,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    body: bytes,
) -> None:
    keys = SigningKeys("access", "secret", token)
    url = make_url(site, name, query)
    theirs = sign_by_botocore(keys, method, url, headers, body)
    now = datetime.strptime(theirs["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    payload = hashlib.sha256(body).hexdigest()
    ours = sign_request(keys, "eu-1", method, url, now=now, headers=headers, payload=payload)
    assert ours["Authorization"] == theirs["Authorization"]
    assert {key.lower(): value for key, value in ours.items()}.items() >= {
        key.lower(): value for key, value in theirs.items() if key.lower().startswith("x-amz-")
    }.items()


def test_a_range_may_be_changed_on_the_way() -> None:
    keys, now = SigningKeys("access", "secret"), datetime.now(UTC)
    url = make_url(PATH, "a", {})
    plain = sign_request(keys, "eu-1", "GET", url, now=now)
    ranged = sign_request(keys, "eu-1", "GET", url, now=now, headers={"Range": "bytes=0-1"})
    assert ranged == {**plain, "Range": "bytes=0-1"}
    assert plain["x-amz-content-sha256"] == EMPTY


def test_a_bucket_has_one_address_in_each_style() -> None:
    assert make_url(PATH, None, {}) == "http://s3.example:9000/models"
    assert make_url(PATH, "a/ b", {"x": ""}) == "http://s3.example:9000/models/a/%20b?x="
    assert make_url(VIRTUAL, None, {}) == "https://models.s3.example/"
    assert make_url(VIRTUAL, "a", {}) == "https://models.s3.example/a"
