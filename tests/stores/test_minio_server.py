"""MinIO's administration: its answers read, its refusals translated; the rest is `test_store`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from minio.error import MinioAdminException
from urllib3.exceptions import ReadTimeoutError

from sync_daemon.domain.administration import Account, UploadRules
from sync_daemon.domain.errors import StoreRefused, StoreUnavailable
from sync_daemon.ports import StoreCapacity
from sync_daemon.stores.minio_server import MinioServer, write_length
from sync_daemon.stores.minio_space import find_capacity

RULES = "api requests_max=0 stale_uploads_cleanup_interval=6h stale_uploads_expiry=24h gzip=off \n"
DRIVE = {"totalspace": 1000, "usedspace": 400, "availspace": 600}


class Sdk:
    """A `MinioAdmin` that gives prepared answers, or raises them."""

    def __init__(self, **answers: Any) -> None:
        self._answers = answers
        self.given: dict[str, Mapping[str, Any]] = {}

    def __getattr__(self, name: str) -> Any:
        def answer(*args: Any, **options: Any) -> Any:
            self.given[name] = options
            found = self._answers[name]
            if isinstance(found, Exception):
                raise found
            return found if isinstance(found, str) else json.dumps(found)

        return answer


def refusal(code: str, status: str = "403") -> MinioAdminException:
    return MinioAdminException(status, json.dumps({"Code": code, "Message": "hush", "HostId": "x"}))


def info(drives: int, parity: int) -> dict[str, Any]:
    backend = {"standardSCParity": parity, "totalDrivesPerSet": [drives]}
    return {"backend": backend, "servers": [{"drives": [DRIVE] * drives}]}


def test_the_environment_of_the_server_decides_before_its_settings() -> None:
    text = f"# MINIO_API_STALE_UPLOADS_EXPIRY=40h\n{RULES}"
    hours, sweep = timedelta(hours=40), timedelta(hours=6)
    assert MinioServer(Sdk(config_get=text)).upload_rules() == UploadRules(hours, sweep, fixed=True)
    day = timedelta(hours=24)
    assert MinioServer(Sdk(config_get=RULES)).upload_rules() == UploadRules(day, sweep)
    assert MinioServer(Sdk(config_get="api x=1")).upload_rules() == UploadRules(None, None)


def test_only_what_is_given_is_set() -> None:
    sdk = Sdk(config_set="")
    MinioServer(sdk).set_upload_rules(UploadRules(timedelta(days=30), None))
    assert sdk.given["config_set"]["config"] == {"stale_uploads_expiry": "720h"}


def test_a_length_that_is_no_whole_hour_is_written_in_seconds() -> None:
    assert write_length(timedelta(minutes=90)) == "5400s"


@pytest.mark.parametrize(
    ("quota", "usage", "room"),
    [
        (0, {}, StoreCapacity(3000, 1200, 1800)),
        (9000, {}, StoreCapacity(3000, 1200, 1800)),
        (1000, {}, StoreCapacity(1000, None, 1000)),
        (1000, {"b": {"size": 300}}, StoreCapacity(1000, 300, 700)),
        (1000, {"b": {"size": 1100}}, StoreCapacity(1000, 1100, 0)),
        (2500, {"b": {"size": 100}}, StoreCapacity(2500, 100, 1800)),
    ],
)
def test_the_room_is_that_of_the_drives_or_of_the_quota(
    quota: int, usage: dict[str, Any], room: StoreCapacity
) -> None:
    answers: dict[str, Any] = {
        "info": info(4, 1),
        "get-bucket-quota": {"quota": quota},
        "datausageinfo": {"bucketsUsageInfo": usage or None},
    }
    assert find_capacity(lambda question, **_: answers[question], "b") == room


def test_drives_that_say_nothing_have_no_room() -> None:
    with pytest.raises(StoreRefused, match="no drive"):
        MinioServer(Sdk(info={"servers": []})).space()


def test_an_account_is_read_with_all_that_gives_it_rights() -> None:
    answer = {"policyName": "a,b", "memberOf": ["staff"], "status": "disabled"}
    found = MinioServer(Sdk(user_info=answer)).account("team")
    assert found == Account(frozenset({"a", "b"}), frozenset({"staff"}), enabled=False)
    bare = MinioServer(Sdk(user_info={"status": "enabled"})).account("team")
    assert bare == Account(frozenset())


def test_what_is_not_there_is_no_error() -> None:
    unknown = MinioServer(
        Sdk(
            user_info=refusal("XMinioAdminNoSuchUser", "404"),
            policy_info=refusal("XMinioAdminNoSuchPolicy", "404"),
            attach_policy=refusal("XMinioAdminPolicyChangeAlreadyApplied", "400"),
        )
    )
    assert unknown.account("team") is None
    assert unknown.policy("p") is None
    unknown.attach("team", "p")


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (refusal("AccessDenied"), StoreRefused, "no administration rights"),
        (refusal("XMinioIAMActionNotAllowed"), StoreRefused, "another kind of account"),
        (refusal("XMinioSomethingNew"), StoreRefused, "XMinioSomethingNew"),
        (MinioAdminException("502", "<html>"), StoreRefused, "without a reason"),
        (UnboundLocalError("response"), StoreRefused, "no administration rights"),
        (ReadTimeoutError(None, "/", "slow"), StoreUnavailable, "no answer"),  # type: ignore[arg-type]
        (ValueError("cannot decrypt"), StoreUnavailable, "not its answer"),
    ],
)
def test_a_refusal_is_told_by_its_code_alone(
    error: Exception, kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said) as caught:
        MinioServer(Sdk(config_get=error)).upload_rules()
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("answer", ["<html>", "[1]", ""])
def test_what_is_no_answer_of_minio_is_found_out(answer: str) -> None:
    with pytest.raises(StoreUnavailable, match="not its answer"):
        MinioServer(Sdk(bucket_quota_get=answer)).quota("b")
