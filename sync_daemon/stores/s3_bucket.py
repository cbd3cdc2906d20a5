"""The bucket itself: is it there, make it, and what is unfinished in it."""

from __future__ import annotations

from typing import Any

from sync_daemon.stores.s3_errors import Refusal, translate
from sync_daemon.stores.s3_link import Link, given

_HOME = "us-east-1"
"""The one region that CreateBucket must not name."""
_OWNED = "BucketAlreadyOwnedByYou"


def has_bucket(link: Link) -> bool:
    """Tell whether the bucket is there, by listing one key of the prefix: a key of limited
    rights may do that, and it proves more than HeadBucket."""
    answer = link.ask("list_objects_v2", Prefix=link.prefix, MaxKeys=1)
    if not isinstance(answer, Refusal):
        given(answer, "Name", link.url)
        return True
    if answer.code == "NoSuchBucket":
        return False
    raise translate(answer, link.url)


def create_bucket(link: Link) -> None:
    """Make the bucket; that it is ours already is no error."""
    region = link.region
    place: dict[str, Any] = {"CreateBucketConfiguration": {"LocationConstraint": region}}
    answer = link.ask("create_bucket", **(place if region != _HOME else {}))
    if isinstance(answer, Refusal) and answer.code != _OWNED:
        raise translate(answer, f"s3://{link.access.bucket}")


def count_uploads(link: Link) -> int | None:
    """Return how many multipart uploads are unfinished; None on MinIO, which does not list them."""
    query: dict[str, Any] = {"Prefix": link.prefix}
    count = 0
    while True:
        page = link.call("list_multipart_uploads", **query)
        headers: dict[str, str] = page["ResponseMetadata"]["HTTPHeaders"]
        if headers.get("server", "").startswith("MinIO"):
            return None
        count += len(page.get("Uploads", ()))
        if not page.get("IsTruncated"):
            return count
        query |= {
            "KeyMarker": page["NextKeyMarker"],
            "UploadIdMarker": page["NextUploadIdMarker"],
        }
