"""Finds out what a server really checks, by lying to it once with a tiny object.

Servers accept headers that they ignore: a wrong checksum passes on one, a conditional
write overwrites on another (Ceph 16, rclone). So a checksum kind counts only when the
server refuses a wrong one, for whole objects and for parts, and conditional writes only
when a second writer and a stale ETag are refused.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from sync_daemon.domain import keys
from sync_daemon.domain.errors import StoreFull, StoreRefused, StoreUnavailable
from sync_daemon.ports import ChecksumKind
from sync_daemon.stores import s3_checksums
from sync_daemon.stores.s3_checksums import ALGORITHMS, PREFERENCE, Checksum
from sync_daemon.stores.s3_errors import Refusal, foreign, is_lost, translate
from sync_daemon.stores.s3_link import Link, read_refusal

_DATA = b"sync-daemon asks what this store checks\n"
_STALE = "00000000000000000000000000000000"
_UNSUPPORTED = frozenset({400, 409, 411, 412, 422, 501})
_FORBIDDEN = frozenset({401, 403})
_DENIALS = frozenset({"NoSuchBucket", "ExpiredToken", "InvalidToken", "RequestTimeTooSkewed"})


def find_checksum(link: Link) -> ChecksumKind:
    """Return the cheapest checksum that the server verifies, or `none`."""
    key = keys.staging(f"probe-{uuid.uuid4().hex}")
    try:
        return next(_verified(link, key, PREFERENCE), "none")
    finally:
        _clean(link, key)


def find_conditional_writes(link: Link) -> bool:
    """Tell whether If-None-Match and If-Match hold on PutObject."""
    key = keys.staging(f"probe-{uuid.uuid4().hex}")
    try:
        first = _put(link, key, IfNoneMatch="*")
        if isinstance(first, Refusal):
            return False
        if not _loses(_put(link, key, IfNoneMatch="*")):
            return False
        if not _loses(_put(link, key, IfMatch=_STALE)):
            return False
        return not isinstance(_put(link, key, IfMatch=first["ETag"].strip('"')), Refusal)
    finally:
        _clean(link, key)


def _verified(link: Link, key: str, kinds: Iterable[ChecksumKind]) -> Iterator[ChecksumKind]:
    for kind in kinds:
        if _object_is_checked(link, key, kind) and _part_is_checked(link, key, kind):
            yield kind


def _object_is_checked(link: Link, key: str, kind: ChecksumKind) -> bool:
    wrong, right = (
        s3_checksums.name_algorithm(kind, compute(kind, _DATA))
        for compute in (s3_checksums.compute_wrong, s3_checksums.compute)
    )
    return not _accepts(link, "put_object", key, {}, wrong) and _accepts(
        link, "put_object", key, {}, right
    )


def _part_is_checked(link: Link, key: str, kind: ChecksumKind) -> bool:
    declared = {"ChecksumAlgorithm": ALGORITHMS[kind]} if kind in ALGORITHMS else {}
    created = link.ask("create_multipart_upload", key, **declared)
    if isinstance(created, Refusal):
        _must_be_answer(created, key)
        return False
    upload = {"UploadId": created["UploadId"]}
    part = {**upload, "PartNumber": 1}
    wrong, right = s3_checksums.compute_wrong(kind, _DATA), s3_checksums.compute(kind, _DATA)
    try:
        return (
            not _accepts(link, "upload_part", key, part, wrong)
            and _accepts(link, "upload_part", key, part, right)
            and (not declared or _can_be_adopted(link, key, upload, f"Checksum{ALGORITHMS[kind]}"))
        )
    finally:
        link.ask("abort_multipart_upload", key, **upload)


def _can_be_adopted(link: Link, key: str, upload: dict[str, str], field: str) -> bool:
    """Tell whether a process that did not send the parts can complete an upload of them.

    SeaweedFS wants a part's CRC32C at the end, and does not list it.
    """
    listed = link.ask("list_parts", key, **upload)
    if isinstance(listed, Refusal) or not listed.get("Parts"):
        return False
    part = listed["Parts"][0]
    if field in part:
        return True
    parts = {"Parts": [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]}]}
    completed = link.ask("complete_multipart_upload", key, MultipartUpload=parts, **upload)
    return not isinstance(completed, Refusal)


def _accepts(
    link: Link, operation: str, key: str, params: dict[str, Any], checksum: Checksum
) -> bool:
    response = link.send(operation, key, params=params, checksum=checksum, body=_DATA)
    if response.status < 300:  # noqa: PLR2004 - success
        with response:
            response.read()
        if not response.headers.get("ETag"):
            raise foreign(key)
        return True
    _must_be_answer(read_refusal(response), key)
    return False


def _put(link: Link, key: str, **condition: str) -> dict[str, Any] | Refusal:
    answer = link.ask("put_object", key, Body=_DATA, **condition)
    if isinstance(answer, Refusal):
        _must_be_answer(answer, key)
    return answer


def _loses(answer: dict[str, Any] | Refusal) -> bool:
    return isinstance(answer, Refusal) and is_lost(answer)


def _must_be_answer(refusal: Refusal, key: str) -> None:
    """Raise unless the refusal answers the question: a fault or a denial says nothing."""
    error = translate(refusal, key)
    damaged = isinstance(error, StoreUnavailable) and refusal.status in _UNSUPPORTED
    denied = isinstance(error, StoreFull) or (
        isinstance(error, StoreRefused)
        and (refusal.status in _FORBIDDEN or refusal.code in _DENIALS)
    )
    if denied or (refusal.status not in _UNSUPPORTED and not damaged):
        raise error


def _clean(link: Link, key: str) -> None:
    # What went wrong before says more than what goes wrong here.
    with suppress(StoreUnavailable):
        link.ask("delete_object", key)
