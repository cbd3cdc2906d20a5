"""A store in a bucket: MinIO, AWS S3, Ceph, SeaweedFS and whoever else speaks S3.

Servers differ in what they check, so what a store can do is probed at the first write
and never assumed; reading never writes. Objects and parts travel straight from and into
the caller's buffers.

Where conditional writes do not hold (Ceph 16), they are emulated by looking first: then
only one process may write to the bucket, and `capabilities().conditional_put` says so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Literal

from sync_daemon.domain.errors import PreconditionFailed, StoreUnavailable
from sync_daemon.ports import (
    Buffer,
    Capabilities,
    ChecksumKind,
    Content,
    ObjectInfo,
    Part,
    StoreCapacity,
    Traits,
)
from sync_daemon.stores import s3_bucket, s3_checksums, s3_copy, s3_probe
from sync_daemon.stores.s3_copy import CopyLimits
from sync_daemon.stores.s3_errors import AGAIN, ForeignAnswer, Refusal, foreign, is_lost, translate
from sync_daemon.stores.s3_link import (
    PATIENCE,
    SUCCESS,
    Access,
    Addressing,
    Link,
    read_body,
    read_etag,
    read_refusal,
)
from sync_daemon.stores.s3_list import list_objects
from sync_daemon.stores.s3_reader import ObjectReader, open_range
from sync_daemon.stores.s3_uploads import Uploads
from sync_daemon.wire import Response

_KEY_BYTES = 1024
_LARGE = 1024**2
"""Bytes from which an object is a blob, and copying it costs more than asking whose it is."""


class S3Store:
    """An `ObjectStore` in one bucket, below `prefix`. Timeouts in seconds; `patience` is that
    of a server which puts parts together or copies.

    Without keys those of the environment are taken, or boto3 finds some. `checksum` and
    `conditional_writes` name what to use instead of probing. `proxy` is a URL, `off`, or None
    for the usual variables. `ask_capacity` asks what S3 does not tell.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint: str | None = None,
        region: str | None = None,
        addressing: Addressing = "auto",
        access_key: str | None = None,
        secret_key: str | None = None,
        checksum: ChecksumKind | Literal["auto"] = "auto",
        conditional_writes: Literal["auto", "on", "off"] = "auto",
        ca_file: str | None = None,
        proxy: str | None = None,
        connections: int = 16,
        connect_timeout: float = 10.0,
        read_timeout: float = 30.0,
        patience: float = PATIENCE,
        copy_limits: CopyLimits | None = None,
        ask_capacity: Callable[[], StoreCapacity | None] = lambda: None,
    ) -> None:
        access = Access(
            bucket=bucket,
            prefix=prefix,
            endpoint=endpoint,
            region=region,
            addressing=addressing,
            ca_file=ca_file,
            connections=connections,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            patience=patience,
            proxy=proxy,
        )
        self._link = Link(access, access_key, secret_key)
        self._uploads = Uploads(self._link)
        self._copy_limits = copy_limits or CopyLimits()
        self._ask_capacity = ask_capacity
        self._probing = threading.Lock()
        self._checksum: ChecksumKind | None = None if checksum == "auto" else checksum
        self._conditional = {"auto": None, "on": True, "off": False}[conditional_writes]

    @property
    def url(self) -> str:
        """Where it is: `s3://bucket/prefix`."""
        return self._link.url

    def close(self) -> None:
        """Close the idle connections."""
        self._link.close()

    @property
    def traits(self) -> Traits:
        """A copy takes room of its own."""
        return Traits(key_bytes=self._key_bytes)

    @property
    def _key_bytes(self) -> int:
        return _KEY_BYTES - len(self._link.prefix.encode())

    def capabilities(self) -> Capabilities:
        """Return what this store can do; the first call writes a probe under `staging/`."""
        return Capabilities(
            conditional_put=self._has_conditional_writes(),
            checksum=self._checksum_kind(),
            key_bytes=self._key_bytes,
        )

    def put(
        self, key: str, data: Buffer, *, if_absent: bool = False, if_match: str | None = None
    ) -> str:
        """Store `data` and return its etag."""
        if not if_absent and if_match is None:
            return self._put(key, data)
        if not self._has_conditional_writes():
            self._look_first(key, if_match)
            return self._put(key, data)
        if if_match is None and memoryview(data).nbytes >= _LARGE:
            return self._put_new(key, data)
        # Without quotation marks, which Ceph 16 does not take off.
        condition = {"If-None-Match": "*"} if if_match is None else {"If-Match": if_match}
        headers = {**condition, **self._name_checksum(data).headers}
        answer = self._link.ask("PUT", key, headers=headers, body=bytes(data))
        if isinstance(answer, Refusal):
            raise _lost(key) if is_lost(answer) else translate(answer, key)
        return read_etag(answer.headers, key)

    def _put(self, key: str, data: Buffer) -> str:
        checksum = self._name_checksum(data)
        with self._link.deliver("PUT", key, checksum=checksum, body=data) as response:
            response.read()
            return read_etag(response.headers, key)

    def _put_new(self, key: str, data: Buffer) -> str:
        """Store a blob where there is none, unsigned and from the caller's buffer.

        One that loses against its own repetition is found by whoever looks: content is named
        by its digest.
        """
        response = self._link.send(
            "PUT",
            key,
            headers={"If-None-Match": "*"},
            checksum=self._name_checksum(data),
            body=data,
        )
        if response.status in SUCCESS:
            with response:
                response.read()
                return read_etag(response.headers, key)
        refusal = read_refusal(response)
        raise _lost(key) if is_lost(refusal) else translate(refusal, key)

    def _name_checksum(self, data: Buffer) -> s3_checksums.Checksum:
        kind = self._checksum_kind()
        return s3_checksums.name_algorithm(kind, s3_checksums.compute(kind, data))

    def _look_first(self, key: str, if_match: str | None) -> None:
        held = self.stat(key)
        if (held.etag if held else None) != if_match:
            raise _lost(key)

    def get(self, key: str) -> Content:
        """Return a small object."""
        with self._link.deliver("GET", key) as response:
            data = read_body(response)
            return Content(data, read_etag(response.headers, key), _modified(response, key))

    def open(self, key: str, start: int = 0, stop: int | None = None) -> ObjectReader:
        """Open a range; what lies past the end is not there."""
        return open_range(self._link, key, start, stop)

    def link(
        self, key: str, *, endpoint: str | None, life: timedelta, overrides: Mapping[str, str]
    ) -> str:
        """Return a signed URL of an object, at the endpoint that its readers see."""
        return self._link.sign(key, endpoint, life, overrides)

    def stat(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None."""
        try:
            with self._link.deliver("HEAD", key) as response:
                size = _size(response, key)
                etag = read_etag(response.headers, key)
                return ObjectInfo(key, size, etag, _modified(response, key))
        except FileNotFoundError:
            return None
        except ForeignAnswer:
            return self._ask_again(key)

    def _ask_again(self, key: str) -> ObjectInfo | None:
        """A HEAD has no body to tell S3's 404 from a proxy's; a GET has. Raises the proxy's."""
        try:
            with self.open(key, 0, 1):
                raise foreign(f"HEAD {key}")  # it is there and is not there
        except FileNotFoundError:
            return None

    def list(self, prefix: str, start_after: str = "") -> Iterator[ObjectInfo]:
        """Yield matching objects in order, 1,000 by a request."""
        return list_objects(self._link, prefix, start_after)

    def delete(self, key: str) -> None:
        """Delete an object, if it is there."""
        try:
            answer = self._link.call("DELETE", key)
        except FileNotFoundError:
            return
        if answer.document.tag:  # S3 says nothing more
            raise foreign(key)

    def copy(self, source: str, target: str) -> None:
        """Copy inside the store: one request up to 5 GiB, in parts above."""
        held = self.stat(source)
        if held is None:
            raise FileNotFoundError(source)
        if source == target:
            return  # S3 refuses what would change nothing
        s3_copy.copy(self._link, source, target, held.size, self._copy_limits)

    def share(
        self, source: str, target: str, size: int, stopped: Callable[[], bool] = lambda: False
    ) -> int:
        """Copy inside the store; S3 knows no second names."""
        s3_copy.drop_unfinished(self._link, target, size, self._copy_limits)
        s3_copy.copy(self._link, source, target, size, self._copy_limits, stopped=stopped)
        return size

    def create_upload(self, key: str) -> str:
        """Begin a multipart upload and return its id."""
        return self._uploads.create(key, self._checksum_kind())

    def put_part(self, key: str, upload: str, number: int, offset: int, data: Buffer) -> Part:
        """Store one part, straight from `data`; S3 goes by its number alone."""
        del offset
        return self._uploads.put(key, upload, number, data, self._checksum_kind())

    def parts(self, key: str, upload: str) -> Sequence[Part]:
        """Return the stored parts, by number."""
        return self._uploads.parts(key, upload)

    def complete_upload(self, key: str, upload: str, parts: Sequence[Part]) -> None:
        """Make the object of exactly these parts; that it is there already is no error."""
        self._uploads.complete(key, upload, parts)

    def abort_upload(self, key: str, upload: str) -> None:
        """Forget an upload, if it is there."""
        self._uploads.abort(key, upload)

    def now(self) -> datetime:
        """Return the server's clock, to the second."""
        return self._link.now()

    def free_bytes(self) -> int | None:
        """Return the free space where the server's administration tells it."""
        found = self.capacity()
        return found.free if found else None

    def capacity(self) -> StoreCapacity | None:
        """Return what `ask_capacity` does: S3 itself does not say."""
        return self._ask_capacity()

    def exists(self) -> bool:
        """Tell whether the bucket is there. Raises what reading raises."""
        return s3_bucket.has_bucket(self._link)

    def create(self) -> None:
        """Make the bucket. Raises StoreRefused, StoreUnavailable."""
        s3_bucket.create_bucket(self._link)

    def orphans(self) -> Sequence[tuple[str, str]]:
        """Return none: the server's rules expire them."""
        return ()

    def unfinished_bytes(self) -> int | None:
        """Return None: it would take a request for each upload."""
        return None

    def unfinished(self) -> int | None:
        """Return how many multipart uploads the server lists; MinIO lists none: None."""
        return s3_bucket.count_uploads(self._link)

    def _checksum_kind(self) -> ChecksumKind:
        with self._probing:
            if self._checksum is None:
                self._checksum = s3_probe.find_checksum(self._link)
            return self._checksum

    def _has_conditional_writes(self) -> bool:
        with self._probing:
            if self._conditional is None:
                self._conditional = s3_probe.find_conditional_writes(self._link)
            return self._conditional


def _lost(key: str) -> PreconditionFailed:
    return PreconditionFailed(f"{key}: another writer was first", hint=AGAIN)


def _modified(response: Response, key: str) -> datetime:
    try:
        return parsedate_to_datetime(response.headers.get("Last-Modified") or "").astimezone(UTC)
    except (ValueError, OverflowError):
        message = f"{key}: the store's answer has no usable Last-Modified"
        raise StoreUnavailable(message) from None


def _size(response: Response, key: str) -> int:
    size = response.headers.get("Content-Length") or ""
    if not size.isdigit():
        message = f"{key}: the store's answer has no Content-Length"
        raise StoreUnavailable(message)
    return int(size)
