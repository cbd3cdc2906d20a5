"""The keys by which MinIO's administration is asked: the same as for the bucket."""

from __future__ import annotations

from dataclasses import dataclass, field

import boto3
from botocore.exceptions import BotoCoreError

PATIENCE = 5.0
"""Seconds to wait for an answer: what is only good to know is not worth a longer wait."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Credentials, and where they were found. Only `source` may be shown."""

    access: str = field(repr=False)
    secret: str = field(repr=False)
    token: str | None = field(repr=False)
    source: str


def find_keys(access_key: str | None, secret_key: str | None) -> Keys | None:
    """Return these keys, else the ones that boto3 finds in its usual places."""
    if access_key and secret_key:
        return Keys(access_key, secret_key, None, "the configuration")
    try:
        found = boto3.session.Session().get_credentials()
        frozen = found.get_frozen_credentials() if found else None
    except BotoCoreError:
        return None
    if found is None or frozen is None or not frozen.access_key or not frozen.secret_key:
        return None
    return Keys(frozen.access_key, frozen.secret_key, frozen.token, f"boto3 ({found.method})")
