"""Copies inside the store: one request up to 5 GiB, in parts above.

A copy in parts shows nothing under its new key until all of it is there; one request is
whole by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sync_daemon import meter
from sync_daemon.stores.s3_link import Link, given

_PARALLEL = 4


@dataclass(frozen=True, slots=True)
class CopyLimits:
    """Up to `single` bytes go in one request, more in parts of `part` bytes."""

    single: int = 5 * 1024**3
    part: int = 1024**3


def copy(link: Link, source: str, target: str, size: int, limits: CopyLimits) -> None:
    """Copy an object of `size` bytes. Raises FileNotFoundError."""
    origin = {"Bucket": link.access.bucket, "Key": link.name(source)}
    if size <= limits.single:
        answer = link.call_patiently("copy_object", target, CopySource=origin)
        given(answer, "CopyObjectResult", target)
        return
    created = link.call("create_multipart_upload", target)
    upload = given(created, "UploadId", target)
    try:
        parts = _copy_parts(link, target, upload, origin, tuple(_ranges(size, limits.part)))
        answer = link.call_patiently(
            "complete_multipart_upload", target, UploadId=upload, MultipartUpload={"Parts": parts}
        )
        given(answer, "ETag", target)
    except BaseException:
        link.ask("abort_multipart_upload", target, UploadId=upload)
        raise


def _copy_parts(
    link: Link, target: str, upload: str, origin: dict[str, str], ranges: tuple[str, ...]
) -> list[dict[str, Any]]:
    counting = meter.active()

    def copy_part(number: int, span: str) -> dict[str, Any]:
        with meter.use(counting):
            answer = link.call_patiently(
                "upload_part_copy",
                target,
                UploadId=upload,
                PartNumber=number,
                CopySource=origin,
                CopySourceRange=span,
            )
        return {"PartNumber": number, "ETag": given(answer, "CopyPartResult", target)["ETag"]}

    with ThreadPoolExecutor(_PARALLEL) as pool:
        return list(pool.map(copy_part, range(1, len(ranges) + 1), ranges))


def _ranges(size: int, part: int) -> Iterator[str]:
    for start in range(0, size, part):
        yield f"bytes={start}-{min(start + part, size) - 1}"
