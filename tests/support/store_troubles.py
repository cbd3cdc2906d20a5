"""What a bad store does, where, and what has to come of it: the rows of the store's table.

An outcome is "published", or the kind of error that the run fails with. `passing` trouble
strikes once, `lasting` trouble every time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from tests.support.storeproxy import Answer, Effect, Exchange, Hangup

PUBLISHED = "published"
DOWN, REFUSED, FULL = "store_unavailable", "store_refused", "store_full"
LOST, GONE = "precondition_failed", "upload_gone"
LITTLE, LARGE, STAGED = "little", "large", "staged"
"""What is to be mirrored: small files only; a file in parts; one whose digest nobody promised."""
GAP = 0.02
"""Seconds between two pieces of an answer that drips."""


@dataclass(frozen=True, slots=True)
class Place:
    """One kind of request of a run. `optional` names the event that tells of its failure
    where the run goes on without it; `early` ones come before any byte was moved."""

    name: str
    kind: str
    optional: str | None = None
    early: bool = False
    scene: str = LITTLE


PROBE = Place("probe", "PUT staging", early=True)
MARKER = Place("marker read", "GET marker", early=True)
MARKS = Place("list of marks", "LIST condemned", early=True)
JOURNALS = Place("list of journals", "LIST uploads", early=True)
CURRENT = Place("current.json read", "GET current", early=True)
LOCK = Place("lock PUT", "PUT lock", early=True)
UNLOCK = Place("unlock PUT", "PUT unlock", optional="lock.lost")
MANIFEST_READ = Place("manifest read", "GET manifest", early=True)
SHELF = Place("list of a shelf", "LIST blobs", early=True)
HEAD = Place("HEAD of a blob", "HEAD blob", early=True)
BLOB = Place("small blob PUT", "PUT blob")
CREATE = Place("CreateMultipartUpload", "CREATE", scene=LARGE)
JOURNAL = Place("journal PUT", "PUT journal", optional="journal.lost", scene=LARGE)
PART = Place("UploadPart", "PART", scene=LARGE)
COMPLETE = Place("CompleteMultipartUpload", "COMPLETE", scene=LARGE)
COPY = Place("CopyObject", "PUT copy", scene=STAGED)
FORGET = Place("journal DELETE", "DELETE journal", optional="journal.lost", scene=LARGE)
BLOB_READ = Place("blob read", "GET blob", scene=LARGE)
MANIFEST = Place("manifest PUT", "PUT manifest")
POINTER = Place("current.json PUT", "PUT current")
REPORT = Place("run report PUT", "PUT report", optional="run.report_lost")

READS = (MARKER, CURRENT, MANIFEST_READ, BLOB_READ)
LISTS = (MARKS, JOURNALS, SHELF)
CONDITIONAL = (LOCK, BLOB, MANIFEST, POINTER)
WRITES = (LOCK, UNLOCK, JOURNAL, BLOB, PART, MANIFEST, POINTER, REPORT)
EFFECTIVE = (*WRITES, CREATE, COMPLETE, COPY, FORGET)
EVERYWHERE = (PROBE, *READS, *LISTS, HEAD, *EFFECTIVE)
WIRES = (CURRENT, SHELF, PART, COMPLETE, POINTER)
"""One place of each way to ask: signed with its body or without, with one to read or to write."""
REPEATED = (PROBE, PART, CREATE, *WRITES)
"""Several requests of the kind go out before, or although, one was refused."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One row: what happens, where, and the outcomes; the `but`s name the places that differ.

    `wait` is the least that must be waited before the next try, in seconds; `once` is a
    trouble that is never tried again, `effective` one that comes after the request was obeyed, and
    `silent` one that is only noticed by waiting.
    """

    name: str
    effect: Effect
    places: tuple[Place, ...]
    passing: str = PUBLISHED
    lasting: str = DOWN
    passing_but: Mapping[Place, str] = field(default_factory=dict)
    lasting_but: Mapping[Place, str] = field(default_factory=dict)
    wait: float = 0.0
    once: bool = False
    effective: bool = False
    silent: bool = False

    def passes(self, place: Place) -> bool:
        """Tell whether striking once is another case than striking always."""
        return not self.once or place in WIRES or place.optional is not None

    def outcome(self, place: Place, *, lasting: bool) -> str:
        """Return what has to come of it."""
        but = self.lasting_but if lasting else self.passing_but
        usual = self.lasting if lasting else self.passing
        return but.get(place, PUBLISHED if place.optional else usual)


def _say(status: int, body: bytes, *headers: tuple[str, str]) -> Effect:
    return lambda exchange: exchange.answer(Answer(status, body, headers))


def _refuse(status: int, code: str, *headers: tuple[str, str]) -> Effect:
    """S3's own error document, with the request id that it always has."""
    document = f'<?xml version="1.0"?><Error><Code>{code}</Code><Key>k</Key></Error>'.encode()
    kind = (("Content-Type", "application/xml"), ("x-amz-request-id", "17"))
    return _say(status, document, *kind, *headers)


