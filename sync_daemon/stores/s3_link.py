"""One bucket, spoken to in two ways: boto3 for control, presigned requests for the bytes.

boto3 copies and hashes bodies; a presigned request leaves from the caller's buffer as it
is and costs a fifth. Every answer of either way is counted, timed by the server's clock
and, when it is an error, translated by one table.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from botocore.loaders import Loader

from sync_daemon import __version__, meter
from sync_daemon.domain.errors import ConfigurationError, StoreRefused
from sync_daemon.ports import Buffer
from sync_daemon.stores.s3_checksums import NONE, Checksum
from sync_daemon.stores.s3_errors import (
    Refusal,
    foreign,
    parse_refusal,
    refusal_of,
    translate,
    translate_boto,
)
from sync_daemon.stores.s3_sign import SigningKeys, Site, sign_link
from sync_daemon.wire import Http, Response
from sync_daemon.wire.places import place_of
from sync_daemon.wire.proxies import Proxies
from sync_daemon.wire.trust import certificate_file

Addressing = Literal["auto", "path", "virtual"]

_URL_LIFE = 900
"""Seconds that a presigned URL is good for: it is used at once."""
PATIENCE = 300.0
"""Seconds to wait for a server that puts parts together or copies."""
_METHODS = MappingProxyType(
    {"put_object": "PUT", "upload_part": "PUT", "get_object": "GET", "head_object": "HEAD"}
)
_OK = 300
_AWS = "https://s3.amazonaws.com"


@dataclass(frozen=True, slots=True)
class Access:
    """How a bucket is reached. Timeouts in seconds."""

    bucket: str
    prefix: str
    endpoint: str | None
    region: str | None
    addressing: Addressing
    ca_file: str | None
    connections: int
    connect_timeout: float
    read_timeout: float
    patience: float = PATIENCE
    proxy: str | None = None


class _OnlyS3(Loader):
    """Loads what botocore knows of S3 without walking the folders of 400 other services first:
    half of the time that it takes to make a client."""

    def list_available_services(self, type_name: str) -> list[str]:
        """Return the one that is asked for."""
        del type_name
        return ["s3"]


class Link:
    """Requests to one bucket, from any number of threads."""

    def __init__(self, access: Access, access_key: str | None, secret_key: str | None) -> None:
        _check_endpoint(access.endpoint)
        self.access = access
        self.prefix = f"{access.prefix.strip('/')}/" if access.prefix.strip("/") else ""
        self.url = f"s3://{access.bucket}/{self.prefix}".rstrip("/")
        self._session = self._open_session(access_key, secret_key)
        self._client = self._open_client(access.read_timeout)
        self._http = Http(
            "store",
            connect_timeout=access.connect_timeout,
            read_timeout=access.read_timeout,
            ca_file=access.ca_file,
            proxy=access.proxy,
            idle=access.connections,
        )
        self._seen: tuple[datetime, float] | None = None

    @property
    def region(self) -> str:
        """The region that requests are signed for."""
        return self._session.region_name or "us-east-1"

    def call(self, operation: str, key: str | None = None, **params: Any) -> dict[str, Any]:
        """Call one of boto3's operations on the bucket, or on one of its keys.

        Raises what the port promises for every answer that is no success.
        """
        return self._expect(self._ask(self._client, operation, key, params), key)

    def call_patiently(
        self, operation: str, key: str | None = None, **params: Any
    ) -> dict[str, Any]:
        """Call an operation that may keep the server busy for minutes."""
        return self._expect(self._ask(self._patient_client, operation, key, params), key)

    def ask(
        self, operation: str, key: str | None = None, **params: Any
    ) -> dict[str, Any] | Refusal:
        """Call an operation whose refusal is an answer too."""
        return self._ask(self._client, operation, key, params)

    def deliver(
        self,
        operation: str,
        key: str,
        *,
        params: Mapping[str, Any] = MappingProxyType({}),
        headers: Mapping[str, str] = MappingProxyType({}),
        checksum: Checksum = NONE,
        body: Buffer | None = None,
    ) -> Response:
        """Send a presigned request. Raises what the port promises for refusals."""
        response = self.send(
            operation, key, params=params, headers=headers, checksum=checksum, body=body
        )
        if response.status < _OK:
            return response
        raise translate(read_refusal(response), key)

    def send(
        self,
        operation: str,
        key: str,
        *,
        params: Mapping[str, Any] = MappingProxyType({}),
        headers: Mapping[str, str] = MappingProxyType({}),
        checksum: Checksum = NONE,
        body: Buffer | None = None,
    ) -> Response:
        """Send a presigned request, `body` as it lies there; return whatever answer comes."""
        signed = {**params, **checksum.params, "Bucket": self.access.bucket, "Key": self.name(key)}
        try:
            url = self._client.generate_presigned_url(operation, Params=signed, ExpiresIn=_URL_LIFE)
        except BotoCoreError as error:
            raise translate_boto(error, key) from error
        response = self._http.request(
            _METHODS[operation], url, headers={**headers, **checksum.headers}, body=body
        )
        self._note_time(response.headers.get("Date"))
        return response

    def sign(
        self, key: str, endpoint: str | None, life: timedelta, overrides: Mapping[str, str]
    ) -> str:
        """Return a URL to GET an object, for somebody who reaches the store at `endpoint`."""
        keys = self._signing_keys()
        where = endpoint or self.access.endpoint
        site = Site(
            endpoint=where or f"https://s3.{self.region}.amazonaws.com",
            bucket=self.access.bucket,
            region=self.region,
            virtual=self._is_virtual(),
        )
        now = datetime.now(UTC)
        return sign_link(site, keys, self.name(key), life=life, now=now, overrides=overrides)

    def _is_virtual(self) -> bool:
        """Tell whether the bucket is part of the host's name, as boto3 decides it."""
        access = self.access
        if access.addressing == "auto":
            return access.endpoint is None and "." not in access.bucket
        return access.addressing == "virtual"

    def _signing_keys(self) -> SigningKeys:
        try:
            found = self._session.get_credentials()
            frozen = found.get_frozen_credentials() if found else None
        except BotoCoreError as error:
            raise translate_boto(error, self.url) from error
        if frozen is None:
            raise translate_boto(NoCredentialsError(), self.url)
        # botocore names no public way to learn when temporary keys end.
        until = getattr(found, "_expiry_time", None)
        return SigningKeys(frozen.access_key, frozen.secret_key, frozen.token, until)

    def name(self, key: str) -> str:
        """Return the key inside the bucket."""
        return self.prefix + key

    def now(self) -> datetime:
        """Return the server's clock: its latest answer, and the time that has passed since."""
        if self._seen is None:
            # A refusal has a date as well: a key may lack the right to HeadBucket.
            self.ask("head_bucket")
        if self._seen is None:
            message = f"{self.url}: the store's answers have no Date header"
            raise StoreRefused(message, hint="locks need the store's clock: fix the proxy between")
        moment, at = self._seen
        return moment + timedelta(seconds=_elapsed() - at)

    def close(self) -> None:
        """Close the idle connections."""
        self._http.close()
        self._client.close()

    def _ask(
        self, client: Any, operation: str, key: str | None, params: dict[str, Any]
    ) -> dict[str, Any] | Refusal:
        if key is not None:
            params["Key"] = self.name(key)
        try:
            answer: dict[str, Any] = getattr(client, operation)(Bucket=self.access.bucket, **params)
        except ClientError as error:
            return refusal_of(error)
        except BotoCoreError as error:
            raise translate_boto(error, key or self.url) from error
        return answer

    def _expect(self, answer: dict[str, Any] | Refusal, key: str | None) -> dict[str, Any]:
        if isinstance(answer, Refusal):
            raise translate(answer, key or self.url)
        return answer

    def _note_time(self, date: str | None) -> None:
        try:
            moment = parsedate_to_datetime(date or "")
        except ValueError:
            return
        # The header's zone is always GMT, which the parser may leave out.
        self._seen = (moment.replace(tzinfo=UTC), _elapsed())

    def _note_answer(self, parsed: dict[str, Any], **_: object) -> None:
        headers = parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        self._note_time(headers.get("date"))

    def _open_session(self, access_key: str | None, secret_key: str | None) -> Any:
        known = botocore.session.Session()
        known.register_component("data_loader", _OnlyS3())
        try:
            return boto3.session.Session(
                aws_access_key_id=access_key,
                aws_secret_access_key=secret_key,
                region_name=self.access.region,
                botocore_session=known,
            )
        except BotoCoreError as error:
            raise translate_boto(error, self.url) from error

    @cached_property
    def _patient_client(self) -> Any:
        return self._open_client(max(self.access.patience, self.access.read_timeout))

    def _open_client(self, read_timeout: float) -> Any:
        access = self.access
        style = access.addressing
        if style == "auto" and access.endpoint:
            style = "path"
        config = Config(
            signature_version="s3v4",
            retries={"total_max_attempts": 1, "mode": "standard"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": style, "payload_signing_enabled": False},
            max_pool_connections=access.connections,
            connect_timeout=access.connect_timeout,
            read_timeout=read_timeout,
            user_agent_extra=f"sync-daemon/{__version__}",
            proxies=find_proxies(access.endpoint, access.proxy),
        )
        try:
            client = self._session.client(
                "s3",
                endpoint_url=access.endpoint,
                region_name=self.region,
                verify=certificate_file(access.ca_file),
                config=config,
            )
        except (BotoCoreError, ValueError) as error:
            message = f"{self.url}: the S3 client cannot be set up: {error}"
            raise ConfigurationError(
                message, hint="check store.endpoint and store.region"
            ) from error
        client.meta.events.register("before-send.s3", _count)
        client.meta.events.register("after-call.s3", self._note_answer)
        return client


def find_proxies(endpoint: str | None, setting: str | None) -> dict[str, str]:
    """Return the proxy that leads to the endpoint, as boto3 wants it; AWS stands for none."""
    found = Proxies(setting).find(place_of(endpoint or _AWS))
    return {"http": found.url, "https": found.url} if found else {}


def read_refusal(response: Response) -> Refusal:
    """Read an answer that is no success, to its end."""
    with response:
        body = response.read()
    headers = response.headers
    return parse_refusal(
        response.status,
        body,
        headers.get("Retry-After"),
        headers.get("x-amz-bucket-region"),
        request_id=headers.get("x-amz-request-id") or headers.get("x-amzn-requestid"),
    )


def given(answer: Mapping[str, Any], name: str, subject: str) -> Any:
    """Return what S3 always answers; where it is missing, somebody else has answered."""
    if not answer.get(name):
        raise foreign(subject)
    return answer[name]


def _count(**_: object) -> None:
    meter.count("store")


def _elapsed() -> float:
    """Return seconds that also pass while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _check_endpoint(endpoint: str | None) -> None:
    if endpoint is None:
        return
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        message = "store.endpoint must be http(s)://host[:port], without credentials"
        raise ConfigurationError(message)
