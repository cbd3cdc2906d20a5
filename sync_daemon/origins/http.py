"""Files on any web server, named one by one in the YAML.

There are no commits and no listing: a digest over paths, sizes and what the server says of
each file (its SHA-256 if the YAML knows it, else ETag or Last-Modified) stands for a commit.
Servers that ignore ranges are found out beforehand, and such files are read from their start.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NoReturn
from urllib.parse import quote

from sync_daemon.domain import canonical
from sync_daemon.domain.digests import CommitId, Digest
from sync_daemon.domain.errors import (
    ConfigurationError,
    Forbidden,
    OriginChanged,
    OriginFileNotFound,
    OriginLied,
    OriginUnavailable,
    RepositoryNotFound,
    RevisionNotFound,
    SyncError,
)
from sync_daemon.domain.listing import Listing, RawFile, Refs, RemoteFile, Repository, Resolved
from sync_daemon.ports import Reader
from sync_daemon.wire import Http, Response
from sync_daemon.wire.addresses import REFUSED_ADDRESS, Addresses, OtherContent
from sync_daemon.wire.answers import (
    EmptyReader,
    ExactReader,
    Fields,
    Span,
    check_answer,
    follow,
    is_busy,
    naming,
    retry_after,
    total_size,
)
from sync_daemon.wire.places import AGAIN, check_field, place_of

MAIN = "main"
_OK, _PARTIAL, _UNSATISFIABLE = 200, 206, 416
_NO_TOKEN, _FORBIDDEN = 401, 403
_HEAD_REFUSED = frozenset((400, 403, 405, 501))  # signed links often allow GET only
_FIRST_BYTE = {"Range": "bytes=0-0"}
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class HttpFile:
    """A file of a repository: its path below the repository's URL, its SHA-256 if known."""

    path: str
    sha256: str | None = None


class HttpOrigin:
    """Repositories below one URL; `files` says for each of them by name what it holds.

    `headers` (a token, say) go to the host of `url` only, never along a redirect elsewhere.
    """

    type = "http"
    hops = 0
    record = None

    def __init__(
        self,
        name: str,
        url: str,
        *,
        http: Http,
        files: Mapping[str, tuple[HttpFile, ...]],
        headers: Mapping[str, str] = _NOTHING,
    ) -> None:
        self.name = name
        self._url = _clean(name, url, headers)
        self._http = http
        self._files = files
        self._private = headers
        self._addresses = Addresses(http, headers)
        self._lock = threading.Lock()
        self._scans: dict[Repository, Listing] = {}

    def refs(self, repository: Repository) -> Refs:
        """Return `main` as it is now: one request a file, which `list` does not repeat."""
        listing = self._scan(repository)
        with self._lock:
            self._scans[repository] = listing
        return Refs({MAIN: listing.commit}, {})

    def resolve(self, repository: Repository, revision: str) -> Resolved:
        """Return `main`, or the present state if `revision` is its very digest."""
        commit = self.refs(repository).branches[MAIN]
        if revision == MAIN:
            return Resolved(revision, commit, "branch")
        if revision != commit:
            self._fail_revision(repository, revision)
        return Resolved(revision, commit, "commit")

    def list(self, repository: Repository, commit: CommitId) -> Listing:
        """Return every file. Raises RevisionNotFound when the files are no longer at `commit`."""
        with self._lock:
            listing = self._scans.pop(repository, None)
        if listing is None or listing.commit != commit:
            listing = self._scan(repository)
        if listing.commit != commit:
            self._fail_revision(repository, commit)
        return listing

    def open(
        self, repository: Repository, commit: CommitId, file: RemoteFile, start: int, stop: int
    ) -> Reader:
        """Open a range; for a file with `ranges=False` only the whole of it."""
        del commit  # the file's own token says whether it is still the same
        if start == stop:
            return EmptyReader()
        span = Span(start, stop, file.size)
        if not file.ranges and not span.whole:
            message = f"{file.path}: this server cannot send a part of it"
            raise OriginLied(message)
        try:
            response = self._get(self._address(repository, file.path), file, span)
        except OtherContent as error:
            self._check_replaced(repository, file, error)
            raise
        return ExactReader(response, stop - start, file.path)

    def _get(self, url: str, file: RemoteFile, span: Span) -> Response:
        with naming(file.path):
            response = self._addresses.get(url, span, file.path)
        try:
            self._check_status(response, file.path)
            _check_page(response, file.path)
            _check_token(response.headers, file, span)
            check_answer(response, span, file.path)
        except BaseException as error:
            response.close()
            if isinstance(error, OriginLied):
                self._addresses.forget(url)
            raise
        return response

    def _check_replaced(self, repository: Repository, file: RemoteFile, error: OriginLied) -> None:
        """Raise OriginChanged if the server now lists the file as another one. If it does not,
        one of several servers may be behind, and another attempt may do better."""
        if self._look(repository, HttpFile(file.path, file.sha256)).token != file.token:
            hint = "the next run lists it anew, and fetches what is there then"
            raise OriginChanged(str(error), hint=hint) from error

    def distrust(
        self, repository: Repository, commit: CommitId, file: RemoteFile, reason: SyncError
    ) -> None:
        """Do nothing: nobody else could send the file."""

    def check(self) -> str:
        """Say how the server answers at the origin's URL.

        Many forbid to look at a folder without an index: then it is a file that tells whether
        the token is good. Raises Forbidden, and what asking for a file raises.
        """
        landing = follow(self._http, "HEAD", self._url, headers={}, private=self._private)
        with landing.response as response:
            status = response.status
            if is_busy(status) or status == _NO_TOKEN:
                self._check_status(response, self._url)
        answer = f"{self._url}: answers (status {status})"
        if status != _FORBIDDEN:
            return answer
        for name, files in self._files.items():
            for file in files[:1]:
                self._look(Repository(name), file)
                return f"{answer}, and has {file.path}"
        return f"{answer}; no model names a file to try"

    def _scan(self, repository: Repository) -> Listing:
        named = self._files.get(repository.name)
        if named is None:
            message = f"origin {self.name!r}: nothing says which files {repository.name!r} has"
            hint = "a server has no listing: name them under `files` of the model"
            raise RepositoryNotFound(message, hint=hint)
        files = tuple(self._look(repository, one) for one in sorted(named, key=lambda f: f.path))
        return Listing(_identify(files), files)

    def _look(self, repository: Repository, file: HttpFile) -> RawFile:
        """Ask for size and validator: by HEAD, else by asking for the first byte."""
        url = self._address(repository, file.path)
        headers, size, ranges = self._head(url, file.path)
        if size is None or ranges is None:
            headers, size, ranges = self._probe(url, file.path)
        if size is None:
            message = f"{file.path}: the server does not say how big it is"
            hint = "it must send a Content-Length for a mirror to know when it has all"
            raise OriginLied(message, hint=hint)
        token = _token(headers)
        # without both, nothing would tell that two ranges are of the same file
        one_file = token is not None or file.sha256 is not None
        splits = (bool(ranges) and one_file) or not size
        declared = file.sha256 is not None
        return RawFile(file.path, size, file.sha256, token=token, ranges=splits, declared=declared)

    def _head(self, url: str, path: str) -> tuple[Fields, int | None, bool | None]:
        landing = follow(self._http, "HEAD", url, headers={}, private=self._private)
        with landing.response as response:
            if response.status in _HEAD_REFUSED:
                return response.headers, None, None
            self._check_status(response, path)
            _check_page(response, path)
            said = (response.headers.get("Accept-Ranges") or "").lower()
            ranges = True if said == "bytes" else False if said == "none" else None
            return response.headers, response.length, ranges

    def _probe(self, url: str, path: str) -> tuple[Fields, int | None, bool]:
        landing = follow(self._http, "GET", url, headers=_FIRST_BYTE, private=self._private)
        with landing.response as response:
            if response.status in {_PARTIAL, _UNSATISFIABLE}:
                response.read(1)
                size = total_size(response.headers.get("Content-Range"))
                return response.headers, size, True
            self._check_status(response, path)
            _check_page(response, path)
            return response.headers, response.length, False

    def _address(self, repository: Repository, path: str) -> str:
        name = f"/{quote(repository.name)}" if repository.name else ""
        return f"{self._url}{name}/{quote(path)}"

    def _check_status(self, response: Response, what: str) -> None:
        status = response.status
        if status in {_OK, _PARTIAL}:
            return
        message = f"{what}: {place_of(response.url).authority} answered with status {status}"
        if is_busy(status):
            wish = retry_after(response.headers)
            raise OriginUnavailable(message, hint=AGAIN, retry_after=wish)
        if status in {401, 403, 404, 410} and place_of(response.url) != place_of(self._url):
            raise OriginLied(f"{message}, whereto it was sent", hint=REFUSED_ADDRESS)
        if status in {401, 403, 407}:
            hint = f"does it need a token? see origins.{self.name}.headers"
            raise Forbidden(message, hint=hint)
        if status in {404, 410}:
            raise OriginFileNotFound(message, hint=f"check the path and origins.{self.name}.url")
        raise OriginLied(message)

    def _fail_revision(self, repository: Repository, revision: str) -> NoReturn:
        message = (
            f"origin {self.name!r}: {repository.name!r} is not at {revision}; a web server only"
            f" has {MAIN}, which is what it serves now"
        )
        hint = "if the YAML pins it, remove `revision`, for it is gone; else run again"
        raise RevisionNotFound(message, hint=hint)


