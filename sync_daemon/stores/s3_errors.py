"""What an S3 server's refusals mean to us: one table.

Messages name the code and what it means; never a URL, because a signed link bears rights, and
never what the server wrote besides its code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sync_daemon.domain.errors import (
    PreconditionFailed,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
    SyncError,
    UploadGone,
)

_CODE = re.compile(rb"<Code>([A-Za-z0-9_.-]{1,80})</Code>")
_REGION = re.compile(rb"<Region>([A-Za-z0-9-]{1,40})</Region>")
_REGION_NAME = re.compile(r"[A-Za-z0-9-]{1,40}")

AGAIN = "run again: it reads first what the other one wrote"
_KEYS = "check the access key, the secret key and the policy that is attached to them"
_CLOCK = "set the clocks of this host and of the store by NTP: they differ too much"
_DENIED = (
    "the key needs s3:GetObject, PutObject, DeleteObject, ListBucket, AbortMultipartUpload and "
    "ListMultipartUploadParts on this bucket"
)
_BUCKET = "create it: `sync-daemon store init`, or with the server's own tools"
_REGION_HINT = "set the store's region to the one of the bucket"
_FAULT = "the next run goes on; if it lasts, see the store's log, its disks and what is before it"
_SEE = "see the store's log for the reason"
_PARTS = "the next run sends the file again; if it lasts, see the store's log"
_GONE = "the next run sends the file again; let the store keep unfinished uploads for longer"
_FOREIGN = "is store.endpoint right, and what is before it up?"

_PROXY = "check store.proxy or the proxy variables; off goes straight to the store"

_REFUSALS = {
    "NoSuchBucket": ("there is no such bucket", _BUCKET),
    "InvalidBucketName": ("a bucket cannot have this name", "correct store.url"),
    "AccessDenied": ("access denied", _DENIED),
    "AllAccessDisabled": ("access denied", _DENIED),
    "InvalidAccessKeyId": ("the store does not know the access key", _KEYS),
    "SignatureDoesNotMatch": ("the secret key is wrong", _KEYS),
    "InvalidToken": ("the session token is not valid", _KEYS),
    "ExpiredToken": ("the session token has expired", _KEYS),
    "RequestTimeTooSkewed": ("the clocks differ", _CLOCK),
    "RequestExpired": ("the clocks differ", _CLOCK),
    "PermanentRedirect": ("the bucket is in another region", _REGION_HINT),
    "TemporaryRedirect": ("the bucket is in another region", _REGION_HINT),
    "AuthorizationHeaderMalformed": ("the region is wrong", _REGION_HINT),
    "AuthorizationQueryParametersError": ("the region is wrong", _REGION_HINT),
    "IllegalLocationConstraintException": ("the region is wrong", _REGION_HINT),
    "KeyTooLongError": ("the key is longer than the store allows", "shorten the store's prefix"),
    "XMinioInvalidObjectName": ("the store cannot hold this key", "exclude the file in the YAML"),
    "XMinioParentIsObject": ("a key cannot lie below another object", "exclude one of them"),
    "ObjectParentIsFile": ("a key cannot lie below another object", "exclude one of them"),
    "EntityTooLarge": ("the object is larger than the store allows", "raise the store's limit"),
    "EntityTooSmall": ("a part is smaller than the store allows", "raise transfer.part_size"),
    "InvalidPart": ("a part is missing, or another one than was said", _PARTS),
    "ProxyAuthenticationRequired": ("the proxy refuses, or wants, credentials", _PROXY),
    "InvalidPartOrder": ("the parts are not in ascending order", _PARTS),
}
_BY_STATUS = {
    301: "PermanentRedirect",
    307: "TemporaryRedirect",
    401: "AccessDenied",
    403: "AccessDenied",
    407: "ProxyAuthenticationRequired",
}
_FULL = frozenset(
    {"XMinioStorageFull", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage"}
)
_DAMAGED = frozenset({"BadDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"})
_BUSY = frozenset(
    {"SlowDown", "SlowDownRead", "SlowDownWrite", "RequestTimeout", "OperationAborted"}
    | {"InternalError", "ServiceUnavailable", "TooManyRequests", "Throttling", "IncompleteBody"}
)
_LOST_STATUS = frozenset({409, 412})
_BUSY_STATUS = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is no success. `code` is S3's name for the reason, or empty."""

    status: int
    code: str = ""
    retry_after: float | None = None
    region: str | None = None
    foreign: bool = False


