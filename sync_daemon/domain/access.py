"""Read-only accounts: what consumers may see of a mirror in a bucket, as an S3 policy.

A consumer may read and list plain copies (`trees/`, below a group too), and what is published
about them (`models/`, `aliases/`, the format marker). It may neither read nor list `blobs/`, where
versions lie that were refused as well, nor what the mirror keeps for itself (`staging/`,
`uploads/`, `quarantine/`, `locks/`, `runs/`, `tokens/`): whatever is not allowed here is denied.
A blob reaches it by a presigned URL, which bears the rights of whoever signed it.

`*` in a policy matches `/` as well. So a pattern of models is a name, or the beginning of
names: with a `*` in the middle it would reach into folders of other models.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Self

from sync_daemon.domain import keys
from sync_daemon.domain.errors import ConfigurationError, InvalidName
from sync_daemon.domain.names import GroupName, ModelName

FOLDERS = (keys.TREES, keys.MODELS, keys.ALIASES)
"""What consumers may read and list, each with a folder per model."""

_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,63}")
_SPECIAL = re.compile(r"[*?$]")
_VERSION = "2012-10-17"
"""Of the policy language; the only one that S3 servers know."""


class AccountName(str):
    """The name, and access key, of a consumer's account."""

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        if not _ACCOUNT.fullmatch(value):
            message = f"account name {value!r}: 3 to 64 letters, digits, '.', '_' and '-'"
            raise InvalidName(message)
        return super().__new__(cls, value)


class ModelPattern(str):
    """A model's name, or the beginning of names with a final `*`: `llama-7b`, `meta/*`, `*`."""

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        stem = value.removesuffix("*")
        if value != "*" and not _is_stem(stem, open_end=stem != value):
            message = f"model pattern {value!r}: a model's name, or its beginning and a final *"
            raise InvalidName(message, hint="for example llama-7b, llama-*, meta/* or *")
        return super().__new__(cls, value)

    def matches(self, model: str) -> bool:
        """Tell whether it covers a model; a name covers what is named below it as well."""
        stem = self.removesuffix("*")
        if stem != self:
            return model.startswith(stem)
        return model == self or model.startswith(f"{self}/")

    def reaches(self, group: GroupName) -> bool:
        """Tell whether it covers keys in a group's folder whatever models lie there."""
        stem = self.removesuffix("*")
        if stem != self and f"{group}/".startswith(stem):
            return True
        return stem == group or stem.startswith(f"{group}/")

    def below(self, folder: str) -> str:
        """Return the pattern of all keys of these models below a folder."""
        return f"{folder}{self}" if self.endswith("*") else f"{folder}{self}/*"


def _is_stem(stem: str, *, open_end: bool) -> bool:
    text = f"{stem}x" if open_end and stem.endswith("/") else stem
    try:
        ModelName(text)
    except InvalidName:
        return False
    return True


def name_policy(account: AccountName, bucket: str, prefix: str) -> str:
    """Return the name of an account's policy, which is another one for another mirror."""
    place = hashlib.sha256(f"{bucket}/{prefix}".encode()).hexdigest()[:8]
    return f"sync-daemon-{account}-{place}"


def make_policy(
    bucket: str,
    prefix: str,
    models: Sequence[ModelPattern],
    networks: Sequence[str],
    groups: Sequence[GroupName] = (),
) -> dict[str, Any]:
    """Return the policy of a consumer of these models, all if there are none, who asks from
    these networks (CIDR), from any if there are none.

    `prefix` is the store's, without slashes at its ends; `groups` are the folders below
    `trees/` in which models may lie. Raises ConfigurationError for a prefix that a policy cannot
    name, and for a pattern that would open a whole group.
    """
    root = f"{prefix}/" if prefix else ""
    if _SPECIAL.search(root):
        message = f"s3://{bucket}/{root}: no policy can name a prefix with *, ? or $"
        raise ConfigurationError(message, hint="give the mirror another prefix in store.url")
    patterns = sorted(set(models)) or [ModelPattern("*")]
    _check_groups(patterns, groups)
    inner = () if "*" in patterns else sorted(set(groups))
    folders = (*FOLDERS, *(f"{keys.TREES}{group}/" for group in inner))
    below = [pattern.below(root + folder) for folder in folders for pattern in patterns]
    here = f"arn:aws:s3:::{bucket}"
    source = {"IpAddress": {"aws:SourceIp": sorted(set(networks))}} if networks else {}
    listing = {"StringLike": {"s3:prefix": sorted(below)}} | source
    objects = sorted(f"{here}/{key}" for key in [root + keys.MARKER, *below])
    return {
        "Version": _VERSION,
        "Statement": [
            _allow("s3:GetObject", objects, source),
            _allow("s3:ListBucket", [here], listing),
            _allow("s3:GetBucketLocation", [here], source),
            _allow("s3:HeadBucket", [here], source),  # MinIO's own; KServe asks for it first
        ],
    }


def _check_groups(patterns: Sequence[ModelPattern], groups: Sequence[GroupName]) -> None:
    for pattern in patterns:
        if pattern != "*" and (reached := [one for one in groups if pattern.reaches(one)]):
            message = f"the pattern {pattern} would open the whole group {reached[0]} of trees/"
            raise ConfigurationError(message, hint="name the models in full")


def _allow(action: str, resources: list[str], condition: Mapping[str, Any]) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": [action], "Resource": resources}
    return statement | ({"Condition": condition} if condition else {})


def same_policy(one: Any, other: Any) -> bool:
    """Tell whether two policies say the same; servers write them back in an order of their own."""
    return bool(_normal(one) == _normal(other))


def _normal(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _normal(item) for key, item in value.items() if key != "Sid"}
    if isinstance(value, list | tuple):
        return sorted((_normal(item) for item in value), key=repr)
    return value
