"""Signed requests to one bucket.

Small ones are signed with their body, their answers are read whole and as XML. Bytes leave from
the caller's buffer as it is, unsigned but for their checksum, and are read into his. Every answer
is timed by the server's clock and, when it is an error, translated by one table.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property
from http.client import HTTPMessage
from ipaddress import ip_address
from types import MappingProxyType
from typing import Literal
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element

from sync_daemon.domain.errors import ConfigurationError, StoreRefused, StoreUnavailable
from sync_daemon.ports import Buffer
from sync_daemon.stores.s3_account import Account
from sync_daemon.stores.s3_checksums import NONE, Checksum
from sync_daemon.stores.s3_errors import Refusal, foreign, parse_refusal, translate
from sync_daemon.stores.s3_sign import UNSIGNED, Site, make_url, sign_link, sign_request
from sync_daemon.stores.s3_xml import parse_document
from sync_daemon.wire import Http, Response
from sync_daemon.wire.places import parse_url

Addressing = Literal["auto", "path", "virtual"]

PATIENCE = 300.0
"""Seconds to wait for a server that puts parts together or copies."""
SUCCESS = range(200, 300)
_NOTHING: Mapping[str, str] = MappingProxyType({})
_WRITING = frozenset({"PUT", "POST"})
_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_LABELS = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PIECE = 64 * 1024
_ODD = "check the keys (no line breaks, no letters beyond ASCII) and store.endpoint"
_LONGEST = 64 * 1024**2
"""Bytes of an answer in XML: a page of 1,000 keys takes 2 MB at most."""


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


@dataclass(frozen=True, slots=True)
class Answer:
    """A success. The document is empty where none came."""

    headers: HTTPMessage
    document: Element


class Link:
    """Requests to one bucket, from any number of threads."""

    def __init__(self, access: Access, access_key: str | None, secret_key: str | None) -> None:
        _check_endpoint(access.endpoint)
        self.access = access
        self.prefix = f"{access.prefix.strip('/')}/" if access.prefix.strip("/") else ""
        self.url = f"s3://{access.bucket}/{self.prefix}".rstrip("/")
        self._account = Account(
            self.url,
            endpoint=access.endpoint,
            region=access.region,
            access_key=access_key,
            secret_key=secret_key,
        )
        self._http = self._open(access.read_timeout)
        self._patient_http = self._open(max(access.patience, access.read_timeout))
        self._seen: tuple[datetime, float] | None = None

    @property
    def region(self) -> str:
        """The region that requests are signed for."""
        return self._account.region

    def call(
        self,
        method: str,
        key: str | None = None,
        *,
        query: Mapping[str, str] = _NOTHING,
        headers: Mapping[str, str] = _NOTHING,
        body: bytes = b"",
        patient: bool = False,
    ) -> Answer:
        """Ask, and raise what the port promises for every answer that is no success."""
        answer = self.ask(method, key, query=query, headers=headers, body=body, patient=patient)
        if isinstance(answer, Refusal):
            raise translate(answer, key or self.url)
        return answer

    def ask(
        self,
        method: str,
        key: str | None = None,
        *,
        query: Mapping[str, str] = _NOTHING,
        headers: Mapping[str, str] = _NOTHING,
        body: bytes = b"",
        patient: bool = False,
    ) -> Answer | Refusal:
        """Send a small request about a key, or the bucket; a refusal is an answer too.

        `patient`: the server may be busy with it for minutes.
        """
        http = self._patient_http if patient else self._http
        payload = hashlib.sha256(body).hexdigest()
        # What writes is not repeated unasked: a conditional write would lose against itself.
        repeat = method not in _WRITING
        response = self._request(
            http,
            method,
            key,
            query=query,
            headers=headers,
            payload=payload,
            body=body or None,
            repeat=repeat,
        )
        if response.status not in SUCCESS:
            return read_refusal(response, repeat=repeat)
        with response:
            data = read_body(response, _LONGEST)
        if len(data) > _LONGEST:
            raise foreign(key or self.url)
        document = parse_document(data, key or self.url) if data.strip() else Element("")
        if document.tag == "Error":  # a success was begun before it failed
            return parse_refusal(500, data, None, None)
        return Answer(response.headers, document)

    def deliver(
        self,
        method: str,
        key: str,
        *,
        query: Mapping[str, str] = _NOTHING,
        headers: Mapping[str, str] = _NOTHING,
        checksum: Checksum = NONE,
        body: Buffer | None = None,
    ) -> Response:
        """Do what `send` does. Raises what the port promises for refusals."""
        response = self.send(
            method, key, query=query, headers=headers, checksum=checksum, body=body
        )
        if response.status in SUCCESS:
            return response
        raise translate(read_refusal(response), key)

    def send(
        self,
        method: str,
        key: str,
        *,
        query: Mapping[str, str] = _NOTHING,
        headers: Mapping[str, str] = _NOTHING,
        checksum: Checksum = NONE,
        body: Buffer | None = None,
    ) -> Response:
        """Send a request with `body` as it lies there; return whatever answer comes."""
        fields = {**headers, **checksum.headers}
        return self._request(
            self._http, method, key, query=query, headers=fields, payload=UNSIGNED, body=body
        )

    def sign(
        self, key: str, endpoint: str | None, life: timedelta, overrides: Mapping[str, str]
    ) -> str:
        """Return a URL to GET an object, for somebody who reaches the store at `endpoint`."""
        site = self._site
        if endpoint:
            site = Site(endpoint, site.bucket, site.region, virtual=site.virtual)
        keys, now = self._account.keys(), datetime.now(UTC)
        return sign_link(site, keys, self.name(key), life=life, now=now, overrides=overrides)

    def name(self, key: str) -> str:
        """Return the key inside the bucket."""
        return self.prefix + key

    def now(self) -> datetime:
        """Return the server's clock: its latest answer, and the time that has passed since."""
        if self._seen is None:
            # A refusal has a date as well: a key may lack the right to HeadBucket.
            self.ask("HEAD")
        if self._seen is None:
            message = f"{self.url}: the store's answers have no Date header"
            raise StoreRefused(message, hint="locks need the store's clock: fix the proxy between")
        moment, at = self._seen
        return moment + timedelta(seconds=_elapsed() - at)

    def close(self) -> None:
        """Close the idle connections."""
        self._http.close()
        self._patient_http.close()

    def _request(
        self,
        http: Http,
        method: str,
        key: str | None,
        *,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        payload: str,
        body: Buffer | None,
        repeat: bool = True,
    ) -> Response:
        keys = self._account.keys()
        try:
            url = make_url(self._site, None if key is None else self.name(key), query)
            now = datetime.now(UTC)
            signed = sign_request(
                keys, self.region, method, url, now=now, headers=headers, payload=payload
            )
            response = http.request(method, url, headers=signed, body=body, repeat=repeat)
        except ValueError:  # its text may hold a part of what cannot be sent
            message = f"{key or self.url}: a header or an address that cannot be sent"
            raise StoreRefused(message, hint=_ODD) from None
        self._note_time(response.headers.get("Date"))
        return response

    def _note_time(self, date: str | None) -> None:
        try:
            moment = parsedate_to_datetime(date or "")
        except ValueError:
            return
        # The header's zone is always GMT, which the parser may leave out.
        self._seen = (moment.replace(tzinfo=UTC), _elapsed())

    @cached_property
    def _site(self) -> Site:
        access, endpoint = self.access, self._account.endpoint
        host = urlsplit(endpoint).hostname or ""
        wanted = access.addressing == "virtual"
        if access.addressing == "auto" and access.endpoint is None:
            wanted = "amazonaws.com" in host
        virtual = wanted and _can_be_virtual(access.bucket, endpoint)
        return Site(endpoint, access.bucket, self.region, virtual=virtual)

    def _open(self, read_timeout: float) -> Http:
        access = self.access
        return Http(
            "store",
            connect_timeout=access.connect_timeout,
            read_timeout=read_timeout,
            ca_file=access.ca_file,
            proxy=access.proxy,
            idle=access.connections,
        )


