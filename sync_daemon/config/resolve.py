"""Entries and defaults merged: what the engine is asked to mirror.

The nearest setting wins: version, then model, then defaults. Patterns replace one
another, they do not add up.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sync_daemon.config.model import DEFAULT_ORIGIN, Settings
from sync_daemon.config.models import HttpFile, ModelEntry, NamedEntry, TagsEntry
from sync_daemon.domain.listing import Repository
from sync_daemon.domain.names import GroupName, ModelName, VersionName
from sync_daemon.domain.selection import Selection
from sync_daemon.domain.wanted import Wanted, WantedTags


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model with nothing left to look up."""

    name: ModelName
    origin: str
    repository: Repository
    selection: Selection
    versions: tuple[Wanted | WantedTags, ...]
    files: tuple[HttpFile, ...]
    trees: bool
    group: GroupName | None
    requires: tuple[tuple[str, str], ...]


def resolve_models(settings: Settings) -> tuple[ResolvedModel, ...]:
    """Merge defaults into every model, in the order of the file."""
    return tuple(_resolve(model, settings) for model in settings.models)


def choose_origin(names: Iterable[str]) -> str | None:
    """The origin meant when none is named: the only one, or else `hf`."""
    known = tuple(names)
    if len(known) == 1:
        return known[0]
    return DEFAULT_ORIGIN if DEFAULT_ORIGIN in known else None


def _resolve(entry: ModelEntry, settings: Settings) -> ResolvedModel:
    defaults = settings.defaults
    model = ResolvedModel(
        name=ModelName(entry.name),
        origin=entry.origin or defaults.origin or choose_origin(settings.origins) or "",
        repository=Repository(entry.repo or "", entry.repo_type or defaults.repo_type),
        selection=_select(entry, Selection(defaults.include, defaults.exclude)),
        versions=(),
        files=entry.files,
        trees=entry.trees,
        group=GroupName(entry.group) if entry.group else None,
        requires=_requires(entry),
    )
    return replace(model, versions=tuple(_version(version, model) for version in entry.versions))


def _version(entry: NamedEntry | TagsEntry, model: ResolvedModel) -> Wanted | WantedTags:
    origin = entry.origin or model.origin
    selection = _select(entry, model.selection)
    if isinstance(entry, TagsEntry):
        return WantedTags(
            model.name,
            origin,
            model.repository,
            entry.tags,
            entry.latest,
            selection,
            model.trees,
            model.group,
            model.requires,
        )
    return Wanted(
        model.name,
        VersionName(entry.name),
        origin,
        model.repository,
        entry.revision,
        selection,
        model.trees,
        model.group,
        model.requires,
    )


def _requires(entry: ModelEntry) -> tuple[tuple[str, str], ...]:
    wanted = entry.requires.model_dump() if entry.requires else {}
    return tuple((name, version) for name, version in sorted(wanted.items()) if version)


def _select(entry: ModelEntry | NamedEntry | TagsEntry, outer: Selection) -> Selection:
    return Selection(
        outer.include if entry.include is None else entry.include,
        outer.exclude if entry.exclude is None else entry.exclude,
    )
