"""Files of the Hub double: /resolve/ and its redirects, and the CDN behind signed addresses.

A large file is answered with 302 to the CDN, a small one with 307 to /api/resolve-cache, both
carrying X-Repo-Commit and the X-Linked-* pair. The CDN knows files
by SHA-256 only, has an ETag that is not the SHA-256, refuses signed requests that also carry
Authorization, and honours Range, If-Range, If-Match and If-None-Match.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlencode

from .hub_api import quote_path, split_revision
from .hub_message import Answer, Body, Headers, whole
from .hub_state import KINDS, HubState, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .hub_message import Request, Seen
    from .hub_repo import Blob, Commit, Repo

FOLDERS = {"model": "models", "dataset": "datasets", "space": "spaces"}
KEY = b"the double signs with this"


class Files:
    """Answers /resolve/ and /api/resolve-cache/ on the Hub."""

    def __init__(self, state: HubState, cdn: Cdn) -> None:
        self._state = state
        self._cdn = cdn

    def resolve(self, request: Request, seen: Seen, kind: str, segments: Sequence[str]) -> Answer:
        """Answer for the raw segments of id/resolve/revision/path."""
        name, found, rest = self._state.split_name(kind, segments)
        if rest[:1] != ["resolve"]:
            raise Refused(404, "", "Sorry, we can't find the page you are looking for.")
        revision, below = split_revision(rest[1:])
        repo, commit, path, blob = self._find(request, found, name, revision, below)
        seen.repo, seen.file = name, path
        if not blob.lfs and self._state.small_files == "direct":
            return serve(blob, request, (("X-Repo-Commit", commit.sha),), blob.oid)
        linked = self._linked(request, repo, commit, blob)
        if not blob.lfs:
            return self._to_cache(request, repo, commit, path, blob, linked)
        if self._state.large_files == "direct":
            return serve(blob, request, linked, blob.sha256)
        return _redirect(302, self._cdn.sign(blob, path), linked)

    def cached(self, request: Request, seen: Seen, segments: Sequence[str]) -> Answer:
        """Answer for the raw segments of models/id/commit/path below /api/resolve-cache/."""
        kind = KINDS.get(segments[0], "") if segments else ""
        name, found, rest = self._state.split_name(kind, segments[1:])
        if not rest:
            raise Refused(404, "", "Sorry, we can't find the page you are looking for.")
        _, commit, path, blob = self._find(request, found, name, unquote(rest[0]), rest[1:])
        seen.repo, seen.file = name, path
        return serve(blob, request, (("X-Repo-Commit", commit.sha),), blob.oid)

    def _find(
        self, request: Request, found: Repo | None, name: str, revision: str, below: Sequence[str]
    ) -> tuple[Repo, Commit, str, Blob]:
        repo = self._state.admit(request, found, name)
        self._state.admit_files(request, repo)
        commit = self._state.revision(repo, revision)
        path = "/".join(unquote(part, errors="surrogateescape") for part in below)
        if path not in commit.files:
            where = (("X-Repo-Commit", commit.sha),)
            raise Refused(404, "EntryNotFound", "Entry not found", where)
        return repo, commit, path, commit.files[path]

    def _linked(self, request: Request, repo: Repo, commit: Commit, blob: Blob) -> Headers:
        linked: Headers = (
            ("X-Repo-Commit", commit.sha),
            ("X-Linked-Size", str(blob.size)),
            ("X-Linked-ETag", f'"{blob.etag}"'),
            ("Accept-Ranges", "bytes"),
        )
        if not (self._state.xet and blob.lfs):
            return linked
        host = request.headers.get("host", "")
        place = f"api/{FOLDERS[repo.kind]}/{repo.name}/xet-read-token/{commit.sha}"
        route = f"http://{host}/{place}"
        return (
            *linked,
            ("X-Xet-Hash", blob.xet_hash),
            ("X-Xet-Refresh-Route", route),
            ("Link", f'<{route}>; rel="xet-auth"'),
        )

    def _to_cache(  # noqa: PLR0917 - the parts of one address
        self,
        request: Request,
        repo: Repo,
        commit: Commit,
        path: str,
        blob: Blob,
        linked: Headers,
    ) -> Answer:
        place = f"{FOLDERS[repo.kind]}/{repo.name}/{commit.sha}/{quote_path(path)}"
        query = f"{quote(request.path, safe='')}=&etag={quote(chr(34) + blob.oid + chr(34))}"
        target = f"/api/resolve-cache/{place}?{query}"
        return _redirect(307, self._state.locate(request, target), linked)


class Cdn:
    """Serves large files to whoever has an address signed for them that has not expired."""

    def __init__(self, state: HubState) -> None:
        self.url = ""
        self._state = state
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._oldest_good = 0
        self._blobs: dict[str, Blob] = {}
        self._uses: dict[str, int] = {}

    def sign(self, blob: Blob, path: str) -> str:
        """Return a new signed address of a blob; no two are equal."""
        name = quote_path(path).replace("/", "%2F")
        with self._lock:
            self._blobs[blob.sha256] = blob
            number = next(self._numbers)
        place = f"/repos/{blob.sha256[:2]}/{blob.sha256[2:4]}/{blob.sha256}"
        query = urlencode(
            {
                "response-content-disposition": f"inline; filename*=UTF-8''{name}",
                "Expires": f"{time.time() + self._state.url_life:.3f}",
                "Key-Pair-Id": "KDOUBLE",
                "X-Id": str(number),
            }
        )
        return f"{self.url}{place}?{query}&Signature={_signature(place, query)}"

    def expire(self) -> None:
        """Refuse every address that was signed until now."""
        with self._lock:
            self._oldest_good = next(self._numbers) + 1

    def count_use(self, request: Request, seen: Seen) -> Request:
        """Note which file is meant and how often this address was used."""
        query = dict(parse_qsl(request.query))
        named = query.get("response-content-disposition", "").partition("''")[2]
        seen.file = unquote(named, errors="surrogatepass")
        seen.sha256 = request.path.rpartition("/")[2]
        mark = query.get("Signature", "")
        with self._lock:
            self._uses[mark] = self._uses.get(mark, 0) + 1
            return replace(request, uses=self._uses[mark])

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        if request.method not in ("GET", "HEAD"):
            return _cdn_refusal(405, "MethodNotAllowed")
        signed, _, signature = request.query.rpartition("&Signature=")
        query = dict(parse_qsl(signed))
        if not signature:
            return _cdn_refusal(403, "MissingKey")
        if "authorization" in request.headers:
            return _cdn_refusal(400, "InvalidArgument: only one auth mechanism allowed")
        if not hmac.compare_digest(signature, _signature(request.path, signed)):
            return _cdn_refusal(403, "SignatureDoesNotMatch")
        if float(query["Expires"]) <= time.time() or int(query["X-Id"]) < self._oldest_good:
            return _cdn_refusal(403, "AccessDenied: Request has expired")
        blob = self._blobs[request.path.rpartition("/")[2]]
        shown = (("Content-Disposition", query["response-content-disposition"]),)
        return serve(blob, request, shown, blob.xet_hash)


def serve(blob: Blob, request: Request, headers: Headers, etag: str) -> Answer:
    """Answer with the bytes of a blob: whole, in part, or not at all as the conditions say."""
    if request.etag_salt:
        etag = hashlib.sha256(f"{etag}{request.etag_salt}".encode()).hexdigest()
    quoted = f'"{etag}"'
    told: Headers = (
        ("Content-Type", "application/octet-stream"),
        ("ETag", quoted),
        ("Accept-Ranges", "bytes"),
        *headers,
    )
    if request.headers.get("if-match", quoted) not in (quoted, "*"):
        return Answer(412, told)
    if request.headers.get("if-none-match") in (quoted, "*"):
        return Answer(304, told)
    span = parse_range(request.headers.get("range"), blob.size)
    if span is None or request.headers.get("if-range", quoted) != quoted:
        return Answer(200, told, Body(blob.content, 0, blob.size))
    start, stop = span
    if start >= stop:
        return Answer(416, (*told, ("Content-Range", f"bytes */{blob.size}")))
    said = ("Content-Range", f"bytes {start}-{stop - 1}/{blob.size}")
    return Answer(206, (*told, said), Body(blob.content, start, stop))


def parse_range(text: str | None, size: int) -> tuple[int, int] | None:
    """Return start and stop of a single byte range (empty: cannot be met), None to ignore it."""
    unit, _, span = (text or "").partition("=")
    first, dash, last = span.strip().partition("-")
    if unit.strip() != "bytes" or not dash or not (first + last).isdecimal():
        return None
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, size) if last else size


def _signature(place: str, query: str) -> str:
    return hmac.new(KEY, f"{place}?{query}".encode(), hashlib.sha256).hexdigest()


def _redirect(status: int, location: str, headers: Headers) -> Answer:
    word = "Found" if status == 302 else "Temporary Redirect"
    kind = ("Content-Type", "text/plain; charset=utf-8")
    body = whole(f"{word}. Redirecting to {location}".encode())
    return Answer(status, (kind, ("Location", location), *headers), body)


def _cdn_refusal(status: int, message: str) -> Answer:
    body = f"<?xml version='1.0'?><Error><Code>{message}</Code></Error>".encode()
    return Answer(status, (("Content-Type", "application/xml"),), whole(body))
