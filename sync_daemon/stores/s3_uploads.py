"""Multipart uploads, with the checksum of every part where the store verifies it.

Servers differ in what they remember: one wants the part checksums repeated at the end
(versitygw), one forgets an upload it has just completed (MinIO answers NoSuchUpload to
a repeated Complete). What this process does not know of an upload it asks ListParts.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from xml.etree.ElementTree import Element

from sync_daemon.domain.errors import UploadGone
from sync_daemon.ports import Buffer, ChecksumKind, Part
from sync_daemon.stores import s3_checksums
from sync_daemon.stores.s3_checksums import ALGORITHMS
from sync_daemon.stores.s3_errors import foreign, upload_gone
from sync_daemon.stores.s3_link import Link, read_etag
from sync_daemon.stores.s3_xml import (
    check_completed,
    etag_of,
    is_truncated,
    moment_of,
    number_of,
    text_of,
    write_parts,
)

_MD5 = re.compile(r"[0-9a-f]{32}")
_MULTIPART_ETAG = re.compile(r"[0-9a-f]{32}-\d+")


@dataclass(slots=True)
class _Known:
    """The checksum that an upload was created with, and each part's ETag and checksum."""

    declared: ChecksumKind | None
    checksums: dict[int, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A part as the server lists it."""

    number: int
    size: int
    etag: str
    modified: datetime
    checksums: Mapping[ChecksumKind, str]


class Uploads:
    """The unfinished uploads of one bucket."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}

    def create(self, key: str, kind: ChecksumKind) -> str:
        """Begin an upload whose parts are checked by `kind`; return its id."""
        declared = s3_checksums.declare_algorithm(kind)
        answer = self._link.call("POST", key, query={"uploads": ""}, headers=declared)
        upload = text_of(answer.document, "UploadId", key)
        with self._lock:
            self._known[upload] = _Known(kind if declared else None)
        return upload

    def put(self, key: str, upload: str, number: int, data: Buffer, kind: ChecksumKind) -> Part:
        """Send one part from the caller's buffer, checked as declared, else by `kind`.

        A CRC that was not declared, or that the server does not remember, gives way to the
        dearer MD5: some servers refuse it, then or at the end.
        """
        known = self._find(key, upload)
        checksum = s3_checksums.compute(
            known.declared or ("md5" if kind in ALGORITHMS else kind), data
        )
        query = {"uploadId": upload, "partNumber": str(number)}
        with (
            _known_upload(key),
            self._link.deliver("PUT", key, query=query, checksum=checksum, body=data) as response,
        ):
            response.read()
            etag = read_etag(response.headers, f"part {number} of {key}")
        with self._lock:
            known.checksums[number] = (etag, checksum.value)
        return Part(number, memoryview(data).nbytes, etag)

    def parts(self, key: str, upload: str) -> Sequence[Part]:
        """Return the stored parts, by number."""
        return self._list(key, upload)[1]

    def complete(self, key: str, upload: str, parts: Sequence[Part]) -> None:
        """Make the object of exactly these parts; that it is there already is no error."""
        try:
            known = self._find(key, upload, parts)
            with _known_upload(key):
                answer = self._link.call(
                    "POST",
                    key,
                    query={"uploadId": upload},
                    body=write_parts(_describe(part, known) for part in parts),
                    patient=True,
                )
            check_completed(answer.document, key)
        except UploadGone:
            if not self._is_there(key, parts):
                raise
        self._forget(upload)

    def abort(self, key: str, upload: str) -> None:
        """Forget an upload, if it is there."""
        self._forget(upload)
        with suppress(UploadGone), _known_upload(key):
            self._link.call("DELETE", key, query={"uploadId": upload})

    def _find(self, key: str, upload: str, parts: Sequence[Part] = ()) -> _Known:
        """Return what is known of an upload and these parts; what is not, is listed."""
        with self._lock:
            known = self._known.get(upload)
            if known and (not known.declared or all(_is_known(part, known) for part in parts)):
                return known
        return self._list(key, upload)[0]

    def _list(self, key: str, upload: str) -> tuple[_Known, tuple[Part, ...]]:
        pages = tuple(self._pages(key, upload))
        by_number: dict[int, list[_Entry]] = {}
        for entry in (_read(node, key) for page in pages for node in page.findall("Part")):
            by_number.setdefault(entry.number, []).append(entry)
        with self._lock:
            known = self._known.setdefault(upload, _Known(_read_declared(pages[0])))
            parts: list[Part] = []
            for number, entries in sorted(by_number.items()):
                if held := _newest(entries, known.checksums.get(number, ("", ""))[0]):
                    part = Part(number, held.size, held.etag)
                    value = held.checksums.get(known.declared, "") if known.declared else ""
                    known.checksums[number] = (part.etag, value)
                    parts.append(part)
        return known, tuple(parts)

    def _pages(self, key: str, upload: str) -> Iterator[Element]:
        query = {"uploadId": upload, "max-parts": "1000", "part-number-marker": "0"}
        while True:
            with _known_upload(key):
                page = self._link.call("GET", key, query=query).document
            text_of(page, "UploadId", key)
            yield page
            parts = page.findall("Part")
            if not is_truncated(page) or not parts:
                return
            marker = number_of(parts[-1], "PartNumber", key)
            if marker <= int(query["part-number-marker"]):
                raise foreign(key)  # it would go on for ever
            query["part-number-marker"] = str(marker)

    def _forget(self, upload: str) -> None:
        with self._lock:
            self._known.pop(upload, None)

    def _is_there(self, key: str, parts: Sequence[Part]) -> bool:
        """Tell whether the object of these parts exists: a Complete that was repeated."""
        try:
            with self._link.deliver("HEAD", key) as response:
                size, etag = response.length, (response.headers.get("ETag") or "").strip('"')
        except FileNotFoundError:
            return False
        if size != sum(part.size for part in parts):
            return False
        expected = _multipart_etag(parts)
        return expected is None or not _MULTIPART_ETAG.fullmatch(etag) or etag == expected


@contextmanager
def _known_upload(key: str) -> Iterator[None]:
    """Take a 404 for an upload that is gone, also where no such *key* is said (Ceph 16)."""
    try:
        yield
    except FileNotFoundError as error:
        raise upload_gone(key) from error


def _describe(part: Part, known: _Known) -> dict[str, str | int]:
    described: dict[str, str | int] = {"PartNumber": part.number, "ETag": part.etag}
    value = known.checksums[part.number][1] if _is_known(part, known) else ""
    if known.declared and value:
        described[f"Checksum{ALGORITHMS[known.declared]}"] = value
    return described


def _is_known(part: Part, known: _Known) -> bool:
    return known.checksums.get(part.number, ("", ""))[0] == part.etag


def _read_declared(page: Element) -> ChecksumKind | None:
    declared = page.findtext("ChecksumAlgorithm")
    return next((kind for kind, name in ALGORITHMS.items() if name == declared), None)


def _read(part: Element, key: str) -> _Entry:
    values = {kind: part.findtext(f"Checksum{name}", "") for kind, name in ALGORITHMS.items()}
    return _Entry(
        number=number_of(part, "PartNumber", key),
        size=number_of(part, "Size", key),
        etag=etag_of(part, key),
        modified=moment_of(part, "LastModified", key),
        checksums=values,
    )


def _newest(entries: Sequence[_Entry], sent: str) -> _Entry | None:
    """Return the entry that counts where a part was sent again: SeaweedFS lists them all.

    None where that cannot be told: then the part counts as missing, and is sent once more.
    """
    if mine := [entry for entry in entries if entry.etag == sent]:
        return mine[0]
    last = max(entry.modified for entry in entries)
    newest = [entry for entry in entries if entry.modified == last]
    return newest[0] if len({entry.etag for entry in newest}) == 1 else None


def _multipart_etag(parts: Sequence[Part]) -> str | None:
    """Return the ETag that S3 makes of the parts' MD5s, or None where they are no MD5s."""
    if not all(_MD5.fullmatch(part.etag) for part in parts):
        return None
    joined = b"".join(bytes.fromhex(part.etag) for part in parts)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(parts)}"
