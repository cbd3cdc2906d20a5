"""The table of what a server's refusals mean."""

from __future__ import annotations

import pytest

from sync_daemon.domain.errors import (
    PreconditionFailed,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
    UploadGone,
)
from sync_daemon.stores.s3_errors import parse_refusal, translate

REFUSED = (
    (403, "AccessDenied"),
    (403, "InvalidAccessKeyId"),
    (403, "SignatureDoesNotMatch"),
    (403, "RequestTimeTooSkewed"),
    (404, "NoSuchBucket"),
    (400, "ExpiredToken"),
    (301, "PermanentRedirect"),
    (400, "AuthorizationHeaderMalformed"),
    (400, "EntityTooLarge"),
    (400, "EntityTooSmall"),
    (400, "XMinioInvalidObjectName"),
)


def answer(status: int, code: str, **headers: str) -> Exception:
    """Return what an answer with this status and code becomes."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Key>k</Key></Error>".encode()
    retry, region = headers.get("retry_after"), headers.get("region")
    return translate(parse_refusal(status, body, retry, region), "key")


@pytest.mark.parametrize(("status", "code"), REFUSED)
def test_what_will_be_refused_again_is_refused_with_a_hint(status: int, code: str) -> None:
    error = answer(status, code)
    assert type(error) is StoreRefused
    assert error.hint
    assert "key" in str(error)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (500, "InternalError"),
        (502, ""),
        (503, "SlowDown"),
        (503, "ServiceUnavailable"),
        (504, ""),
        (429, "TooManyRequests"),
        (400, "RequestTimeout"),
        (400, "BadDigest"),
        (400, "XAmzContentChecksumMismatch"),
    ],
)
def test_what_can_heal_is_unavailable(status: int, code: str) -> None:
    assert isinstance(answer(status, code), StoreUnavailable)


@pytest.mark.parametrize(
    ("status", "code"),
    [(507, "XMinioStorageFull"), (507, ""), (403, "QuotaExceeded")],
)
def test_a_full_store_is_full_and_not_only_busy(status: int, code: str) -> None:
    assert isinstance(answer(status, code), StoreFull)


def test_missing_things_have_errors_of_their_own() -> None:
    assert isinstance(answer(404, "NoSuchKey"), FileNotFoundError)
    assert isinstance(answer(404, "NoSuchUpload"), UploadGone)
    assert isinstance(answer(412, "PreconditionFailed"), PreconditionFailed)


def test_a_head_without_a_body_is_understood() -> None:
    ours = parse_refusal(404, b"", None, None, request_id="1")
    assert isinstance(translate(ours, "key"), FileNotFoundError)
    proxys = parse_refusal(404, b"<h1>default backend</h1>", None, None)
    assert isinstance(translate(proxys, "key"), StoreUnavailable), "absent is what S3 says"
    assert isinstance(translate(parse_refusal(403, b"", None, None), "key"), StoreRefused)
    assert isinstance(translate(parse_refusal(503, b"", None, None), "key"), StoreUnavailable)


def test_the_server_may_say_when_to_come_back() -> None:
    error = answer(503, "SlowDown", retry_after="7")
    assert isinstance(error, StoreUnavailable)
    assert error.retry_after == 7


def test_the_hint_names_the_region_that_the_server_names() -> None:
    error = answer(301, "PermanentRedirect", region="eu-west-3")
    assert isinstance(error, StoreRefused)
    assert "eu-west-3" in str(error.hint)


def test_a_body_that_is_no_error_document_does_no_harm() -> None:
    refusal = parse_refusal(400, b"<html><Code>a b</Code>\xff" * 100, "soon", None)
    assert (refusal.code, refusal.retry_after) == ("", None)
    assert isinstance(translate(refusal, "key"), StoreRefused)
