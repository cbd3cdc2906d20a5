"""The section `gateway` of mirror.yaml: who is served, where, and how."""

from typing import Annotated, Literal

from pydantic import Field

from sync_daemon.config.fields import Cidr, Listen, LocalPath, Redirecting, Switch, Url
from sync_daemon.config.section import Section
from sync_daemon.config.units import Address


class Tls(Section):
    """Certificate of the gateway."""

    cert_file: LocalPath = Field(description="Certificate chain, PEM.")
    key_file: LocalPath = Field(description="Private key, PEM.")


class Gateway(Section):
    """The read-only Hub API for developers."""

    listen: Listen = Field(
        default=Address("127.0.0.1", 8080), description="HOST:PORT of the gateway; or off."
    )
    public_url: Url | None = Field(default=None, description="The gateway's URL as clients see it.")
    redirect: Annotated[Literal["auto", "always", "never"], Redirecting] = Field(
        default="auto", description="Send clients to the bucket for large files."
    )
    store_url: Url | None = Field(default=None, description="The S3 endpoint as clients see it.")
    anonymous: Switch = Field(default=False, description="Answer without a token.")
    networks: tuple[Cidr, ...] = Field(default=(), description="Clients allowed in; empty: all.")
    proxies: tuple[Cidr, ...] = Field(default=(), description="Whose X-Forwarded-For is believed.")
    tls: Tls | None = Field(default=None, description="Serve https with this certificate.")
    access_log: Switch = Field(default=True, description="One log line for each request.")
