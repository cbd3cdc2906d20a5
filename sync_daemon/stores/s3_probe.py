"""Finds out what a server really checks, by lying to it once with a tiny object.

Servers accept headers that they ignore: a wrong checksum passes on one, a conditional
write overwrites on another (Ceph 16, rclone). So a checksum kind counts only when the
server refuses a wrong one, for whole objects and for parts, and conditional writes only
when a second writer and a stale ETag are refused.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

from sync_daemon.domain import keys
from sync_daemon.domain.errors import StoreFull, StoreRefused, StoreUnavailable
from sync_daemon.ports import ChecksumKind
from sync_daemon.stores import s3_checksums
from sync_daemon.stores.s3_checksums import ALGORITHMS, PREFERENCE, Checksum
from sync_daemon.stores.s3_errors import Refusal, is_lost, translate
from sync_daemon.stores.s3_link import SUCCESS, Answer, Link, read_etag, read_refusal
from sync_daemon.stores.s3_xml import etag_of, text_of, write_parts

_DATA = b"sync-daemon asks what this store checks\n"
_STALE = "00000000000000000000000000000000"
_UNSUPPORTED = frozenset({400, 409, 411, 412, 422, 501})
_FORBIDDEN = frozenset({401, 403})
_DENIALS = frozenset(
    {"NoSuchBucket", "ExpiredToken", "InvalidToken", "RequestTimeTooSkewed"}
    | {"AuthorizationHeaderMalformed"}
)


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
        first = _put(link, key, {"If-None-Match": "*"})
        if isinstance(first, Refusal):
            return False
        if not _loses(_put(link, key, {"If-None-Match": "*"})):
            return False
        if not _loses(_put(link, key, {"If-Match": _STALE})):
            return False
        etag = (first.headers.get("ETag") or "").strip('"')
        return not isinstance(_put(link, key, {"If-Match": etag}), Refusal)
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
    return not _accepts(link, key, {}, wrong) and _accepts(link, key, {}, right)


def _part_is_checked(link: Link, key: str, kind: ChecksumKind) -> bool:
    declared = s3_checksums.declare_algorithm(kind)
    created = link.ask("POST", key, query={"uploads": ""}, headers=declared)
    if isinstance(created, Refusal):
        _must_be_answer(created, key)
        return False
    upload = {"uploadId": text_of(created.document, "UploadId", key)}
    part = {**upload, "partNumber": "1"}
    wrong, right = s3_checksums.compute_wrong(kind, _DATA), s3_checksums.compute(kind, _DATA)
    try:
        return (
            not _accepts(link, key, part, wrong)
            and _accepts(link, key, part, right)
            and (not declared or _can_be_adopted(link, key, upload, f"Checksum{ALGORITHMS[kind]}"))
        )
    finally:
        link.ask("DELETE", key, query=upload)


def _can_be_adopted(link: Link, key: str, upload: dict[str, str], field: str) -> bool:
    """Tell whether a process that did not send the parts can complete an upload of them.

    SeaweedFS wants a part's CRC32C at the end, and does not list it.
    """
    listed = link.ask("GET", key, query=upload)
    part = None if isinstance(listed, Refusal) else listed.document.find("Part")
    if part is None:
        return False
    if part.findtext(field):
        return True
    parts = write_parts([{"PartNumber": 1, "ETag": etag_of(part, key)}])
    return not isinstance(link.ask("POST", key, query=upload, body=parts), Refusal)


def _accepts(link: Link, key: str, query: Mapping[str, str], checksum: Checksum) -> bool:
    response = link.send("PUT", key, query=query, checksum=checksum, body=_DATA)
    if response.status in SUCCESS:
        with response:
            response.read()
        read_etag(response.headers, key)
        return True
    _must_be_answer(read_refusal(response), key)
    return False


def _put(link: Link, key: str, condition: Mapping[str, str]) -> Answer | Refusal:
    answer = link.ask("PUT", key, headers=condition, body=_DATA)
    if isinstance(answer, Refusal):
        _must_be_answer(answer, key)
    return answer


def _loses(answer: Answer | Refusal) -> bool:
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
        link.ask("DELETE", key)
