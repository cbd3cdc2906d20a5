"""What S3 does not tell and MinIO does: free space, and how long an unfinished upload lives.

What `doctor` asks is here, what `store init` sets is in `minio_server`. A server that is no
MinIO, or a key without administration rights, answers with a refusal; that is no failure, only
less to know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import certifi
from urllib3 import PoolManager, ProxyManager, Timeout
from urllib3.exceptions import HTTPError

from sync_daemon.stores.minio_space import PATIENCE, usable_bytes
from sync_daemon.stores.s3_sign import SigningKeys
from sync_daemon.wire.places import place_of
from sync_daemon.wire.proxies import Proxies
from sync_daemon.wire.trust import certificate_file

_EXPIRY = re.compile(r"\bstale_uploads_expiry=(\S+)")
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a MinIO server says of itself; None: it does not."""

    free_bytes: int | None = None
    uploads_expire: timedelta | None = None


def ask_server(
    endpoint: str,
    keys: SigningKeys,
    *,
    region: str | None = None,
    ca_file: str | None = None,
    proxy: str | None = None,
) -> ServerFacts:
    """Ask the server at `endpoint`. Whatever it refuses is None.

    `proxy` is a URL, `off`, or None for the usual variables. Raises ConfigurationError.
    """
    with open_admin(endpoint, keys, region=region, ca_file=ca_file, proxy=proxy) as admin:
        if admin is None:
            return ServerFacts()
        return ServerFacts(_free_bytes(admin), _uploads_expire(admin))


@contextmanager
def open_admin(
    endpoint: str,
    keys: SigningKeys,
    *,
    region: str | None = None,
    ca_file: str | None = None,
    proxy: str | None = None,
) -> Iterator[Any]:
    """Open the SDK's client, a `MinioAdmin`; None for an endpoint that no MinIO can have.

    Nothing is asked yet. Raises ConfigurationError.
    """
    from minio import MinioAdmin  # noqa: PLC0415 - slow to import, and few commands need it
    from minio.credentials.providers import StaticProvider  # noqa: PLC0415

    parts = urlsplit(endpoint)
    with _open_pool(endpoint, ca_file, proxy) as pool:
        try:
            admin = MinioAdmin(
                endpoint=parts.netloc,
                credentials=StaticProvider(keys.access_key, keys.secret_key, keys.token),
                region=region or "",
                secure=parts.scheme == "https",
                http_client=pool,
            )
        except ValueError:  # a path below the host
            admin = None
        yield admin


def is_minio(endpoint: str, *, ca_file: str | None = None, proxy: str | None = None) -> bool:
    """Tell whether the server at `endpoint` says that it is MinIO; no rights are needed."""
    with _open_pool(endpoint, ca_file, proxy) as pool:
        try:
            answer = pool.request("GET", f"{endpoint}/minio/health/live")
        except HTTPError:
            return False
    return answer.headers.get("Server", "").startswith("MinIO")


def _open_pool(endpoint: str, ca_file: str | None, proxy: str | None) -> PoolManager:
    options: dict[str, Any] = {
        "timeout": Timeout(connect=PATIENCE, read=PATIENCE),
        "retries": False,
        "cert_reqs": "CERT_REQUIRED",
        "ca_certs": certificate_file(ca_file) or certifi.where(),
    }
    found = Proxies(proxy).find(place_of(endpoint))
    if found is None:
        return PoolManager(**options)
    headers = {"Proxy-Authorization": found.secret} if found.secret else None
    return ProxyManager(f"http://{found.authority}", proxy_headers=headers, **options)


def _free_bytes(admin: Any) -> int | None:
    text = _ask(admin.info)
    try:
        return usable_bytes(json.loads(text)) if text else None
    except (ValueError, KeyError, TypeError, IndexError):
        return None


def _uploads_expire(admin: Any) -> timedelta | None:
    found = _EXPIRY.search(_ask(lambda: admin.config_get(key="api")) or "")
    return parse_length(found[1]) if found else None


def _ask(question: Callable[[], Any]) -> str | None:
    try:
        return str(question())
    except Exception:  # noqa: BLE001 - a refused config_get is an UnboundLocalError (SDK 7.2.20)
        return None


def parse_length(text: str) -> timedelta | None:
    """Read a length of time as Go writes it: `24h`, `1h30m`."""
    found = _LENGTH.findall(text)
    if "".join(number + unit for number, unit in found) != text or not found:
        return None
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in found))
