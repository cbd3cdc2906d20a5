"""Reads files of a Hub by ranges, and says in our words why it will not give one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from sync_daemon.domain.digests import CommitId
from sync_daemon.domain.errors import (
    Forbidden,
    OriginFileNotFound,
    OriginLied,
    OriginRefused,
    OriginUnavailable,
    RepositoryNotFound,
    RevisionNotFound,
)
from sync_daemon.domain.listing import RemoteFile, Repository
from sync_daemon.origins.hub_client import Hints
from sync_daemon.wire import Http, Response
from sync_daemon.wire.addresses import REFUSED_ADDRESS, Addresses
from sync_daemon.wire.answers import ExactReader, Span, check_answer, is_busy, naming, retry_after
from sync_daemon.wire.places import AGAIN, place_of

_FOLDERS = {"model": "", "dataset": "datasets/", "space": "spaces/"}
_REFUSALS: dict[str, tuple[type[OriginRefused], str]] = {
    "RepoNotFound": (RepositoryNotFound, "the repository is gone, or no longer for everybody"),
    "GatedRepo": (Forbidden, "access is granted only to those who accepted its licence"),
    "RevisionNotFound": (RevisionNotFound, "the commit is gone"),
    "EntryNotFound": (OriginFileNotFound, "the file was listed and is not there"),
}


@dataclass(frozen=True, slots=True)
class FileAt:
    """A file at one commit, as one endpoint names it."""

    endpoint: str
    repository: Repository
    commit: CommitId
    path: str

    @property
    def url(self) -> str:
        """The address that resolves it."""
        folder = _FOLDERS[self.repository.kind]
        name = quote(self.repository.name)
        return f"{self.endpoint}/{folder}{name}/resolve/{self.commit}/{quote(self.path)}"

    def __str__(self) -> str:
        return f"{self.path} of {self.repository.name}"


class HubFiles:
    """Opens ranges of files; `private` headers, by endpoint, go to that endpoint only."""

    def __init__(self, http: Http, private: Mapping[str, Mapping[str, str]], hints: Hints) -> None:
        self._addresses = {url: Addresses(http, headers) for url, headers in private.items()}
        self._hints = hints

    def open(self, place: FileAt, file: RemoteFile, span: Span) -> ExactReader:
        """Open a range. Raises as `ports.Origin.open` says."""

        def check_commit(response: Response) -> None:
            commit = response.headers.get("X-Repo-Commit")
            if commit is not None and commit != place.commit:
                message = f"{place}: asked for commit {place.commit}, and {commit} came"
                raise OriginLied(message)

        addresses = self._addresses[place.endpoint]
        with naming(str(place)):
            response = addresses.get(place.url, span, str(place), check_commit)
        try:
            self._check_status(response, place)
            _check_page(response, place, file)
            check_answer(response, span, str(place))
        except BaseException as error:
            response.close()
            if isinstance(error, OriginLied):
                addresses.forget(place.url)
            raise
        return ExactReader(response, span.stop - span.start, str(place))

    def _check_status(self, response: Response, place: FileAt) -> None:
        status = response.status
        if status in {200, 206}:
            return
        where = f"{place}: {place_of(response.url).authority}"
        if is_busy(status):
            message = f"{where} answered with status {status}"
            wish = retry_after(response.headers)
            raise OriginUnavailable(message, hint=AGAIN, retry_after=wish)
        code = response.headers.get("X-Error-Code") or ""
        elsewhere = place_of(response.url) != place_of(place.url)
        if status in {401, 403, 404, 410} and elsewhere and not code:
            message = f"{where} refused the address that the Hub gave (status {status})"
            raise OriginLied(message, hint=REFUSED_ADDRESS)
        kind, problem = _REFUSALS.get(code) or _by_status(status)
        message = f"{where}: {problem} (status {status})"
        if kind is None:
            raise OriginLied(message, hint="run again; the file may have been replaced")
        raise kind(message, hint=self._hints.get(kind))


def _check_page(response: Response, place: FileAt, file: RemoteFile) -> None:
    if file.lfs and (response.headers.get("Content-Type") or "").startswith("text/html"):
        message = f"{place}: a web page came instead of the file"
        raise OriginLied(message, hint="a login page or a proxy may stand between")


def _by_status(status: int) -> tuple[type[OriginRefused] | None, str]:
    if status in {401, 403}:
        return Forbidden, "the token is missing, wrong or not sufficient"
    if status in {404, 410}:
        return OriginFileNotFound, "the file was listed and is not there"
    if status == 416:  # noqa: PLR2004 - Range Not Satisfiable
        return None, "the file is shorter than was listed"
    return None, "an answer that makes no sense"
