"""Lists a bucket in order of keys, also where the server has another order.

SeaweedFS lists folder by folder (`b/c` before `b-c`), and its StartAfter follows that
order: keys would be left out. So its listings are read whole and sorted here. Every
other server is held to the order that S3 promises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import unquote_plus
from xml.etree.ElementTree import Element

from sync_daemon.domain.errors import StoreRefused
from sync_daemon.ports import ObjectInfo
from sync_daemon.stores.s3_errors import foreign
from sync_daemon.stores.s3_link import Answer, Link
from sync_daemon.stores.s3_xml import etag_of, is_truncated, moment_of, number_of, text_of

_PAGE = "1000"
_BY_FOLDER = ("SeaweedFS",)


def list_objects(link: Link, prefix: str, start_after: str) -> Iterator[ObjectInfo]:
    """Yield the objects whose key starts with `prefix` and comes after `start_after`."""
    query = {"list-type": "2", "prefix": link.name(prefix), "max-keys": _PAGE}
    # Keys may hold what XML cannot.
    query["encoding-type"] = "url"
    position = {"start-after": link.name(start_after)} if start_after else {}
    page = link.call("GET", query={**query, **position})
    if (page.headers.get("Server") or "").startswith(_BY_FOLDER):
        first = page if not start_after else link.call("GET", query=query)
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


def _follow(link: Link, query: Mapping[str, str], answer: Answer) -> Iterator[ObjectInfo]:
    last = ""
    while True:
        page = answer.document
        text_of(page, "Name", link.url)
        encoded = page.findtext("EncodingType") == "url"
        for entry in page.findall("Contents"):
            yield _read(link, entry, encoded=encoded)
        if not is_truncated(page):
            return
        token = text_of(page, "NextContinuationToken", link.url)
        if token == last:
            raise foreign(link.url)  # it would go on for ever
        last = token
        answer = link.call("GET", query={**query, "continuation-token": token})


def _read(link: Link, entry: Element, *, encoded: bool) -> ObjectInfo:
    key = text_of(entry, "Key", link.url)
    return ObjectInfo(
        key=(unquote_plus(key) if encoded else key).removeprefix(link.prefix),
        size=number_of(entry, "Size", link.url),
        etag=etag_of(entry, link.url),
        modified=moment_of(entry, "LastModified", link.url),
    )


def _order(info: ObjectInfo) -> bytes:
    return info.key.encode()
