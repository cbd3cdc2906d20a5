"""The sections of mirror.yaml that `sync-daemon pull` reads on the machines of developers."""

from typing import Annotated, Literal

from pydantic import Field

from sync_daemon.config.fields import LocalPath, Number, ProxyUrl, Text, Url
from sync_daemon.config.secret import Secret
from sync_daemon.config.section import Section


class MirrorSite(Section):
    """A mirror that `pull` may fetch from: a gateway, or any server with the Hub's API."""

    name: Text | None = Field(default=None, description="How reports call it; else its URL.")
    url: Url = Field(description="URL of the mirror.")
    priority: Annotated[int, Field(ge=1, le=1000), Number] | None = Field(
        default=None,
        description="Lowest first; equal ones are ranked by measurement. Left out: its position.",
    )
    token: Secret | None = Field(
        default=None, description="Access token for this mirror, instead of pull.token."
    )
    token_file: LocalPath | None = Field(default=None, description="File with that token.")


class Pull(Section):
    """What `pull` does when the command line does not say otherwise."""

    model: Text | None = Field(default=None, description="Model, or repository id.")
    version: Text | None = Field(
        default=None, description="Version, alias, branch, tag or commit; left out: main."
    )
    repo_type: Literal["model", "dataset", "space"] = Field(
        default="model", description="Kind of repository."
    )
    output: LocalPath | None = Field(default=None, description="Directory for the files.")
    include: tuple[Text, ...] = Field(default=(), description="Patterns of files; empty: all.")
    exclude: tuple[Text, ...] = Field(
        default=(), description="Patterns of files to leave out; they win."
    )
    cache: LocalPath | None = Field(
        default=None, description="Directory of the local cache; else ~/.cache/sync-daemon."
    )
    token: Secret | None = Field(
        default=None, description="Access token; sent to mirror sites and nowhere else."
    )
    token_file: LocalPath | None = Field(default=None, description="File with the access token.")
    ca_file: LocalPath | None = Field(
        default=None,
        description="Certificates (PEM) that prove the mirrors, instead of the system's.",
    )
    proxy: ProxyUrl | None = Field(
        default=None,
        description="URL of an http proxy, or off; left out: the usual variables say.",
    )
