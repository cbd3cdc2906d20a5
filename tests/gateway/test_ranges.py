"""Which bytes a request means, by RFC 9110."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, strategies as st

from sync_daemon.gateway.files.ranges import Span, holds_tag, parse_range

SIZE = 100
WHOLE = Span(0, SIZE)


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", Span(0, 1, partial=True)),
        ("bytes=0-", Span(0, 100, partial=True)),
        ("bytes=10-19", Span(10, 20, partial=True)),
        ("bytes=99-", Span(99, 100, partial=True)),
        ("bytes=10-1000", Span(10, 100, partial=True)),
        ("bytes=-1", Span(99, 100, partial=True)),
        ("bytes=-100", Span(0, 100, partial=True)),
        ("bytes=-1000", Span(0, 100, partial=True)),
        ("bytes = 1 - 2", Span(1, 3, partial=True)),
        ("bytes=1-2,", Span(1, 3, partial=True)),
        ("BYTES=0-1", Span(0, 2, partial=True)),
        ("Bytes=0-1\n", Span(0, 2, partial=True)),
    ],
)
def test_one_range_means_these_bytes(header: str, span: Span) -> None:
    assert parse_range(header, SIZE) == span


@pytest.mark.parametrize(
    "header", ["bytes=100-", "bytes=100-200", "bytes=9999999999999-", "bytes=-0"]
)
def test_a_range_that_is_not_there_is_none(header: str) -> None:
    assert parse_range(header, SIZE) is None


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-1"])
def test_an_empty_file_has_no_ranges(header: str) -> None:
    assert parse_range(header, 0) is None


@pytest.mark.parametrize(
    "header",
    [
        *(None, "", "bytes=", "bytes=-", "bytes=a-b", "bytes=1-2-3", "bytes", "1-2", "items=0-1"),
        *("bytes=5-4", "bytes=0-1,5-6", "bytes=0-1, -1", "bytes=--1", "bytes=+1-2", "bytes=1.0-2"),
        *("bytes=\u0661-2", f"bytes={'9' * 5000}-", "bytes=0x1-2"),
    ],
)
def test_what_is_no_single_range_means_the_whole_file(header: str | None) -> None:
    assert parse_range(header, SIZE) == WHOLE


@given(st.text(max_size=30), st.integers(0, 10**15))
def test_no_header_leads_out_of_the_file(header: str, size: int) -> None:
    for text in (header, f"bytes={header}"):
        if (span := parse_range(text, size)) is not None:
            assert 0 <= span.start <= span.stop <= size
            assert span.length or not span.partial


@given(st.integers(0, 10**15), st.integers(0, 10**15), st.integers(1, 10**15))
def test_a_range_is_cut_at_the_end_of_the_file(start: int, length: int, size: int) -> None:
    span = parse_range(f"bytes={start}-{start + length}", size)
    expected = Span(start, min(start + length + 1, size), partial=True) if start < size else None
    assert span == expected


@pytest.mark.parametrize(
    "header",
    ["bytes=0-" + " " * 30_000 + "x", "bytes=" + " " * 30_000 + "x", "bytes" + "\t" * 30_000 + "x",
     "bytes=0-9" + "," * 30_000, "bytes=" + "0" * 30_000 + "-"],
)  # fmt: skip
def test_a_header_made_to_be_slow_means_the_whole_file_at_once(header: str) -> None:
    began = time.monotonic()
    assert parse_range(header, 100) == Span(0, 100)
    assert time.monotonic() - began < 0.5


@pytest.mark.parametrize("filling", [",", " ", "\t", '"', "W/", 'W/"', ', "'])
def test_a_list_of_tags_made_to_be_slow_is_read_at_once(filling: str) -> None:
    began = time.monotonic()
    assert holds_tag(filling * 30_000 + ' x "a"', '"a"', weak=True) in {True, False}
    assert time.monotonic() - began < 0.5


@pytest.mark.parametrize(
    ("header", "weak", "strong"),
    [
        ('"a"', True, True),
        ('W/"a"', True, False),
        ('"b", "a"', True, True),
        ('"b",W/"a"', True, False),
        ("*", True, True),
        ('"b"', False, False),
        ("a", False, False),
        ('"A"', False, False),
        ("", False, False),
        ("Sat, 21 Nov 2026 10:00:00 GMT", False, False),
    ],
)
def test_entity_tags_are_compared_as_the_header_wants(
    header: str, *, weak: bool, strong: bool
) -> None:
    assert holds_tag(header, '"a"', weak=True) is weak
    assert holds_tag(header, '"a"', weak=False) is strong
