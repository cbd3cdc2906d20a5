"""What the Hub double knows: repositories, tokens, quotas and the switches that tests set.

It also answers the questions that every route asks first: which repository is meant, may this
caller see it, which commit is that revision. A refusal is raised as `Refused`, which is an
answer with the status and the X-Error-Code of the real Hub.
"""

from __future__ import annotations

import json
import math
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from .hub_message import Answer, Headers, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .hub_message import Request
    from .hub_repo import Commit, Repo

KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}
ROUTES = frozenset(
    ("revision", "tree", "refs", "paths-info", "commits", "auth-check", "xet-read-token", "resolve")
)
DISABLED = "Access to this resource is disabled."
BAD_TOKEN = "Invalid credentials in Authorization header"
PLENTY = 1_000_000


class Refused(Exception):
    """A request that gets another answer than the one it asked for."""

    def __init__(self, status: int, code: str, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers

    def answer(self) -> Answer:
        """Return the answer that says so."""
        text = "".join(letter if letter.isprintable() else "?" for letter in str(self))
        told: Headers = (("X-Error-Message", text.encode("ascii", "replace").decode()),)
        if self.code:
            told = (("X-Error-Code", self.code), *told)
        return json_answer({"error": str(self)}, self.status, (*told, *self.headers))


@dataclass(slots=True)
class Quota:
    """A fixed window of requests, as RateLimit headers describe it; `window` is seconds.

    `refused` counts what was beyond it, `deaf` what still came a quarter of a second after the
    window's first refusal: such a client does not listen.
    """

    quota: int = PLENTY
    window: float = 300.0
    enforced: bool = False
    used: int = 0
    since: float = field(default_factory=time.monotonic)
    refused: int = 0
    deaf: int = 0
    first_refusal: float | None = None

    def take(self) -> tuple[int, int]:
        """Count a request; return how many remain (negative: refuse) and seconds to the reset."""
        now = time.monotonic()
        if now - self.since >= self.window:
            self.since, self.used, self.first_refusal = now, 0, None
        self.used += 1
        if self.enforced and self.used > self.quota:
            self.first_refusal = self.first_refusal or now
            self.refused += 1
            self.deaf += now - self.first_refusal > 0.25
        return self.quota - self.used, math.ceil(self.since + self.window - now)


@dataclass
class HubState:
    """Everything that requests are answered from; tests may change any of it at any time.

    page_size, expand_page_size: items per page of a listing. small_files: "redirect" (307 to
    /api/resolve-cache, as the Hub does) or "direct". large_files: "redirect" (302 to the CDN) or
    "direct". absolute_redirects: whether redirects on the Hub itself name the host. url_life:
    seconds that a signed URL is good for. latency: seconds before every answer, on both servers.
    gated_listing: whether the listings of a gated repository are closed like its files.
    """

    tokens: set[str] = field(default_factory=lambda: {"hf_good"})
    user: str = "tester"
    page_size: int = 1000
    expand_page_size: int = 50
    lfs_threshold: int = 1 << 20
    xet: bool = False
    small_files: str = "redirect"
    large_files: str = "redirect"
    absolute_redirects: bool = False
    url_life: float = 3600.0
    latency: float = 0.0
    gated_listing: bool = False
    rate_limit_headers: bool = True
    quotas: dict[str, Quota] = field(
        default_factory=lambda: {name: Quota() for name in ("api", "resolvers", "pages")}
    )
    repos: list[Repo] = field(default_factory=list)
    quota_lock: threading.Lock = field(default_factory=threading.Lock)

    def limit(
        self, bucket: str, quota: int, *, window: float = 300.0, enforced: bool = True
    ) -> None:
        """Set the request quota of "api", "resolvers" or "pages"; beyond it 429 is answered."""
        self.quotas[bucket] = Quota(quota, window, enforced)

    def take_quota(self, bucket: str) -> tuple[Headers, bool]:
        """Count a request; return the RateLimit headers and whether the quota is used up."""
        with self.quota_lock:
            quota = self.quotas[bucket]
            left, reset = quota.take()
        headers: Headers = (
            ("RateLimit", f'"{bucket}";r={max(left, 0)};t={reset}'),
            (
                "RateLimit-Policy",
                f'"fixed window";"{bucket}";q={quota.quota};w={math.ceil(quota.window)}',
            ),
        )
        refused = quota.enforced and left < 0
        told = headers if self.rate_limit_headers else ()
        return ((*told, ("Retry-After", str(reset))) if refused else told), refused

    def find_repo(self, kind: str, name: str) -> Repo | None:
        """Return the repository that has or had this name."""
        same_kind = [repo for repo in self.repos if repo.kind == kind]
        for repo in same_kind:
            if repo.name == name:
                return repo
        return next((repo for repo in same_kind if name in repo.renamed), None)

    def split_name(self, kind: str, segments: Sequence[str]) -> tuple[str, Repo | None, list[str]]:
        """Split raw path segments into repository name, the repository and what follows it."""
        two = "/".join(unquote(part) for part in segments[:2])
        one = unquote(segments[0]) if segments else ""
        for name, length in ((two, 2), (one, 1)):
            repo = self.find_repo(kind, name)
            if repo is not None:
                return name, repo, list(segments[length:])
        length = 1 if len(segments) > 1 and segments[1] in ROUTES else 2
        return (one, two)[length - 1], None, list(segments[length:])

    def admit(self, request: Request, repo: Repo | None, name: str) -> Repo:
        """Return the repository when the caller may see it, or raise the Hub's refusal."""
        token = self.token(request)
        hidden = repo is not None and repo.private and not self._may_read(repo, token)
        if repo is None or hidden:
            told = f"Repository not found: {name}" if token else "Invalid username or password."
            raise Refused(404 if token else 401, "RepoNotFound", told)
        if repo.name != name:
            raise Refused(307, "", f"moved to {repo.name}", self._moved(request, name, repo))
        if repo.disabled:
            raise Refused(403, "", DISABLED)
        return repo

    def admit_files(self, request: Request, repo: Repo) -> None:
        """Raise the refusal of a gated repository unless the caller passed its gate."""
        token = self.token(request)
        if not repo.gated or token in repo.granted:
            return
        told = f"Access to model {repo.name} is restricted. "
        told += "You are not in the authorized list." if token else "Please log in."
        raise Refused(403 if token else 401, "GatedRepo", told)

    def token(self, request: Request) -> str | None:
        """Return the caller's token, None without one; a wrong one raises the Hub's refusal."""
        said = request.headers.get("authorization")
        if said is None:
            return None
        token = said.removeprefix("Bearer ")
        if token not in self.tokens:
            raise Refused(401, "", BAD_TOKEN)
        return token

    def revision(self, repo: Repo, revision: str) -> Commit:
        """Return the commit of a revision, or raise RevisionNotFound."""
        commit = repo.find(revision)
        if commit is None:
            raise Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    def locate(self, request: Request, target: str) -> str:
        """Return a Location on the Hub itself: relative, or with the host when so set."""
        host = request.headers.get("host", "")
        return f"http://{host}{target}" if self.absolute_redirects else target

    def _may_read(self, repo: Repo, token: str | None) -> bool:
        return token is not None and (repo.readers is None or token in repo.readers)

    def _moved(self, request: Request, name: str, repo: Repo) -> Headers:
        target = request.target
        for old in (name, quote(name), quote(name, safe="")):
            if f"/{old}" in target:
                target = target.replace(f"/{old}", f"/{quote(repo.name)}", 1)
                break
        return (("Location", self.locate(request, target)),)


def json_answer(value: Any, status: int = 200, headers: Headers = ()) -> Answer:
    """Return an answer with a JSON body."""
    kind = ("Content-Type", "application/json; charset=utf-8")
    return Answer(status, (kind, *headers), whole(json.dumps(value).encode()))
