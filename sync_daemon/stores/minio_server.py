"""The administration of a MinIO server: quota, upload expiry, accounts, space.

The minio SDK's `MinioAdmin` behind typed methods. Refusals become our errors by MinIO's own
code for the reason; nothing else that the server wrote is repeated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from urllib3.exceptions import HTTPError

from sync_daemon.domain.administration import Account, UploadRules
from sync_daemon.domain.errors import StoreRefused, StoreUnavailable, SyncError
from sync_daemon.ports import StoreCapacity
from sync_daemon.stores.minio_admin import open_admin, parse_length
from sync_daemon.stores.minio_space import SAID, parse_answer, read_quota, read_space
from sync_daemon.stores.s3_sign import SigningKeys

_EXPIRY = re.compile(r"(?<![\w])stale_uploads_expiry=(\S+)")
_INTERVAL = re.compile(r"(?<![\w])stale_uploads_cleanup_interval=(\S+)")
_FIXED = re.compile(r"\bMINIO_API_STALE_UPLOADS_EXPIRY=(\S+)")
_CODE = re.compile(r'"Code":\s*"([A-Za-z0-9]{1,80})"')
_NO_RIGHTS = "the key has no administration rights for this"
_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "AccessDenied": _NO_RIGHTS,
        "InvalidAccessKeyId": "the store does not know the access key",
        "SignatureDoesNotMatch": "the secret key is wrong",
        "NoSuchBucket": "there is no such bucket",
        "XMinioIAMActionNotAllowed": "the name belongs to another kind of account",
        "XMinioInvalidIAMCredentials": "the name belongs to another kind of account",
        "XMinioAdminInvalidAccessKey": "MinIO takes no such name for an account",
    }
)
_UNKNOWN = frozenset({"XMinioAdminNoSuchUser", "XMinioAdminNoSuchPolicy"})
_ALREADY = "XMinioAdminPolicyChangeAlreadyApplied"


class _Unknown(Exception):
    """The server knows no such user or policy."""


@contextmanager
def open_server(
    endpoint: str,
    keys: SigningKeys,
    *,
    region: str | None = None,
    ca_file: str | None = None,
    proxy: str | None = None,
) -> Iterator[MinioServer | None]:
    """Open the administration of a server; None for an endpoint that no MinIO can have.

    Nothing is asked yet. Raises ConfigurationError.
    """
    with open_admin(endpoint, keys, region=region, ca_file=ca_file, proxy=proxy) as admin:
        yield None if admin is None else MinioServer(admin)


class MinioServer:
    """One server. Every method raises StoreRefused or StoreUnavailable."""

    def __init__(self, admin: Any) -> None:
        self._admin = admin

    def space(self) -> StoreCapacity:
        """Return the room on the server's drives, less the share of the parity."""
        return read_space(_parse(_call(self._admin.info)))

    def quota(self, bucket: str) -> int:
        """Return the quota of a bucket in bytes; 0: there is none."""
        return read_quota(_parse(_call(lambda: self._admin.bucket_quota_get(bucket))))

    def set_quota(self, bucket: str, size: int) -> None:
        """Set the quota of a bucket, in bytes. MinIO enforces it late."""
        _call(lambda: self._admin.bucket_quota_set(bucket, size))

    def upload_rules(self) -> UploadRules:
        """Return what the server does with unfinished uploads."""
        text = str(_call(lambda: self._admin.config_get(key="api")))
        fixed = _FIXED.search(text)
        return UploadRules(
            parse_length(fixed[1]) if fixed else _length(_EXPIRY, text),
            _length(_INTERVAL, text),
            fixed is not None,
        )

    def set_upload_rules(self, rules: UploadRules) -> None:
        """Set expiry and interval, where they are not None; other keys stay as they are."""
        lengths = {
            "stale_uploads_expiry": rules.expiry,
            "stale_uploads_cleanup_interval": rules.interval,
        }
        config = {key: write_length(length) for key, length in lengths.items() if length}
        _call(lambda: self._admin.config_set(key="api", config=config))

    def account(self, name: str) -> Account | None:
        """Return a user, or None; raises for the name of another kind of account."""
        try:
            found = _parse(_call(lambda: self._admin.user_info(name)))
        except _Unknown:
            return None
        return Account(
            frozenset(filter(None, str(found.get("policyName") or "").split(","))),
            frozenset(found.get("memberOf") or ()),
            found.get("status") == "enabled",
        )

    def put_account(self, name: str, secret: str) -> None:
        """Make a user, or give it another secret key; its rights stay."""
        _call(lambda: self._admin.user_add(name, secret))

    def policy(self, name: str) -> Mapping[str, Any] | None:
        """Return a policy, or None."""
        try:
            return _parse(_call(lambda: self._admin.policy_info(name)))
        except _Unknown:
            return None

    def put_policy(self, name: str, policy: Mapping[str, Any]) -> None:
        """Make or replace a policy."""
        _call(lambda: self._admin.policy_add(policy_name=name, policy=policy))

    def attach(self, account: str, policy: str) -> None:
        """Give a user the rights of a policy; that it has them is no error."""
        _call(lambda: self._admin.attach_policy(policies=[policy], user=account))


def write_length(length: timedelta) -> str:
    """Write a length of time as MinIO reads it: `720h`, or in seconds."""
    seconds = int(length.total_seconds())
    return f"{seconds}s" if seconds % 3600 else f"{seconds // 3600}h"


def _length(pattern: re.Pattern[str], text: str) -> timedelta | None:
    found = pattern.search(text)
    return parse_length(found[1]) if found else None


def _parse(answer: Any) -> Mapping[str, Any]:
    return parse_answer(str(answer))


def _call(ask: Callable[[], Any]) -> Any:
    from minio.error import MinioAdminException, MinioException  # noqa: PLC0415 - as in open_admin

    try:
        return ask()
    except (MinioAdminException, MinioException) as error:
        if _code_of(error) == _ALREADY:
            return None
        raise _translate(error) from error
    except HTTPError as error:
        message = f"{SAID}: no answer ({type(error).__name__})"
        raise StoreUnavailable(message) from error
    except UnboundLocalError as error:  # a refused config_get of SDK 7.2.20
        raise StoreRefused(f"{SAID}: {_NO_RIGHTS}") from error
    except ValueError as error:  # an answer that cannot be decrypted
        raise StoreUnavailable(f"{SAID}: this is not its answer") from error


def _translate(error: Any) -> SyncError | _Unknown:
    code = _code_of(error)
    if code in _UNKNOWN:
        return _Unknown(code)
    if code in _REASONS:
        return StoreRefused(f"{SAID}: {_REASONS[code]}")
    return StoreRefused(f"{SAID}: it refuses ({code or 'without a reason'})")


def _code_of(error: Any) -> str:
    found = _CODE.search(str(error))
    return found[1] if found else ""
