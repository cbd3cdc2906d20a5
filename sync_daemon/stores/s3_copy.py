"""Copies inside the store: one request up to 5 GiB, in parts above.

A copy in parts shows nothing under its new key until all of it is there; one request is
whole by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import quote

from sync_daemon import meter
from sync_daemon.domain.errors import Interrupted
from sync_daemon.stores.s3_errors import Refusal
from sync_daemon.stores.s3_link import Answer, Link
from sync_daemon.stores.s3_xml import check_completed, etag_of, text_of, write_parts

_PARALLEL = 4


@dataclass(frozen=True, slots=True)
class CopyLimits:
    """Up to `single` bytes go in one request, more in parts of `part` bytes."""

    single: int = 5 * 1024**3
    part: int = 1024**3


def copy(
    link: Link,
    source: str,
    target: str,
    size: int,
    limits: CopyLimits,
    *,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Copy an object of `size` bytes. Raises FileNotFoundError, and Interrupted between two
    parts when `stopped` says so."""
    origin = {"x-amz-copy-source": quote(f"{link.access.bucket}/{link.name(source)}", safe="/~")}
    if size <= limits.single:
        answer = link.call("PUT", target, headers=origin, patient=True)
        _copied(answer, target)
        return
    created = link.call("POST", target, query={"uploads": ""})
    upload = text_of(created.document, "UploadId", target)
    try:
        spans = tuple(_ranges(size, limits.part))
        parts = _copy_parts(link, target, upload, origin, spans, stopped=stopped)
        answer = link.call(
            "POST", target, query={"uploadId": upload}, body=write_parts(parts), patient=True
        )
        check_completed(answer.document, target)
    except BaseException:
        link.ask("DELETE", target, query={"uploadId": upload})
        raise


def drop_unfinished(link: Link, target: str, size: int, limits: CopyLimits) -> None:
    """Drop the copies in parts to `target` that somebody began and did not end: they take room.

    MinIO lists uploads for an exact key only, which this is. A right that is missing is no
    matter: the server's own rules expire them.
    """
    if size <= limits.single:
        return
    answer = link.ask("GET", query={"uploads": "", "prefix": link.name(target)})
    if isinstance(answer, Refusal):
        return
    for upload in answer.document.findall("Upload"):
        if upload.findtext("Key") == link.name(target):
            name = text_of(upload, "UploadId", target)
            link.ask("DELETE", target, query={"uploadId": name})


def _copy_parts(
    link: Link,
    target: str,
    upload: str,
    origin: dict[str, str],
    ranges: tuple[str, ...],
    *,
    stopped: Callable[[], bool],
) -> list[dict[str, str | int]]:
    counting = meter.active()

    def copy_part(number: int, span: str) -> dict[str, str | int]:
        if stopped():
            message = f"{target}: stopped while it was copied"
            raise Interrupted(message)
        with meter.use(counting):
            answer = link.call(
                "PUT",
                target,
                query={"partNumber": str(number), "uploadId": upload},
                headers={**origin, "x-amz-copy-source-range": span},
                patient=True,
            )
        return {"PartNumber": number, "ETag": _copied(answer, target)}

    with ThreadPoolExecutor(_PARALLEL) as pool:
        return list(pool.map(copy_part, range(1, len(ranges) + 1), ranges))


def _copied(answer: Answer, target: str) -> str:
    return etag_of(answer.document, target)


def _ranges(size: int, part: int) -> Iterator[str]:
    for start in range(0, size, part):
        yield f"bytes={start}-{min(start + part, size) - 1}"
