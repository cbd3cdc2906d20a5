"""Consumers' read-only accounts at a store's server: made once, their rights as asked for.

An account is ours when nothing but our own policy gives it rights; any other is left alone.
The policy comes first, then the account, and last the two are joined: an account has never
more rights than asked for. A secret key is put into safety before the account has it.
"""

from __future__ import annotations

import json
import secrets
import shlex
import string
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from sync_daemon.domain.access import AccountName, same_policy
from sync_daemon.domain.administration import Account
from sync_daemon.domain.errors import SyncError
from sync_daemon.engine.setup import Administration, Step, attempt

_SECRET_LENGTH = 40
"""Characters; MinIO takes 8 to 40."""
_ALPHABET = string.ascii_letters + string.digits

Safe = Callable[[str], AbstractContextManager[None]]
"""Takes a new secret: entered before the account is made, left in peace when it was."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A consumer's account, and its rights.

    `rotate` asks for a new secret key. `keep`: rights that it has already stay as they are,
    so that a new secret key alone never widens them.
    """

    account: AccountName
    policy_name: str
    policy: Mapping[str, Any]
    rotate: bool = False
    keep: bool = False

    def command(self) -> str:
        """Return what an administrator would run; `mc` asks for the secret key."""
        text = json.dumps(self.policy, separators=(",", ":"))
        return (
            f"echo {shlex.quote(text)} > policy.json"
            f" && mc admin policy create ALIAS {self.policy_name} policy.json"
            f" && mc admin user add ALIAS {self.account}"
            f" && mc admin policy attach ALIAS {self.policy_name} --user {self.account}"
        )


def set_reader(admin: Administration, grant: Grant, safe: Safe, *, apply: bool) -> Step:
    """Make or change a consumer's account; its secret stays unless `grant.rotate`."""
    step = attempt("reader", grant.command(), lambda: _set_reader(admin, grant, safe, apply=apply))
    return step if step.policy is not None else replace(step, policy=grant.policy)


def _set_reader(admin: Administration, grant: Grant, safe: Safe, *, apply: bool) -> Step:
    held = admin.account(grant.account)
    if held is not None and (problem := _not_ours(held, grant)):
        return Step("reader", "impossible", problem)
    found = admin.policy(grant.policy_name)
    if grant.keep and held is not None and found is not None:
        grant = replace(grant, policy=found)
    same = found is not None and same_policy(found, grant.policy)
    attached = held is not None and grant.policy_name in held.policies
    fresh = held is None or grant.rotate
    changes = _changes(held, grant, same=same and attached)
    if not changes:
        message = f"{grant.account} has these rights"
        return Step("reader", "already", message, policy=grant.policy)
    message = f"{grant.account}: {', '.join(changes)}"
    if not apply:
        return Step("reader", "planned", message, policy=grant.policy)
    if not same:
        admin.put_policy(grant.policy_name, grant.policy)
    secret = _put_account(admin, grant.account, safe) if fresh else None
    if attached:
        return Step("reader", "done", message, policy=grant.policy, secret=secret)
    return _attach(admin, grant, message, secret)


def _not_ours(held: Account, grant: Grant) -> str | None:
    """Return why an account is not touched: it may do more, or was switched off."""
    if held.groups or held.policies - {grant.policy_name}:
        return (
            f"there is an account {grant.account} with rights that are not from here,"
            " and they would stay: choose another name"
        )
    if not held.enabled:
        return f"the account {grant.account} was switched off by an administrator"
    return None


def _changes(held: Account | None, grant: Grant, *, same: bool) -> tuple[str, ...]:
    if held is None:
        return ("new account",)
    rights = () if same else ("other rights",)
    return (*rights, "new secret key") if grant.rotate else rights


def _put_account(admin: Administration, account: AccountName, safe: Safe) -> str:
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
    with safe(secret):
        admin.put_account(account, secret)
    return secret


def _attach(admin: Administration, grant: Grant, message: str, secret: str | None) -> Step:
    """Attach the policy last; the secret is not lost when this fails."""
    try:
        admin.attach(grant.account, grant.policy_name)
    except SyncError as error:
        message = f"{message}, but its rights are not attached: {error}"
        command = f"mc admin policy attach ALIAS {grant.policy_name} --user {grant.account}"
        return Step("reader", "impossible", message, command, secret=secret)
    return Step("reader", "done", message, policy=grant.policy, secret=secret)
