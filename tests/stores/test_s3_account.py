"""Keys, region and endpoint: what is said is taken, and boto3 finds the rest."""

from __future__ import annotations

import socket
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sync_daemon.domain.errors import ConfigurationError, StoreRefused, StoreUnavailable
from sync_daemon.stores.s3_account import Account
from sync_daemon.stores.s3_sign import SigningKeys
from tests.support.servers import S3Server

PROFILES = """
[default]
aws_access_key_id = access-3
aws_secret_access_key = secret-3
aws_session_token = token-3
[other]
aws_access_key_id = access-4
aws_secret_access_key = secret-4
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing is known: no keys, no profiles, no metadata service."""
    for name in (
        "ACCESS_KEY_ID",
        "SECRET_ACCESS_KEY",
        "SESSION_TOKEN",
        "SECURITY_TOKEN",
        "PROFILE",
    ):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    for name in ("CREDENTIAL_EXPIRATION", "DEFAULT_REGION", "ENDPOINT_URL", "ENDPOINT_URL_S3"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


def test_given_keys_are_taken_and_never_shown(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AWS_ACCESS_KEY_ID", "access-2")
    environment.setenv("AWS_SECRET_ACCESS_KEY", "secret-2")
    found = Account("s3://b", access_key="access-1", secret_key="secret-1").keys()
    assert found == SigningKeys("access-1", "secret-1", source="the configuration")
    assert "access-1" not in repr(found)
    assert "secret-1" not in repr(found)


def test_without_any_keys_it_is_said_what_to_do() -> None:
    with pytest.raises(StoreRefused, match="s3://b: no credentials were found") as caught:
        Account("s3://b").keys()
    assert "AWS_ACCESS_KEY_ID" in str(caught.value.hint)


@pytest.mark.parametrize("token", [None, "token-2"])
def test_keys_of_the_environment_come_with_their_token(
    environment: pytest.MonkeyPatch, token: str | None
) -> None:
    environment.setenv("AWS_ACCESS_KEY_ID", "access-2")
    environment.setenv("AWS_SECRET_ACCESS_KEY", "secret-2")
    if token:
        environment.setenv("AWS_SESSION_TOKEN", token)
    found = Account("s3://b").keys()
    assert found == SigningKeys("access-2", "secret-2", token, source="the environment")


def test_half_of_the_keys_is_refused(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AWS_ACCESS_KEY_ID", "access-2")
    with pytest.raises(StoreRefused, match="AWS_SECRET_ACCESS_KEY"):
        Account("s3://b").keys()


@pytest.mark.parametrize(("profile", "number"), [("default", "3"), ("other", "4")])
def test_keys_of_a_profile_are_found(
    environment: pytest.MonkeyPatch, tmp_path: Path, profile: str, number: str
) -> None:
    (tmp_path / "credentials").write_text(PROFILES)
    environment.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    environment.setenv("AWS_PROFILE", profile)
    found = Account("s3://b").keys()
    assert (found.access_key, found.secret_key) == (f"access-{number}", f"secret-{number}")
    assert found.token == ("token-3" if number == "3" else None)
    assert found.source == "boto3 (shared-credentials-file)"


def test_an_unknown_profile_is_refused(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AWS_PROFILE", "absent")
    with pytest.raises(StoreRefused, match="absent"):
        Account("s3://b").keys()


ROLE = """
[default]
aws_access_key_id = access-5
aws_secret_access_key = secret-5
[profile role]
role_arn = arn:aws:iam::123456789012:role/mirror
source_profile = default
region = eu-west-3
"""


def test_keys_of_a_role_end_and_its_service_may_be_away(
    environment: pytest.MonkeyPatch, tmp_path: Path, moto_server: S3Server
) -> None:
    (tmp_path / "config").write_text(ROLE)
    environment.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    environment.setenv("AWS_PROFILE", "role")
    environment.setenv("AWS_ENDPOINT_URL_STS", moto_server.endpoint)
    found = Account("s3://b").keys()
    assert (found.source, bool(found.token)) == ("boto3 (assume-role)", True)
    assert found.until is not None
    assert found.until > datetime.now(UTC)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        environment.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        environment.setenv("AWS_MAX_ATTEMPTS", "1")
        with pytest.raises(StoreUnavailable, match="EndpointConnectionError") as caught:
            Account("s3://b").keys()
    assert "STS" in str(caught.value.hint)


def test_the_region_is_the_one_that_is_said_first(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The YAML's, the environment's, a profile's, and S3's own."""
    assert Account("s3://b").region == "us-east-1"
    (tmp_path / "config").write_text("[default]\nregion = eu-north-1\n")
    environment.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert Account("s3://b").region == "eu-north-1"
    environment.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    assert Account("s3://b").region == "eu-west-3"
    assert Account("s3://b", region="eu-south-2").region == "eu-south-2"


def test_the_endpoint_of_a_region_is_the_one_that_boto3_knows(
    environment: pytest.MonkeyPatch,
) -> None:
    assert Account("s3://b", endpoint="http://h:1").endpoint == "http://h:1"
    known = Account("s3://b", region="eu-west-3").endpoint
    assert known == "https://s3.eu-west-3.amazonaws.com"
    assert Account("s3://b", region="cn-north-1").endpoint.endswith(".amazonaws.com.cn")
    environment.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000")
    assert Account("s3://b").endpoint == "http://127.0.0.1:9000"


def test_a_region_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="s3://b: the S3 client cannot be set up"):
        _ = Account("s3://b", region="a b").endpoint


def profile_of_a_program(
    environment: pytest.MonkeyPatch, folder: Path, answer: str, *, before: str = ""
) -> Path:
    """Let a profile's program give the keys; return the file where it leaves a line each time."""
    runs, program = folder / "runs", folder / "program"
    program.write_text(f"#!/bin/sh\necho >> {runs}\n{before}\ncat <<'END'\n{answer}\nEND\n")
    program.chmod(0o700)
    (folder / "config").write_text(f"[default]\ncredential_process = {program}\n")
    environment.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    return runs


KEYS = '{"Version": 1, "AccessKeyId": "access-6", "SecretAccessKey": "secret-6"}'


def test_keys_of_a_program_are_found_once_by_many_threads(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runs = profile_of_a_program(environment, tmp_path, KEYS, before="sleep 0.2")
    account = Account("s3://b")
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: account.keys(), range(16)))
    assert {keys.access_key for keys in found} == {"access-6"}
    assert runs.read_text() == "\n"


@pytest.mark.parametrize("answer", ["secret-6", "[]", '{"Version": 1, "secret-6": 2}'])
def test_a_program_that_answers_nonsense_is_refused_and_not_quoted(
    environment: pytest.MonkeyPatch, tmp_path: Path, answer: str
) -> None:
    profile_of_a_program(environment, tmp_path, answer)
    with pytest.raises(StoreRefused, match="s3://b: no credentials") as caught:
        Account("s3://b").keys()
    assert "secret-6" not in "".join(traceback.format_exception(caught.value))


def test_keys_that_have_ended_are_refused(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AWS_ACCESS_KEY_ID", "access-2")
    environment.setenv("AWS_SECRET_ACCESS_KEY", "secret-2")
    environment.setenv("AWS_CREDENTIAL_EXPIRATION", "2020-01-01T00:00:00Z")
    with pytest.raises(StoreRefused, match="expired"):
        Account("s3://b").keys()


def test_a_missing_file_of_credentials_is_no_missing_object(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A store takes FileNotFoundError for an object that is not there."""
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {tmp_path}/absent\n")
    environment.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with pytest.raises(StoreRefused, match="absent"):
        Account("s3://b").keys()
    environment.setenv("AWS_CONFIG_FILE", "/nonexistent")
    environment.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "no-token"))
    environment.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/mirror")
    environment.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    with pytest.raises(StoreRefused, match="no-token"):
        Account("s3://b").keys()


def test_where_keys_are_given_nobody_looks_for_others_to_find_the_endpoint(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runs = profile_of_a_program(environment, tmp_path, KEYS)
    account = Account("s3://b", region="eu-west-3", access_key="a", secret_key="s")
    assert account.endpoint == "https://s3.eu-west-3.amazonaws.com"
    assert not runs.exists()


def test_the_endpoint_is_the_one_that_requests_go_to(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of FIPS in us-east-1, boto3's client names one that does not exist."""
    environment.setenv("AWS_ENDPOINT_URL", "https://proxy.example/base/")
    assert Account("s3://b").endpoint == "https://proxy.example/base"
    environment.delenv("AWS_ENDPOINT_URL")
    environment.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    assert Account("s3://b").endpoint == "https://s3-fips.us-east-1.amazonaws.com"
    environment.delenv("AWS_USE_FIPS_ENDPOINT")
    (tmp_path / "config").write_text("[default]\ns3 =\n  use_accelerate_endpoint = true\n")
    environment.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert Account("s3://b").endpoint.rstrip("/") == "https://s3-accelerate.amazonaws.com"


def test_the_old_name_of_the_token_counts_as_it_does_for_boto3(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("AWS_ACCESS_KEY_ID", "access-2")
    environment.setenv("AWS_SECRET_ACCESS_KEY", "secret-2")
    environment.setenv("AWS_SECURITY_TOKEN", "token-2")
    assert Account("s3://b").keys().token == "token-2"