def _page(status: int) -> Effect:
    page = b"<html><body><h1>gateway</h1><p>no such thing as S3 here</p></body></html>"
    return _say(status, page, ("Content-Type", "text/html"))


def _reset(exchange: Exchange) -> None:
    exchange.read()
    exchange.reset()


def _reset_in_the_body(exchange: Exchange) -> None:
    exchange.read(int(exchange.request.get("content-length") or 0) // 2)
    exchange.reset()


def _reset_after_the_effect(exchange: Exchange) -> None:
    exchange.forward()
    exchange.reset()


def _stall(exchange: Exchange) -> None:
    exchange.read()
    exchange.wait_for_the_client_to_go()


def _drip(exchange: Exchange) -> None:
    data = exchange.forward().encode(exchange.request.method)
    head, _, body = data.partition(b"\r\n\r\n")
    step = max(1, len(head) // 20)
    for start in range(0, len(head), step):
        exchange.send(head[start : start + step])
        time.sleep(GAP)
    exchange.send(b"\r\n\r\n" + body)


def _cut(exchange: Exchange) -> None:
    """End the connection within the body, or within the headers where there is none."""
    answer = exchange.forward()
    data = answer.encode(exchange.request.method)
    last = len(answer.body) // 2 + 1 if answer.body and exchange.request.method != "HEAD" else 9
    exchange.send(data[:-last])
    raise Hangup


def _change(change: Callable[[Answer], Answer]) -> Effect:
    return lambda exchange: exchange.answer(change(exchange.forward()))


def _damage(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 0x20]) + body[middle + 1 :] if body else body


def _corrupt_request(exchange: Exchange) -> None:
    exchange.answer(exchange.forward(_damage))


def _garble(answer: Answer) -> Answer:
    return replace(answer, body=answer.body[: len(answer.body) // 2] + b"<<>\xff")


def _change_etag(answer: Answer) -> Answer:
    wrong = '"00000000000000000000000000000000"'
    headers = tuple((n, wrong if n.lower() == "etag" else v) for n, v in answer.headers)
    return replace(answer, headers=headers)


def _without_etag(answer: Answer) -> Answer:
    return replace(answer, headers=tuple(h for h in answer.headers if h[0].lower() != "etag"))


def _faults() -> Iterator[Trouble]:
    """Trouble that can heal: it is tried again."""
    yield Trouble("500 InternalError", _refuse(500, "InternalError"), EVERYWHERE)
    yield Trouble("502 page", _page(502), WIRES)
    yield Trouble("503 SlowDown", _refuse(503, "SlowDown"), WIRES)
    wish = ("Retry-After", "2")
    yield Trouble("503 SlowDown, Retry-After", _refuse(503, "SlowDown", wish), WIRES, wait=2)
    yield Trouble("503 page", _page(503), (*WIRES, HEAD))
    yield Trouble("RST before the effect", _reset, (MARKER, HEAD, *WIRES, LOCK, JOURNAL, REPORT))
    yield Trouble("RST in the body", _reset_in_the_body, (LOCK, BLOB, PART, MANIFEST, POINTER))
    yield Trouble("RST after the effect", _reset_after_the_effect, EFFECTIVE, effective=True)
    yield Trouble(
        "stall", _stall, (MARKER, HEAD, *WIRES, LOCK, JOURNAL, CREATE, COPY, REPORT), silent=True
    )
    yield Trouble("headers drip", _drip, (*WIRES, REPORT), lasting=PUBLISHED)
    finds_itself = dict.fromkeys((*CONDITIONAL, COMPLETE), PUBLISHED)
    late = {"lasting_but": finds_itself, "effective": True}
    places = (*READS, *LISTS, *CONDITIONAL, PART, CREATE, COMPLETE)
    yield Trouble("answer cut short", _cut, places, **late)  # type: ignore[arg-type]
    places = (*LISTS, CREATE, COMPLETE, COPY)
    yield Trouble("garbled XML", _change(_garble), places, **late)  # type: ignore[arg-type]
    places = (CURRENT, HEAD, LOCK, BLOB, PART, POINTER)
    yield Trouble("no ETag", _change(_without_etag), places, **late)  # type: ignore[arg-type]
    yield Trouble("bytes damaged on the way", _corrupt_request, WRITES)
    places = tuple(place for place in EVERYWHERE if place is not FORGET)
    yield Trouble("200 page of a proxy", _page(200), places)
    yield Trouble("404 page of a proxy", _page(404), EVERYWHERE)
    yield Trouble("200 with an Error inside", _refuse(200, "InternalError"), (COMPLETE, COPY))


def _refusals() -> Iterator[Trouble]:
    """What is not tried again; the next run asks anew."""
    no = {"passing": REFUSED, "lasting": REFUSED, "once": True}
    yield Trouble("403 AccessDenied", _refuse(403, "AccessDenied"), EVERYWHERE, **no)  # type: ignore[arg-type]
    skewed = _refuse(403, "RequestTimeTooSkewed")
    yield Trouble("403 RequestTimeTooSkewed", skewed, WIRES, **no)  # type: ignore[arg-type]
    skewed = _refuse(400, "RequestTimeTooSkewed")
    yield Trouble("400 RequestTimeTooSkewed", skewed, (PROBE, *WIRES), **no)  # type: ignore[arg-type]
    places = (MARKER, *WIRES, LOCK, BLOB, CREATE, REPORT)
    yield Trouble("404 NoSuchBucket", _refuse(404, "NoSuchBucket"), places, **no)  # type: ignore[arg-type]
    full = {"passing": FULL, "lasting": FULL, "once": True}
    places = (*WRITES, CREATE, COMPLETE, COPY)
    yield Trouble("507 XMinioStorageFull", _refuse(507, "XMinioStorageFull"), places, **full)  # type: ignore[arg-type]
    places = (PROBE, BLOB, PART, COMPLETE)
    yield Trouble("500 XMinioStorageFull", _refuse(500, "XMinioStorageFull"), places, **full)  # type: ignore[arg-type]
    quota = _refuse(400, "XMinioAdminBucketQuotaExceeded")
    yield Trouble("400 quota exceeded", quota, places, **full)  # type: ignore[arg-type]
    other = {BLOB: PUBLISHED, LOCK: "locked_elsewhere", MANIFEST: REFUSED}
    yield Trouble(
        "412 without a reason",
        _refuse(412, "PreconditionFailed"),
        CONDITIONAL,
        passing=LOST,
        lasting=LOST,
        passing_but=other,
        lasting_but=other | {BLOB: LOST},
    )
    gone = _refuse(404, "NoSuchUpload")
    yield Trouble("404 NoSuchUpload", gone, (PART, COMPLETE), lasting=GONE)
    wrong = {"passing": REFUSED, "lasting": REFUSED}
    yield Trouble("wrong ETag", _change(_change_etag), (PART,), **wrong)  # type: ignore[arg-type]


TROUBLES = (*_faults(), *_refusals())
