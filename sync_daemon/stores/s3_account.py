"""Who asks a bucket, and where it is: keys, region and endpoint.

What the configuration or the environment says is taken as it is. All other ways are boto3's
(profiles, roles, metadata services, the addresses of AWS); it is loaded only then, for it takes
a fifth of a second.
"""

from __future__ import annotations

import os
import threading
from functools import cached_property
from typing import Any

from sync_daemon.domain.errors import ConfigurationError, StoreRefused, StoreUnavailable
from sync_daemon.stores.s3_sign import SigningKeys

HOME_REGION = "us-east-1"
"""What S3 and MinIO take where no region is said."""

_ANY = "bucket"
_CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or another of boto3's ways"
_SERVICE = "check the way to the service that gives temporary keys (STS, the metadata service)"
_VARIABLES = (
    "ACCESS_KEY_ID",
    "SECRET_ACCESS_KEY",
    "CREDENTIAL_EXPIRATION",
    "SECURITY_TOKEN",
    "SESSION_TOKEN",
)
_PROFILES = (
    ("AWS_CONFIG_FILE", "~/.aws/config"),
    ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
)


class Account:
    """What requests to one store are signed and addressed with, for any number of threads.

    `subject` begins messages.
    """

    def __init__(
        self,
        subject: str,
        *,
        endpoint: str | None = None,
        region: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
    ) -> None:
        self._subject = subject
        self._endpoint = endpoint
        self._region = region
        self._given = _given_keys(access_key, secret_key)
        # A session of boto3 is not for several threads while it finds its parts.
        self._finding = threading.Lock()

    def keys(self) -> SigningKeys:
        """Return the keys of this moment. Raises StoreRefused where there are none, and
        StoreUnavailable where the service that gives them does not answer."""
        return self._given or self._find_keys()

    @cached_property
    def region(self) -> str:
        """The region that requests are signed for."""
        known = self._region or os.environ.get("AWS_DEFAULT_REGION")
        if known is None and _has_profiles():
            with self._finding:
                known = self._session.region_name
        return known or HOME_REGION

    @cached_property
    def endpoint(self) -> str:
        """The URL of the server. Raises ConfigurationError where AWS has none for the region."""
        return self._endpoint or self._find_endpoint()

    def _find_keys(self) -> SigningKeys:
        from botocore import exceptions as boto  # noqa: PLC0415 - rarely

        try:
            with self._finding:
                found = self._session.get_credentials()
            frozen = found.get_frozen_credentials() if found else None
        except (boto.HTTPClientError, boto.ConnectionError) as error:
            message = f"{self._subject}: no credentials, {type(error).__name__} on the way to them"
            raise StoreUnavailable(message, hint=_SERVICE) from error
        except (boto.BotoCoreError, boto.ClientError, OSError, RuntimeError) as error:
            # RuntimeError: keys that have ended. OSError: a missing program or token file is no
            # missing object.
            message = f"{self._subject}: no credentials, {type(error).__name__}: {error}"
            raise StoreRefused(message, hint=_CREDENTIALS) from error
        except (ValueError, LookupError, AttributeError, TypeError):
            # The error may hold what a `credential_process` wrote: a secret in the wrong form.
            message = f"{self._subject}: no credentials, what gives them answers nonsense"
            raise StoreRefused(message, hint=_CREDENTIALS) from None
        if found is None or frozen is None or not frozen.access_key or not frozen.secret_key:
            raise StoreRefused(f"{self._subject}: no credentials were found", hint=_CREDENTIALS)
        return SigningKeys(
            frozen.access_key,
            frozen.secret_key,
            frozen.token,
            # botocore names no public way to learn when temporary keys end.
            until=getattr(found, "_expiry_time", None),
            source=f"boto3 ({found.method})",
        )

    def _find_endpoint(self) -> str:
        from botocore.config import Config  # noqa: PLC0415 - rarely
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415

        # With keys, if only made-up ones, it does not go and look for some.
        known = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
        known["region_name"] = self.region
        style = Config(signature_version="s3v4", s3={"addressing_style": "path"})
        try:
            with self._finding:
                client = self._session.client("s3", config=style, **known)
            # What the client itself says is not where it goes: FIPS in us-east-1.
            url: str = client.generate_presigned_url("head_bucket", Params={"Bucket": _ANY})
        except (BotoCoreError, ValueError) as error:
            message = f"{self._subject}: the S3 client cannot be set up: {error}"
            raise ConfigurationError(
                message, hint="check store.endpoint and store.region"
            ) from error
        client.close()
        # S3 Accelerate knows buckets in the host's name only.
        return url.partition("?")[0].removesuffix(f"/{_ANY}").replace(f"//{_ANY}.", "//", 1)

    @cached_property
    def _session(self) -> Any:
        import boto3  # noqa: PLC0415 - rarely, and slow
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415

        try:
            return boto3.session.Session(region_name=self._region)
        except BotoCoreError as error:
            message = f"{self._subject}: {type(error).__name__}: {error}"
            raise StoreRefused(message, hint=_CREDENTIALS) from error


def _given_keys(access_key: str | None, secret_key: str | None) -> SigningKeys | None:
    """Return the keys of the configuration, else those of the environment, that do not end."""
    if access_key and secret_key:
        return SigningKeys(access_key, secret_key)
    access_key, secret_key, ends, old_token, token = (
        os.environ.get(f"AWS_{name}") for name in _VARIABLES
    )
    if not access_key or not secret_key or ends:
        return None
    return SigningKeys(access_key, secret_key, old_token or token or None, source="the environment")


def _has_profiles() -> bool:
    places = (os.environ.get(name) or usual for name, usual in _PROFILES)
    return any(os.path.isfile(os.path.expanduser(place)) for place in places)  # noqa: PTH111, PTH113 - without a home pathlib raises
