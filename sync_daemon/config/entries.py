"""The models of the raw tree, as far as they can be read.

The checks that compare keys run before types are known to be right, so that one wrong
key does not hide the next. These views skip what is malformed: that is reported on its
own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sync_daemon.config.document import Document
from sync_daemon.config.model import DEFAULT_ORIGIN, HuggingFaceOrigin
from sync_daemon.config.models import DEFAULT_REVISION
from sync_daemon.config.problems import Path
from sync_daemon.config.resolve import choose_origin

Raw = dict[str, Any]


def text(raw: Raw, key: str) -> str | None:
    """The text under a key, or None when it is absent or no text."""
    value = raw.get(key)
    return value if isinstance(value, str) else None


def mapping(raw: Raw, key: str) -> Raw:
    """The mapping under a key, or an empty one."""
    value = raw.get(key)
    return value if isinstance(value, dict) else {}


def mappings(raw: Raw, key: str, path: Path) -> Iterator[tuple[Path, Raw]]:
    """The mappings of the list under a key, with their paths."""
    items = raw.get(key)
    for index, item in enumerate(items if isinstance(items, tuple) else ()):
        if isinstance(item, dict):
            yield (*path, key, index), item


def origin_types(document: Document) -> dict[str, str | None]:
    """The type of every origin by its name."""
    origins = document.tree.get("origins")
    if origins is None:
        return {DEFAULT_ORIGIN: HuggingFaceOrigin.tag}
    if not isinstance(origins, dict):
        return {}
    return {
        name: text(raw, "type") if isinstance(raw, dict) else None for name, raw in origins.items()
    }


@dataclass(frozen=True, slots=True)
class Version:
    """One version entry; `written` is False for the `main` of a model without versions."""

    path: Path
    raw: Raw
    origin: str | None
    origin_path: Path
    written: bool = True

    @property
    def name(self) -> str | None:
        """Its name; None for an entry of tags."""
        return None if "tags" in self.raw else text(self.raw, "name")

    @property
    def tags(self) -> str | None:
        """Its pattern of tags."""
        return text(self.raw, "tags")


@dataclass(frozen=True, slots=True)
class Model:
    """One model entry with its versions."""

    path: Path
    raw: Raw
    repo_type: str
    versions: tuple[Version, ...]

    @property
    def name(self) -> str | None:
        """Its name in the mirror."""
        return text(self.raw, "name")

    @property
    def repo(self) -> str | None:
        """Its repository at the origin."""
        return text(self.raw, "repo")


def models(document: Document) -> tuple[Model, ...]:
    """All model entries of the file."""
    return tuple(_model(path, raw, document) for path, raw in mappings(document.tree, "models", ()))


def _model(path: Path, raw: Raw, document: Document) -> Model:
    defaults = mapping(document.tree, "defaults")
    fallback = choose_origin(origin_types(document))
    origin, origin_path = fallback, (*path, "origin")
    if "origin" in raw:
        origin = text(raw, "origin")
    elif "origin" in defaults:
        origin, origin_path = text(defaults, "origin"), ("defaults", "origin")
    versions = tuple(_versions(path, raw, origin, origin_path))
    repo_type = text(raw, "repo_type") or text(defaults, "repo_type") or "model"
    return Model(path, raw, repo_type, versions)


def _versions(path: Path, raw: Raw, origin: str | None, origin_path: Path) -> Iterator[Version]:
    if "versions" not in raw:
        main = {"name": DEFAULT_REVISION, "revision": DEFAULT_REVISION}
        yield Version(path, main, origin, origin_path, written=False)
    for here, item in mappings(raw, "versions", path):
        if "origin" in item:
            yield Version(here, item, text(item, "origin"), (*here, "origin"))
        else:
            yield Version(here, item, origin, origin_path)
