"""The Hugging Face Hub, its mirrors, and whatever else speaks its API.

huggingface_hub lists and resolves, `hub_files` moves bytes, `endpoints` chooses whom they ask.
What an endpoint lists is checked against what it says elsewhere, because a lost page of a
listing looks like a small model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Literal, Protocol

from huggingface_hub import DatasetInfo, HfApi, ModelInfo, SpaceInfo

from sync_daemon import __version__
from sync_daemon.domain.digests import CommitId
from sync_daemon.domain.errors import (
    ConfigurationError,
    Forbidden,
    OriginLied,
    OriginUnavailable,
    RepositoryNotFound,
    SyncError,
)
from sync_daemon.domain.listing import (
    Listing,
    RawFile,
    RefKind,
    Refs,
    RemoteFile,
    Repository,
    Resolved,
)
from sync_daemon.origins.endpoints import Endpoints
from sync_daemon.origins.hub_client import asking, hints_for, install_client
from sync_daemon.origins.hub_files import FileAt, HubFiles
from sync_daemon.origins.hub_tree import list_tree
from sync_daemon.ports import Reader, Record
from sync_daemon.wire import Http
from sync_daemon.wire.answers import EmptyReader, Span

_Info = ModelInfo | DatasetInfo | SpaceInfo
_KINDS = frozenset(("model", "dataset", "space"))


class Token(Protocol):
    """A secret that shows itself only when asked."""

    def reveal(self) -> str:
        """Return the text, for the one place that sends it."""


class HuggingFace:
    """Repositories of the Hub at one or more endpoints.

    `token` goes to these endpoints only, and one of `tokens`, by URL, to its own endpoint in its
    place; without one nobody's cached token is used either.
    """

    type = "huggingface"
    hops = 1

    def __init__(
        self,
        name: str,
        endpoints: Endpoints,
        token: Token | None,
        *,
        http: Http,
        tokens: Mapping[str, Token] = MappingProxyType({}),
    ) -> None:
        self.name = name
        self._endpoints = endpoints
        self._http = http
        self._tokens = {url: _checked(name, tokens.get(url, token)) for url in endpoints.urls}
        self._hints = hints_for(name)
        private = {url: self._private(url) for url in endpoints.urls}
        self._files = HubFiles(http, private, self._hints)
        install_client()

    @property
    def record(self) -> Record:
        """What is counted of its endpoints."""
        return self._endpoints

    def refs(self, repository: Repository) -> Refs:
        """Return branches and tags: one request."""

        def ask(endpoint: str) -> Refs:
            with self._asking(endpoint, repository), self._endpoints.timed(endpoint):
                found = self._api(endpoint).list_repo_refs(
                    repository.name, repo_type=repository.kind, token=self._tokens[endpoint]
                )
                return Refs(
                    {ref.name: CommitId(ref.target_commit) for ref in found.branches},
                    {ref.name: CommitId(ref.target_commit) for ref in found.tags},
                )

        return self._endpoints.ask(ask)

    def resolve(self, repository: Repository, revision: str) -> Resolved:
        """Return what a commit, `refs/pr/1` or any other revision means: one request."""

        def ask(endpoint: str) -> Resolved:
            with self._asking(endpoint, repository, revision):
                info = self._info(endpoint, repository, revision)
                commit = CommitId(str(info.sha))
                named = info.siblings
                paths = frozenset(one.rfilename for one in named) if named is not None else None
            if CommitId.is_one(revision) and commit != revision:
                message = f"{repository.name}: asked for commit {revision}, and {commit} came"
                raise OriginLied(message)
            return Resolved(revision, commit, _kind_of(revision, commit), paths)

        return self._endpoints.ask(ask)

    def list(self, repository: Repository, commit: CommitId) -> Listing:
        """Return every file: one request a page of the tree, and one for the licence."""

        def ask(endpoint: str) -> Listing:
            with self._asking(endpoint, repository, commit):
                info = self._info(endpoint, repository, commit)
                files = tuple(list_tree(endpoint, repository, commit, self._tokens[endpoint]))
                _check_complete(repository, commit, info, files)
                return Listing(commit, files, _licence(info))

        return self._endpoints.ask(ask)

    def open(
        self, repository: Repository, commit: CommitId, file: RemoteFile, start: int, stop: int
    ) -> Reader:
        """Open a range: one request, and one more to resolve the file's address first."""
        if start == stop:
            return EmptyReader()
        span = Span(start, stop, file.size)

        def ask(endpoint: str) -> Reader:
            return self._files.open(FileAt(endpoint, repository, commit, file.path), file, span)

        return self._endpoints.open(ask, (repository, commit, file.path), stop - start)

    def distrust(
        self, repository: Repository, commit: CommitId, file: RemoteFile, reason: SyncError
    ) -> None:
        """Have another endpoint send a file whose bytes were wrong."""
        self._endpoints.distrust((repository, commit, file.path), reason)

    def check(self) -> str:
        """Say how each endpoint answers. Raises the first one's error if none does."""
        lines, failures = [], []
        for endpoint in self._endpoints.urls:
            try:
                lines.append(f"{endpoint}: {self._greet(endpoint)}")
            except SyncError as error:
                lines.append(f"{endpoint}: {error}")
                failures.append(error)
        if len(failures) == len(self._endpoints.urls):
            raise failures[0]
        return "; ".join(lines)

    def _greet(self, endpoint: str) -> str:
        token = self._tokens[endpoint]
        path = "/api/whoami-v2" if token else "/api/models?limit=1"
        headers = self._private(endpoint)
        with self._http.request("GET", endpoint + path, headers=headers) as response:
            body = response.read()
        if response.status in {401, 403}:
            message = f"refuses the token (status {response.status})"
            raise Forbidden(message, hint=f"set origins.{self.name}.token to a valid one")
        if response.status >= 400:  # noqa: PLR2004 - client and server errors
            message = f"answers with status {response.status}"
            raise OriginUnavailable(message)
        if not token:
            return "answers, no token"
        try:
            return f"answers, token of {json.loads(body)['name']}"
        except (ValueError, LookupError, TypeError) as error:
            message = "gives an answer that makes no sense: is this a Hub?"
            raise OriginLied(message) from error

    def _private(self, endpoint: str) -> dict[str, str]:
        token = self._tokens[endpoint]
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _api(self, endpoint: str) -> HfApi:
        return HfApi(
            endpoint=endpoint,
            token=self._tokens[endpoint],
            library_name="sync-daemon",
            library_version=__version__,
        )

    def _asking(
        self, endpoint: str, repository: Repository, revision: str | None = None
    ) -> AbstractContextManager[None]:
        if repository.kind not in _KINDS:
            message = f"{repository.name}: the Hub has no {repository.kind}s"
            raise RepositoryNotFound(message, hint="repo_type is model, dataset or space")
        subject = repository.name if revision is None else f"{repository.name}@{revision}"
        return asking(endpoint, self._http, subject, self._hints)

    def _info(self, endpoint: str, repository: Repository, revision: str) -> _Info:
        with self._endpoints.timed(endpoint):
            info = self._api(endpoint).repo_info(
                repository.name,
                repo_type=repository.kind,
                revision=revision,
                token=self._tokens[endpoint],
            )
        if not isinstance(info, _Info):
            message = "a kernel where something else was asked for"
            raise TypeError(message)
        return info