def read_refusal(response: Response, *, repeat: bool = True) -> Refusal:
    """Read an answer that is no success, to its end.

    One that breaks off raises StoreUnavailable, so that it is asked for again; without `repeat`
    its status has to say enough: another try would meet what this one has written.
    """
    body = b""
    try:
        with response:
            body = response.read()
    except StoreUnavailable:
        if repeat:
            raise
    headers = response.headers
    return parse_refusal(
        response.status,
        body,
        headers.get("Retry-After"),
        headers.get("x-amz-bucket-region"),
        request_id=headers.get("x-amz-request-id") or headers.get("x-amzn-requestid"),
    )


def read_body(response: Response, limit: int | None = None) -> bytes:
    """Return the body; one without an announced length is read as it comes, until there are
    more than `limit` bytes."""
    if response.length is not None and (limit is None or response.length <= limit):
        return response.read(response.length)
    data = bytearray()
    while (limit is None or len(data) <= limit) and (piece := response.read(_PIECE)):
        data += piece
    return bytes(data)


def read_etag(headers: HTTPMessage, subject: str) -> str:
    """Return the ETag, which S3 gives with every object: a proxy's page has none. Raises
    ForeignAnswer."""
    etag = (headers.get("ETag") or "").strip('"')
    if not etag:
        raise foreign(subject)
    return etag


def _elapsed() -> float:
    """Return seconds that also pass while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _can_be_virtual(bucket: str, endpoint: str) -> bool:
    """Tell whether the bucket can be part of the host's name. An address has no names below it,
    and a certificate for `*.host` proves one label."""
    parts = urlsplit(endpoint)
    try:
        ip_address(parts.hostname or "")
    except ValueError:
        form = _LABEL if parts.scheme == "https" else _LABELS
        return form.fullmatch(bucket) is not None
    return False


def _check_endpoint(endpoint: str | None) -> None:
    if endpoint is None:
        return
    try:
        parse_url(endpoint)
    except ValueError:
        message = "store.endpoint must be http(s)://host[:port], without credentials"
        raise ConfigurationError(message) from None
