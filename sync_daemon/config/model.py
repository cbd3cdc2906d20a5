"""The sections of mirror.yaml as frozen, typed values.

Every key carries its description here, once: the JSON Schema, and a test over the
documentation and the example, read it from these fields. Checks that need more than
one key are in `checks.py`, so that they run even when another key is wrong.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, PrivateAttr, Tag

from sync_daemon.config.alerts import Alerts
from sync_daemon.config.client import MirrorSite, Pull
from sync_daemon.config.fields import (
    Bandwidth,
    Cron,
    DailyWindow,
    Duration,
    Format,
    Listen,
    LocalPath,
    Number,
    Percent,
    Place,
    ProxyUrl,
    Rate,
    RequestRate,
    Size,
    Text,
    TimeZone,
    Url,
    When,
    YesNo,
)
from sync_daemon.config.gateway import Gateway
from sync_daemon.config.log import Log
from sync_daemon.config.models import ModelEntry, Patterns, RepoType
from sync_daemon.config.problems import Problem
from sync_daemon.config.secret import Secret
from sync_daemon.config.section import Section, optional
from sync_daemon.config.timetable import UNLIMITED
from sync_daemon.config.timing import Timing
from sync_daemon.config.units import Address

MIB = 1024**2
MIN_PART_SIZE = 5 * MIB
MIN_PARTS = 4
DEFAULT_ORIGIN = "hf"

_PROXY = "URL of an http proxy, or off; left out: the usual variables say."
_CA_FILE = "Certificates (PEM) that prove the servers, instead of the system's."


class Credentials(Section):
    """Keys for the store. Left out, boto3 finds them in its usual places."""

    access_key: Secret | None = Field(default=None, description="Access key id.")
    access_key_file: LocalPath | None = Field(
        default=None, description="File with the access key id."
    )
    secret_key: Secret | None = Field(default=None, description="Secret access key.")
    secret_key_file: LocalPath | None = Field(
        default=None, description="File with the secret access key."
    )


class Store(Section):
    """Where the mirror is kept."""

    url: Place = Field(
        description="s3://BUCKET/PREFIX, file:///absolute/path or file:./relative/path."
    )
    endpoint: Url | None = Field(
        default=None, description="URL of the S3 server; left out, boto3 knows it (AWS)."
    )
    region: Text | None = Field(default=None, description="Region; left out, boto3's own choice.")
    addressing: Literal["auto", "path", "virtual"] = Field(
        default="auto", description="Bucket in the path or in the host name."
    )
    checksum: Literal["auto", "crc32c", "crc64nvme", "md5", "none"] = Field(
        default="auto",
        description="Check of each part on its way to the store; auto asks the server.",
    )
    conditional_writes: Annotated[Literal["auto", "yes", "no"], YesNo] = Field(
        default="auto",
        description="Whether the server knows If-None-Match; no means a single writer.",
    )
    credentials: Credentials | None = Field(
        default=None,
        description="Keys for the store; left out, boto3 finds them in its usual places.",
    )
    ca_file: LocalPath | None = Field(
        default=None,
        description="Certificates (PEM) that prove the S3 server, instead of the system's.",
    )
    proxy: ProxyUrl | None = Field(default=None, description=_PROXY)
    quota: Size | None = Field(
        default=None, description="Quota of the bucket, which `store init` sets at MinIO."
    )
    capacity: Size | None = Field(
        default=None, description="Room of the store, where its server does not say."
    )


class EndpointEntry(Section):
    """One server of an origin, with a priority of its own."""

    url: Url = Field(description="URL of the server.")
    priority: Annotated[int, Field(ge=1, le=1000), Number] | None = Field(
        default=None,
        description="Lowest first; equal ones are ranked by measurement. Left out: its position.",
    )
    token: Secret | None = Field(
        default=None, description="Access token for this server, instead of the origin's."
    )
    token_file: LocalPath | None = Field(default=None, description="File with that token.")


def endpoint_tag(value: Any) -> str:
    """Tell a URL from a mapping."""
    return "entry" if isinstance(value, dict | EndpointEntry) else "url"


EndpointUrl = Annotated[
    Annotated[Url, Tag("url")] | Annotated[EndpointEntry, Tag("entry")],
    Discriminator(endpoint_tag),
]


class HuggingFaceOrigin(Section):
    """The Hugging Face Hub, or a server with the same API."""

    tag: ClassVar[str] = "huggingface"
    type: Literal["huggingface"] = Field(description="Kind of origin.")
    endpoints: Annotated[tuple[EndpointUrl, ...], Field(min_length=1)] = Field(
        default=("https://huggingface.co",),
        description="Servers with the same content, best first, or with priorities.",
    )
    token: Secret | None = Field(
        default=None, description="Access token; sent to the endpoints and nowhere else."
    )
    token_file: LocalPath | None = Field(default=None, description="File with the access token.")
    ca_file: LocalPath | None = Field(default=None, description=_CA_FILE)
    proxy: ProxyUrl | None = Field(default=None, description=_PROXY)


class HttpOrigin(Section):
    """Files below a URL; the model lists them under `files`."""

    tag: ClassVar[str] = "http"
    type: Literal["http"] = Field(description="Kind of origin.")
    url: Url = Field(description="Base URL; the model's repo and file paths follow it.")
    headers: Mapping[Text, Secret] = Field(
        default={}, description="Request headers; their values are treated as secrets."
    )
    ca_file: LocalPath | None = Field(default=None, description=_CA_FILE)
    proxy: ProxyUrl | None = Field(default=None, description=_PROXY)


class DirectoryOrigin(Section):
    """Folders of this machine."""

    tag: ClassVar[str] = "directory"
    type: Literal["directory"] = Field(description="Kind of origin.")
    path: LocalPath = Field(description="Folder that holds the repositories.")


Origin = HuggingFaceOrigin | HttpOrigin | DirectoryOrigin


class Defaults(Section):
    """What holds for every model that does not say otherwise."""

    origin: Text | None = Field(
        default=None, description="Name of an origin; left out, the only one, or else hf."
    )
    repo_type: RepoType = Field(default="model", description="Kind of repository.")
    include: Patterns = Field(default=(), description="Patterns of files to mirror; empty: all.")
    exclude: Patterns = Field(default=(), description="Patterns of files to leave out; they win.")


class Schedule(Section):
    """When the daemon works by itself."""

    incremental: When = Field(
        default=Timing("0 * * * *"), description="When to ask for what has changed."
    )
    full: When = Field(
        default=Timing("30 3 * * sun"), description="When to list and prove everything again."
    )
    verify: When | None = Field(default=None, description="When to read stored bytes again.")
    prune: Cron | None = Field(default=None, description="When to remove what nothing refers to.")
    window: DailyWindow | None = Field(default=None, description="Large transfers only then.")
    any_time: Size | None = Field(
        default=None,
        description="Files up to this size move outside the window, too. Left out: part_size.",
    )
    jitter: Duration | None = Field(
        default=None, description="Start by chance up to so much later; left out: on time."
    )
    timezone: TimeZone = Field(
        default="UTC",
        description="Time zone of the cron lines, the window and the bandwidth timetable.",
    )
    webhook_secret: Secret | None = Field(
        default=None, description="X-Webhook-Secret of the Hub's webhooks."
    )
    webhook_secret_file: LocalPath | None = Field(
        default=None, description="File with the webhook secret."
    )
    webhook_debounce: Duration = Field(
        default=timedelta(seconds=5),
        description="Webhooks for a model within this time lead to one run.",
    )
    api_token: Secret | None = Field(
        default=None, description="Bearer token of POST /api/runs; none: it does not exist."
    )
    api_token_file: LocalPath | None = Field(
        default=None, description="File with the token of POST /api/runs."
    )


class Transfer(Section):
    """How bytes move. All limits are shared by all transfers."""

    connections: Annotated[int, Field(ge=1, le=256), Number] = Field(
        default=16, description="Ranges of all files in flight together."
    )
    part_size: Size = Field(
        default=32 * MIB, description="Smallest part of a multipart upload; grows with the file."
    )
    memory: Size = Field(
        default=1024 * MIB, description="All buffers together; at least four parts."
    )
    bandwidth: Bandwidth = Field(
        default=UNLIMITED, description="Bytes per second, off, or a timetable in schedule.timezone."
    )
    request_rate: RequestRate = Field(
        default=0.0, description="Requests per second to all origins together, or off."
    )
    attempts: Annotated[int, Field(ge=1, le=100), Number] = Field(
        default=3, description="Tries for a request that can heal."
    )
    connect_timeout: Duration = Field(
        default=timedelta(seconds=10), description="Longest wait for a connection."
    )
    read_timeout: Duration = Field(
        default=timedelta(seconds=30), description="Longest wait for the next byte."
    )
    total_timeout: Duration = Field(
        default=timedelta(minutes=15), description="No new try of a request begins after it."
    )
    min_speed: Rate = Field(
        default=16 * 1024, description="A slower connection is given up; off: never."
    )


class Retention(Section):
    """What prune, and of run reports a full run, may remove."""

    history: Annotated[int, Field(ge=1, le=100_000), Number] = Field(
        default=3, description="Newest manifests to keep of each version."
    )
    grace: Duration = Field(
        default=timedelta(days=7), description="Time between marking a blob and deleting it."
    )
    undeclared: Literal["keep", "prune"] = Field(
        default="keep", description="What happens to versions that left this file."
    )
    max_delete: Percent = Field(default=0.1, description="Largest share of the blobs in one prune.")
    reports: Duration = Field(
        default=timedelta(days=90), description="Age at which a full run removes a run report."
    )


class Metrics(Section):
    """Prometheus metrics and health checks."""

    listen: Listen = Field(
        default=Address("127.0.0.1", 9464),
        description="HOST:PORT of /metrics, /healthz, /readyz; or off.",
    )


class Policy(Section):
    """Gates; there are none in this release, so nothing may stand here."""


class Settings(Section):
    """The whole configuration, checked."""

    version: Format = Field(description="Format of this file.")
    store: Store = Field(description="Where the mirror is kept.")
    origins: Mapping[Text, Annotated[Origin, Discriminator("type")]] = Field(
        default={DEFAULT_ORIGIN: {"type": HuggingFaceOrigin.tag}},
        validate_default=True,
        description="Where models come from, by a name of your own.",
    )
    defaults: Defaults = optional("What holds for every model.")
    models: tuple[ModelEntry, ...] = Field(default=(), description="What to mirror.")
    schedule: Schedule = optional("When the daemon works by itself.")
    transfer: Transfer = optional("How bytes move.")
    retention: Retention = optional("What prune may remove.")
    metrics: Metrics = optional("Prometheus metrics and health checks.")
    alerts: Alerts = optional("When to alert, and whom.")
    log: Log = optional("What is logged, and where to.")
    gateway: Gateway = optional("The read-only Hub API.")
    mirror_sites: tuple[MirrorSite, ...] = Field(
        default=(), description="Mirrors that `pull` fetches from."
    )
    pull: Pull = optional("What `pull` does unless told otherwise.")
    policy: Policy = optional("Gates; none in this release.")

    _warnings: tuple[Problem, ...] = PrivateAttr(())

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What is doubtful in the file, but does not stop anything."""
        return self._warnings
