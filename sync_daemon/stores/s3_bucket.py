"""The bucket itself: is it there, make it, and what is unfinished in it."""

from __future__ import annotations

from sync_daemon.stores.s3_account import HOME_REGION
from sync_daemon.stores.s3_errors import Refusal, foreign, translate
from sync_daemon.stores.s3_link import Link
from sync_daemon.stores.s3_xml import is_truncated, text_of, write_place

_OWNED = "BucketAlreadyOwnedByYou"


def has_bucket(link: Link) -> bool:
    """Tell whether the bucket is there, by listing one key of the prefix: a key of limited
    rights may do that, and it proves more than HeadBucket."""
    answer = link.ask("GET", query={"list-type": "2", "prefix": link.prefix, "max-keys": "1"})
    if not isinstance(answer, Refusal):
        text_of(answer.document, "Name", link.url)
        return True
    if answer.code == "NoSuchBucket":
        return False
    raise translate(answer, link.url)


def create_bucket(link: Link) -> None:
    """Make the bucket; that it is ours already is no error."""
    # The one region that must not be named.
    place = write_place(link.region) if link.region != HOME_REGION else b""
    answer = link.ask("PUT", body=place)
    if isinstance(answer, Refusal) and answer.code != _OWNED:
        raise translate(answer, f"s3://{link.access.bucket}")


def count_uploads(link: Link) -> int | None:
    """Return how many multipart uploads are unfinished; None on MinIO, which does not list them."""
    query = {"uploads": "", "prefix": link.prefix}
    count = 0
    while True:
        answer = link.call("GET", query=query)
        if (answer.headers.get("Server") or "").startswith("MinIO"):
            return None
        page = answer.document
        count += len(page.findall("Upload"))
        if not is_truncated(page):
            return count
        markers = {
            "key-marker": text_of(page, "NextKeyMarker", link.url),
            "upload-id-marker": text_of(page, "NextUploadIdMarker", link.url),
        }
        if markers.items() <= query.items():
            raise foreign(link.url)  # it would go on for ever
        query |= markers
