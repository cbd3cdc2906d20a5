"""Reads and writes the XML of S3. What a field lacks that S3 always gives, S3 did not write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from sync_daemon.stores.s3_errors import foreign

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_DIGITS = 18


def parse_document(data: bytes, subject: str) -> ET.Element:
    """Return the root, its names without their namespace: servers differ in it.

    Raises ForeignAnswer for what is no XML. Expat bounds what entities grow to (since 2.4.1).
    """
    try:
        root = ET.fromstring(data.lstrip())  # noqa: S314 - see above
    except ET.ParseError:
        raise foreign(subject) from None
    for node in root.iter():
        node.tag = node.tag.rpartition("}")[2]
    return root


def check_completed(answer: ET.Element, subject: str) -> None:
    """Raise ForeignAnswer unless S3 says that a multipart upload is an object now.

    Not by its ETag: that of Ceph 16 is empty here.
    """
    if answer.tag != "CompleteMultipartUploadResult":
        raise foreign(subject)


def text_of(node: ET.Element, name: str, subject: str) -> str:
    """Return the text of a field. Raises ForeignAnswer where it is missing or empty."""
    text = node.findtext(name)
    if not text:
        raise foreign(subject)
    return text


def number_of(node: ET.Element, name: str, subject: str) -> int:
    """Return a count or a size. Raises ForeignAnswer for anything else."""
    text = text_of(node, name, subject)
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise foreign(subject)
    return int(text)


def moment_of(node: ET.Element, name: str, subject: str) -> datetime:
    """Return a time, in UTC. Raises ForeignAnswer for anything else."""
    try:
        moment = datetime.fromisoformat(text_of(node, name, subject))
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise foreign(subject) from None


def etag_of(node: ET.Element, subject: str) -> str:
    """Return an ETag without its quotation marks. Raises ForeignAnswer where it is missing."""
    return text_of(node, "ETag", subject).strip('"')


def is_truncated(page: ET.Element) -> bool:
    """Tell whether a listing goes on."""
    return page.findtext("IsTruncated") == "true"


def write_parts(parts: Iterable[Mapping[str, str | int]]) -> bytes:
    """Return the body that ends a multipart upload: the fields of each part, in order."""
    described = "".join(f"<Part>{_fields(part)}</Part>" for part in parts)
    return _document("CompleteMultipartUpload", described)


def write_place(region: str) -> bytes:
    """Return the body that makes a bucket in a region."""
    return _document("CreateBucketConfiguration", _fields({"LocationConstraint": region}))


def _fields(values: Mapping[str, str | int]) -> str:
    return "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in values.items())


def _document(name: str, content: str) -> bytes:
    return f'<{name} xmlns="{_NAMESPACE}">{content}</{name}>'.encode()
