"""Lists a bucket in order of keys, also where the server has another order.

SeaweedFS lists folder by folder (`b/c` before `b-c`), and its StartAfter follows that
order: keys would be left out. So its listings are read whole and sorted here. Every
other server is held to the order that S3 promises.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from typing import Any

from sync_daemon.domain.errors import StoreRefused
from sync_daemon.ports import ObjectInfo
from sync_daemon.stores.s3_link import Link, given

_PAGE = 1_000
_BY_FOLDER = ("SeaweedFS",)


def list_objects(link: Link, prefix: str, start_after: str) -> Iterator[ObjectInfo]:
    """Yield the objects whose key starts with `prefix` and comes after `start_after`."""
    query: dict[str, Any] = {"Prefix": link.name(prefix), "MaxKeys": _PAGE}
    position = {"StartAfter": link.name(start_after)} if start_after else {}
    page = link.call("list_objects_v2", **query, **position)
    if _server(page).startswith(_BY_FOLDER):
        first = page if not start_after else link.call("list_objects_v2", **query)
        found = sorted(_follow(link, query, first), key=_order)
        yield from (info for info in found if _order(info) > start_after.encode())
        return
    last = b""
    for info in _follow(link, query, page):
        if _order(info) < last:
            message = f"{link.url}: the store does not list its keys in order"
            raise StoreRefused(message, hint="directory buckets cannot hold a mirror")
        last = _order(info)
        yield info


def _follow(link: Link, query: dict[str, Any], page: dict[str, Any]) -> Iterator[ObjectInfo]:
    while True:
        given(page, "Name", link.url)
        for entry in page.get("Contents", ()):
            yield ObjectInfo(
                key=entry["Key"].removeprefix(link.prefix),
                size=entry["Size"],
                etag=entry["ETag"].strip('"'),
                modified=entry["LastModified"].astimezone(UTC),
            )
        if not page.get("IsTruncated"):
            return
        token = page["NextContinuationToken"]
        page = link.call("list_objects_v2", **query, ContinuationToken=token)


def _order(info: ObjectInfo) -> bytes:
    return info.key.encode()


def _server(page: dict[str, Any]) -> str:
    headers: dict[str, str] = page["ResponseMetadata"]["HTTPHeaders"]
    return headers.get("server", "")
