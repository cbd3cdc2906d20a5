"""The entries of `models` in mirror.yaml: a model, its versions, and what is wanted of them."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from sync_daemon.config.fields import Number, Release, Sha256, Switch, Text, When
from sync_daemon.config.section import Section, optional

DEFAULT_REVISION = "main"

RepoType = Literal["model", "dataset", "space"]
Patterns = tuple[Text, ...]


class HttpFile(Section):
    """One file of an HTTP origin."""

    path: Text = Field(description="Path below the base URL and the repo.")
    sha256: Sha256 | None = Field(default=None, description="What its bytes must hash to.")


class NamedEntry(Section):
    """One version with a name of your own."""

    tag: ClassVar[str] = "named"
    name: Text = Field(description="Name of the version in the mirror.")
    revision: Text = Field(
        default=DEFAULT_REVISION,
        description="Commit or tag (a pin), or branch (followed). Needed on Hugging Face.",
    )
    origin: Text | None = Field(default=None, description="Name of an origin; else the model's.")
    include: Patterns | None = Field(default=None, description="Instead of the model's include.")
    exclude: Patterns | None = Field(default=None, description="Instead of the model's exclude.")


class TagsEntry(Section):
    """A version for every tag that matches."""

    tag: ClassVar[str] = "tags"
    tags: Text = Field(description="Pattern of tag names; a slash becomes %2F in the version.")
    latest: Annotated[int, Field(ge=1, le=100_000), Number] | None = Field(
        default=None, description="Only the newest so many, by version order; left out: all."
    )
    origin: Text | None = Field(default=None, description="Name of an origin; else the model's.")
    include: Patterns | None = Field(default=None, description="Instead of the model's include.")
    exclude: Patterns | None = Field(default=None, description="Instead of the model's exclude.")


def version_tag(value: Any) -> str:
    """Tell which of the two kinds of version entry a mapping is meant to be."""
    if isinstance(value, TagsEntry) or (isinstance(value, dict) and "tags" in value):
        return TagsEntry.tag
    return NamedEntry.tag


VersionEntry = Annotated[
    Annotated[NamedEntry, Tag("named")] | Annotated[TagsEntry, Tag("tags")],
    Discriminator(version_tag),
]


class ModelSchedule(Section):
    """Times of one model, instead of those for all."""

    incremental: When | None = Field(default=None, description="Instead of schedule.incremental.")
    full: When | None = Field(default=None, description="Instead of schedule.full.")
    verify: When | None = Field(default=None, description="Besides schedule.verify.")


class Requires(Section):
    """What a machine needs to run a model; the client checks it, and installs nothing."""

    cuda: Release | None = Field(default=None, description="Version of CUDA, such as 11.8.")
    cudnn: Release | None = Field(default=None, description="Version of cuDNN, such as 8.9.")


class ModelEntry(Section):
    """A model, and which of its versions are wanted."""

    name: Text = Field(description="Name in the mirror: one or two segments.")
    repo: Text | None = Field(
        default=None, description="Repository id, or folder; optional for HTTP origins."
    )
    repo_type: RepoType | None = Field(
        default=None, description="Instead of the default repo_type."
    )
    origin: Text | None = Field(default=None, description="Instead of the default origin.")
    include: Patterns | None = Field(default=None, description="Instead of the default include.")
    exclude: Patterns | None = Field(default=None, description="Instead of the default exclude.")
    versions: Annotated[tuple[VersionEntry, ...], Field(min_length=1)] = Field(
        default=({"name": DEFAULT_REVISION},),
        validate_default=True,
        description="Wanted versions; left out: main, which follows main.",
    )
    files: tuple[HttpFile, ...] = Field(default=(), description="Files of an HTTP origin.")
    trees: Switch = Field(default=False, description="Also keep plain copies under trees/.")
    group: Text | None = Field(default=None, description="Folder of them below trees/: nlp, cv.")
    requires: Requires | None = Field(
        default=None, description="What a machine needs to run it; kept in the manifest."
    )
    schedule: ModelSchedule = optional("Times of its own for this model.")
