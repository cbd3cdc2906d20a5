"""The section `gateway` of mirror.yaml: who is served, where, and how."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from sync_daemon.config.fields import (
    AccessLogging,
    Cidr,
    Duration,
    Listen,
    LocalPath,
    Number,
    Redirecting,
    RequestRate,
    Size,
    Switch,
    TlsVersion,
    Url,
)
from sync_daemon.config.section import Section
from sync_daemon.config.units import Address, UnitError

_LONGEST_LINK = timedelta(days=7)
_SHORTEST_LINK = timedelta(minutes=1)


def _check_link(life: timedelta) -> timedelta:
    """Refuse what S3 does not sign, and what has ended before a client can use it."""
    if not _SHORTEST_LINK <= life <= _LONGEST_LINK:
        raise UnitError(message="is not between 1m and 7d", hint="write for example 1d")
    return life


def _check_refresh(every: timedelta) -> timedelta:
    """Refuse to list the store all the time, and to show what is days old."""
    if not timedelta(seconds=1) <= every <= timedelta(days=1):
        raise UnitError(message="is not between 1s and 1d", hint="write for example 10s")
    return every


class Tls(Section):
    """Certificate of the gateway."""

    cert_file: LocalPath = Field(description="Certificate chain, PEM.")
    key_file: LocalPath = Field(description="Private key, PEM, without a passphrase.")
    min_version: Annotated[Literal["1.2", "1.3"], TlsVersion] = Field(
        default="1.3", description="Oldest version of TLS that clients may speak."
    )


class Gateway(Section):
    """The read-only Hub API for developers."""

    listen: Listen = Field(
        default=Address("127.0.0.1", 8080), description="HOST:PORT of the gateway; or off."
    )
    public_url: Url | None = Field(default=None, description="The gateway's URL as clients see it.")
    refresh: Annotated[Duration, AfterValidator(_check_refresh)] = Field(
        default=timedelta(seconds=10),
        description="How often it looks for what is new.",
    )
    redirect: Annotated[Literal["auto", "always", "never"], Redirecting] = Field(
        default="auto", description="Send clients to the bucket for large files."
    )
    redirect_above: Size = Field(
        default=1024**2, description="Bytes from which a request is sent to the bucket."
    )
    store_url: Url | None = Field(default=None, description="The S3 endpoint as clients see it.")
    link_expiry: Annotated[Duration, AfterValidator(_check_link)] = Field(
        default=timedelta(days=1), description="How long a link to the bucket is good; to 7d."
    )
    anonymous: Switch = Field(default=False, description="Answer without a token.")
    networks: tuple[Cidr, ...] = Field(default=(), description="Clients allowed in; empty: all.")
    proxies: tuple[Cidr, ...] = Field(default=(), description="Whose X-Forwarded-For is believed.")
    tls: Tls | None = Field(default=None, description="Serve https with this certificate.")
    access_log: Annotated[bool | Literal["private"], AccessLogging] = Field(
        default=True,
        description="One log line for each request; private: without client, token and path.",
    )
    request_rate: RequestRate = Field(
        default=0.0, description="Requests per second of one client, counted by the minute; or off."
    )
    connections: Annotated[int, Field(ge=1, le=100_000), Number] = Field(
        default=1000, description="Connections of all clients together."
    )
    client_connections: Annotated[int, Field(ge=1, le=100_000), Number] = Field(
        default=500, description="Connections, and requests at a time, of one client."
    )
