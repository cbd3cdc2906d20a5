"""Which of the YAML's entries are meant, checked before anything is touched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sync_daemon.domain.errors import ConfigurationError, InvalidName
from sync_daemon.domain.names import ModelName, VersionName
from sync_daemon.domain.versions import is_of_tag
from sync_daemon.domain.wanted import Wanted, WantedTags

Entry = Wanted | WantedTags


def select(
    entries: Sequence[Entry], models: Iterable[str], versions: Iterable[str]
) -> tuple[Entry, ...]:
    """Return the entries of these models (none: all) that may give one of these versions.

    Raises ConfigurationError for a name that no entry can mean.
    """
    wanted_models, wanted = set(models), set(versions)
    known = {entry.model for entry in entries}
    if unknown := sorted(wanted_models - known):
        raise _unknown("model", unknown, known)
    chosen = [entry for entry in entries if not wanted_models or entry.model in wanted_models]
    if unknown := sorted(v for v in wanted if not any(gives(entry, v) for entry in chosen)):
        raise _unknown("version", unknown, {e.version for e in chosen if isinstance(e, Wanted)})
    if not wanted:
        return tuple(chosen)
    named = {(e.model, str(e.version)) for e in chosen if isinstance(e, Wanted)}
    return tuple(
        entry
        for entry in chosen
        if any(
            gives(entry, version)
            for version in wanted
            if isinstance(entry, Wanted) or (entry.model, version) not in named
        )
    )


def parse_version(text: str) -> tuple[ModelName, VersionName]:
    """Read `MODEL@VERSION`. Raises ConfigurationError."""
    model, version = parse_target(text)
    if version is None:
        message = f"{text}: a version is missing"
        raise ConfigurationError(message, hint="write MODEL@VERSION")
    return model, version


def parse_names(texts: Iterable[str]) -> tuple[VersionName, ...]:
    """Read version names; a tag with a slash may be written as it is.

    Raises ConfigurationError.
    """
    try:
        return tuple(VersionName.of_tag(text) for text in texts)
    except InvalidName as error:
        raise ConfigurationError(str(error)) from error


def parse_target(text: str) -> tuple[ModelName, VersionName | None]:
    """Read `MODEL` or `MODEL@VERSION`. Raises ConfigurationError."""
    model, at, version = text.partition("@")
    try:
        return ModelName(model), VersionName.of_tag(version) if at else None
    except InvalidName as error:
        raise ConfigurationError(str(error), hint="write MODEL@VERSION") from error


def gives(entry: Entry, version: str) -> bool:
    """Tell whether a declared entry stands for a version, or its pattern for a tag."""
    if isinstance(entry, Wanted):
        return entry.version == version
    return is_of_tag(version, entry.pattern)


def _unknown(what: str, names: Sequence[str], known: Iterable[str]) -> ConfigurationError:
    message = f"no such {what} in the configuration: {', '.join(names)}"
    there = ", ".join(sorted(known)) or "none"
    return ConfigurationError(message, hint=f"{what}s that are there: {there}")
