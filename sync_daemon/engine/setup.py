"""Sets up a store, step by step: each says what was done, was so already, or cannot be done.

A step looks first and then acts, so that a second time changes nothing; without `apply` it
only looks. A right that is missing stops its own step and no other, and the step names the
command by which an administrator would do it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, Protocol

from sync_daemon.domain import keys
from sync_daemon.domain.administration import Account, UploadRules
from sync_daemon.domain.errors import StoreRefused, SyncError
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.vault import Vault
from sync_daemon.ports import ObjectStore

State = Literal["done", "already", "planned", "impossible"]

UPLOADS_LIVE = timedelta(days=30)
"""How long unfinished uploads are to live: longer than any outage that is worth resuming."""
SWEEP = timedelta(hours=6)
"""How often the server is to look for old ones; MinIO's own default."""
_RARELY = timedelta(days=1)
_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Step:
    """How one thing stands. `name` is stable; `command` is what an administrator would run;
    `secret` is a new secret key, which must not reach a log."""

    name: str
    state: State
    message: str
    command: str | None = None
    policy: Mapping[str, Any] | None = None
    secret: str | None = field(default=None, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the object of `store init --json`, without the secret."""
        return {
            "name": self.name,
            "status": self.state,
            "message": self.message,
            "command": self.command,
            "policy": self.policy,
        }


class Home(ObjectStore, Protocol):
    """A store that can tell whether its bucket or directory is there, and make it."""

    def exists(self) -> bool:
        """Tell whether it is there. Raises StoreRefused, StoreUnavailable."""

    def create(self) -> None:
        """Make it. Raises StoreRefused, StoreUnavailable."""

    def unfinished(self) -> int | None:
        """Return how many multipart uploads are unfinished; None: it does not say."""

    def unfinished_bytes(self) -> int | None:
        """Return the bytes of unfinished uploads; None: it does not say."""


class Administration(Protocol):
    """What a server lets its administrators set. Methods raise StoreRefused, StoreUnavailable."""

    def quota(self, bucket: str) -> int: ...
    def set_quota(self, bucket: str, size: int) -> None: ...
    def upload_rules(self) -> UploadRules: ...
    def set_upload_rules(self, rules: UploadRules) -> None: ...
    def account(self, name: str) -> Account | None: ...
    def put_account(self, name: str, secret: str) -> None: ...
    def policy(self, name: str) -> Mapping[str, Any] | None: ...
    def put_policy(self, name: str, policy: Mapping[str, Any]) -> None: ...
    def attach(self, account: str, policy: str) -> None: ...


def set_up(home: Home, retry: Retry, bucket: str | None, *, apply: bool) -> Iterator[Step]:
    """Make the bucket (None: the directory) and put the marker.

    Raises StoreRefused for what holds something else, and what reading a store raises.
    """
    place = _make_home(home, retry, bucket, apply=apply)
    yield place
    if place.state in {"done", "already"}:
        yield _put_marker(Vault(home, retry), apply=apply)
    elif place.state == "planned":
        yield Step("format", "planned", f"put {keys.MARKER}, format {keys.FORMAT}")
    else:
        yield Step("format", "impossible", f"there is no {_kind(bucket)} to put it into")


def _make_home(home: Home, retry: Retry, bucket: str | None, *, apply: bool) -> Step:
    name = _kind(bucket)
    if retry(f"look for the {name}", home.exists):
        return Step(name, "already", f"{home.url} is there")
    if not apply:
        return Step(name, "planned", f"make {bucket or home.url}")
    try:
        retry(f"make the {name}", home.create)
    except StoreRefused as error:
        if bucket is None:
            raise
        return Step(name, "impossible", str(error), f"mc mb ALIAS/{bucket}")
    return Step(name, "done", f"made {bucket or home.url}")


def _kind(bucket: str | None) -> str:
    return "directory" if bucket is None else "bucket"


def _put_marker(vault: Vault, *, apply: bool) -> Step:
    there = vault.retry(f"look for {keys.MARKER}", lambda: vault.store.stat(keys.MARKER))
    vault.open(create=apply)
    what = f"{keys.MARKER}, format {keys.FORMAT}"
    if there is not None:
        return Step("format", "already", what)
    return Step("format", "done" if apply else "planned", f"put {what}")


def set_quota(admin: Administration, bucket: str, size: int, *, apply: bool) -> Step:
    """Set the quota of the bucket, in bytes."""
    command = f"mc admin bucket quota ALIAS/{bucket} --size {size}B"

    def work() -> Step:
        held = admin.quota(bucket)
        if held == size:
            return Step("quota", "already", f"{_gib(size)}")
        change = f"{_gib(size)}, before {_gib(held) if held else 'none'}"
        if apply:
            admin.set_quota(bucket, size)
        return Step("quota", "done" if apply else "planned", change)

    return attempt("quota", command, work)


def set_upload_life(admin: Administration, *, apply: bool) -> Step:
    """Let unfinished uploads live for 30 days at least."""
    command = f"mc admin config set ALIAS api stale_uploads_expiry={_hours(UPLOADS_LIVE)}h"
    return attempt("expiry", command, lambda: _set_upload_life(admin, command, apply=apply))


def _set_upload_life(admin: Administration, command: str, *, apply: bool) -> Step:
    held = admin.upload_rules()
    life = held.expiry
    if life is None:
        return Step("expiry", "impossible", "the server does not say how long uploads live")
    if life >= UPLOADS_LIVE and _sweeps(held):
        return Step("expiry", "already", f"unfinished uploads live {_hours(life)} h")
    if held.fixed and life < UPLOADS_LIVE:
        return _fixed(life)
    wanted = UploadRules(max(life, UPLOADS_LIVE), held.interval if _sweeps(held) else SWEEP)
    message = f"unfinished uploads live {_hours(wanted.expiry or life)} h, before {_hours(life)} h"
    if not apply:
        return Step("expiry", "planned", message)
    admin.set_upload_rules(wanted)
    if (admin.upload_rules().expiry or timedelta()) < UPLOADS_LIVE:
        message = "the server took the change, and did not change"
        return Step("expiry", "impossible", message, command)
    return Step("expiry", "done", message)


def _fixed(life: timedelta) -> Step:
    message = (
        f"unfinished uploads live {_hours(life)} h: the server's own environment says so, by"
        " MINIO_API_STALE_UPLOADS_EXPIRY"
    )
    command = f"set MINIO_API_STALE_UPLOADS_EXPIRY={_hours(UPLOADS_LIVE)}h and restart the server"
    return Step("expiry", "impossible", message, command)


def _sweeps(rules: UploadRules) -> bool:
    return rules.interval is None or timedelta() < rules.interval <= _RARELY


def attempt(name: str, command: str | None, work: Callable[[], Step]) -> Step:
    """Do a step; what an error says becomes its answer."""
    try:
        step = work()
    except SyncError as error:
        return Step(name, "impossible", str(error), command)
    return step


def _hours(length: timedelta) -> str:
    return f"{length.total_seconds() / _HOUR:,.0f}"


def _gib(size: int) -> str:
    return f"{size / 1024**3:,.1f} GiB"