def _clean(origin: str, url: str, headers: Mapping[str, str]) -> str:
    try:
        place_of(url)
        for field, value in headers.items():
            check_field(field, value)
    except ValueError as error:
        message = f"origin {origin!r}: {error}"
        hint = f"see origins.{origin}: a url is written https://host/folder"
        raise ConfigurationError(message, hint=hint) from error
    return url.rstrip("/")


def _token(headers: Fields) -> str | None:
    """Return what tells this content from another: the strongest word the server has."""
    etag, modified = headers.get("ETag"), headers.get("Last-Modified")
    if etag and (not etag.startswith("W/") or not modified):
        return f"etag {etag}"
    return f"date {modified}" if modified else None


def _check_token(headers: Fields, file: RemoteFile, span: Span) -> None:
    """Raise OriginLied unless this is the file that was listed: two must never be mixed."""
    if file.token is None:
        return
    kind, _, known = file.token.partition(" ")
    said = headers.get("ETag" if kind == "etag" else "Last-Modified")
    if said is None and file.sha256 is None and not span.whole:
        message = (
            f"{file.path}: a range came without the ETag or date that the file was listed with"
        )
        raise OriginLied(message, hint="give the file's sha256 in the YAML, which proves more")
    if said is not None and said != known:
        message = f"{file.path}: the file changed on the server after it was listed"
        raise OtherContent(message, hint="run again")


def _check_page(response: Response, path: str) -> None:
    kind = response.headers.get("Content-Type") or ""
    if kind.startswith("text/html") and not path.endswith((".html", ".htm")):
        message = f"{path}: a web page came instead of the file"
        raise OriginLied(message, hint="a login page or a proxy may stand between")


def _identify(files: tuple[RawFile, ...]) -> CommitId:
    entries = [
        canonical.present(path=file.path, size=file.size, content=file.sha256 or file.token)
        for file in files
    ]
    return CommitId(Digest.of(canonical.encode({"files": entries})))
