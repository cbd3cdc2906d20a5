"""What S3's documents say, and what nobody but S3 would have written."""

from __future__ import annotations

from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pytest

from sync_daemon.stores import s3_xml
from sync_daemon.stores.s3_errors import ForeignAnswer

PAGE = b"""<?xml version="1.0"?>
<Page %s><ETag>&quot;abc&quot;</ETag><Size>12</Size><IsTruncated>true</IsTruncated>
<LastModified>2026-11-21T10:00:00.5Z</LastModified></Page>"""


@pytest.mark.parametrize("space", [b"", b'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'])
def test_fields_are_found_with_a_namespace_and_without(space: bytes) -> None:
    page = s3_xml.parse_document(b"\n  " + PAGE % space, "key")
    assert (page.tag, s3_xml.etag_of(page, "key"), s3_xml.number_of(page, "Size", "key")) == (
        "Page",
        "abc",
        12,
    )
    assert s3_xml.is_truncated(page)
    moment = datetime(2026, 11, 21, 10, 0, 0, 500_000, tzinfo=UTC)
    assert s3_xml.moment_of(page, "LastModified", "key") == moment


@pytest.mark.parametrize(
    "data",
    [b"<html><p>Hello", b"no", b"<a>\xff</a>", b"<!DOCTYPE a [<!ENTITY b SYSTEM 'x'>]><a>&b;</a>"],
)
def test_what_is_no_document_was_written_by_somebody_else(data: bytes) -> None:
    with pytest.raises(ForeignAnswer, match="key: this is not S3's answer"):
        s3_xml.parse_document(data, "key")


def test_entities_cannot_fill_the_memory() -> None:
    names = [f"<!ENTITY a{n + 1} '{f'&a{n};' * 10}'>" for n in range(12)]
    bomb = f"<!DOCTYPE a [<!ENTITY a0 '{'x' * 1000}'>{''.join(names)}]><a>&a12;</a>"
    with pytest.raises(ForeignAnswer):
        s3_xml.parse_document(bomb.encode(), "key")


@pytest.mark.parametrize("text", ["", "-1", "1.5", "1e9", "\u0661", "9" * 5000])
def test_a_number_is_digits(text: str) -> None:
    node = ET.fromstring(f"<a><Size>{text}</Size></a>")
    with pytest.raises(ForeignAnswer):
        s3_xml.number_of(node, "Size", "key")


def test_a_time_is_in_its_form_and_in_utc() -> None:
    def read(text: str) -> datetime:
        node = ET.fromstring(f"<a><At>{text}</At></a>")
        return s3_xml.moment_of(node, "At", "key")

    assert read("2026-11-21T10:00:00") == datetime(2026, 11, 21, 10, tzinfo=UTC)
    assert read("2026-11-21T12:00:00+02:00") == datetime(2026, 11, 21, 10, tzinfo=UTC)
    with pytest.raises(ForeignAnswer):
        read("Sat, 21 Nov 2026 10:00:00 GMT")
    with pytest.raises(ForeignAnswer):
        read("0001-01-01T00:00:00+02:00")


def test_bodies_say_what_they_were_given() -> None:
    parts = s3_xml.write_parts([{"PartNumber": 1, "ETag": "a<b&"}, {"PartNumber": 2, "ETag": "c"}])
    root = s3_xml.parse_document(parts, "key")
    assert root.tag == "CompleteMultipartUpload"
    assert [[field.text for field in part] for part in root] == [["1", "a<b&"], ["2", "c"]]
    place = s3_xml.parse_document(s3_xml.write_place("eu-1"), "key")
    assert place.findtext("LocationConstraint") == "eu-1"