def _checked(origin: str, token: Token | None) -> str | Literal[False]:
    """Return the token's text, or False: huggingface_hub then sends none at all."""
    text = token.reveal() if token is not None else ""
    if any(not "!" <= char <= "~" for char in text):
        message = f"origin {origin!r}: the token holds characters that no token has"
        raise ConfigurationError(message, hint=f"set origins.{origin}.token again")
    return text or False


def _kind_of(revision: str, commit: CommitId) -> RefKind:
    if commit.startswith(revision):
        return "commit"
    return "tag" if revision.startswith("refs/tags/") else "branch"


def _check_complete(
    repository: Repository, commit: CommitId, info: _Info, files: Iterable[RawFile]
) -> None:
    if info.sha is not None and info.sha != commit:
        message = f"{repository.name}: asked for commit {commit}, and {info.sha} came"
        raise OriginLied(message)
    listed = {file.path for file in files}
    missing = [one.rfilename for one in info.siblings or () if one.rfilename not in listed]
    if missing:
        message = (
            f"{repository.name}@{commit}: the listing is incomplete: {len(listed)} files, without"
            f" {min(missing)!r} and {len(missing) - 1} others"
        )
        raise OriginLied(message, hint="a proxy or mirror may drop the Link header of its pages")


def _licence(info: _Info) -> str | None:
    """Return the licence of a repository's card, or of its tags, as its author wrote it."""
    card = info.card_data
    named = card.get("license") if card is not None else None
    if named == "other" and card is not None:
        named = card.get("license_name") or named
    if named is None:
        tags = [tag for tag in info.tags or () if tag.startswith("license:")]
        named = [tag.removeprefix("license:") for tag in tags]
    texts = [str(one) for one in named] if isinstance(named, list | tuple) else [str(named)]
    return ", ".join(texts) or None