class ForeignAnswer(StoreUnavailable):
    """An answer that S3 did not write, a 404 or a 200: it tells nothing of an object."""

    @property
    def kind(self) -> str:
        """To whoever reads a report, the store cannot be reached."""
        return "store_unavailable"


def foreign(said: str) -> ForeignAnswer:
    """Return the error for an answer that lacks what S3 always gives."""
    return ForeignAnswer(f"{said}: this is not S3's answer", hint=_FOREIGN)


def upload_gone(said: str) -> UploadGone:
    """Return the error for an upload that was completed, aborted, or never begun."""
    message = f"{said}: the store does not know this upload (any more)"
    return UploadGone(message, hint=_GONE)


def parse_refusal(
    status: int,
    body: bytes,
    retry_after: str | None,
    region: str | None,
    *,
    request_id: str | None = None,
) -> Refusal:
    """Read S3's XML error document. A HEAD gives none, but S3 always gives a request id;
    an answer with neither is somebody else's (a proxy without a backend)."""
    code = _CODE.search(body)
    found = _REGION.search(body)
    place = found[1].decode() if found else region
    if not _REGION_NAME.fullmatch(place or ""):
        place = None
    name = code[1].decode() if code else ""
    return Refusal(status, name, _seconds(retry_after), place, not (name or request_id))


def translate(  # noqa: PLR0911 - a table with a word to each line
    refusal: Refusal, subject: str
) -> SyncError | FileNotFoundError:
    """Return our error for an answer about `subject` (a key, or the store's URL)."""
    code, status = refusal.code or _BY_STATUS.get(refusal.status, ""), refusal.status
    said = f"{subject}: HTTP {status}{f' {code}' if code else ''}"
    if code in _FULL or status == 507:  # noqa: PLR2004 - Insufficient Storage
        return StoreFull(f"{said}: the store is full", hint="add space or quota")
    if code == "NoSuchUpload":
        return upload_gone(said)
    if code == "PreconditionFailed" or status == 412:  # noqa: PLR2004
        return PreconditionFailed(f"{said}: another writer was first", hint=AGAIN)
    if code in _DAMAGED:
        message = f"{said}: the bytes were damaged on their way to the store"
        return StoreUnavailable(message, hint="if it happens again, check network and memory")
    if code in _REFUSALS:
        what, hint = _REFUSALS[code]
        if refusal.region and hint is _REGION_HINT:
            hint = f"{hint}: {refusal.region}"
        return StoreRefused(f"{said}: {what}", hint=hint)
    if _is_fault(status) or status in _BUSY_STATUS or code in _BUSY:
        message = f"{said}: the store is busy or has a fault"
        return StoreUnavailable(message, hint=_FAULT, retry_after=refusal.retry_after)
    if status == 404 and refusal.foreign:  # noqa: PLR2004
        return foreign(said)
    if status == 404:  # noqa: PLR2004
        return FileNotFoundError(subject)
    return StoreRefused(f"{said}: the store refuses", hint=_SEE)


def _is_fault(status: int) -> bool:
    return status >= 500 and status != 501  # noqa: PLR2004 - Not Implemented is an answer


def is_lost(refusal: Refusal) -> bool:
    """Tell whether a conditional write lost: 412, 409, or nothing there to match (404)."""
    known = refusal.code != "NoSuchBucket" and not refusal.foreign
    return refusal.status in _LOST_STATUS or (refusal.status == 404 and known)  # noqa: PLR2004


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isascii() and text.isdigit() else None
