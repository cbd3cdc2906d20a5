"""The lists of repositories: what a caller may see, filtered and sorted as the Hub does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sync_daemon.domain.names import ModelName
from sync_daemon.gateway.hub.values import Item, describe, tags_of
from sync_daemon.gateway.published.shelf import Edition, Repository, Shelf

_SORTED_BY_TIME = frozenset({"lastModified", "last_modified", "createdAt", "created_at"})


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for; empty means anything. `words` are parts of the id."""

    words: str = ""
    author: str = ""
    tags: tuple[str, ...] = ()
    sort: str = ""
    ascending: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """A repository in a list: under which id, and its newest edition."""

    name: str
    repository: Repository
    edition: Edition

    def to_json(self) -> Item:
        """Return what the Hub says of it."""
        return describe(self.repository, self.edition, self.name)


def find(
    shelf: Shelf, kind: str, may_read: Callable[[ModelName], bool], search: Search
) -> list[Listed]:
    """Return the repositories of a kind that fit, by name unless another order is asked for."""
    found = [one for one in _all(shelf, kind, may_read) if _fits(one, search)]
    found.sort(key=lambda one: one.name.casefold())
    if search.sort in _SORTED_BY_TIME:
        found.sort(key=_age, reverse=not search.ascending)
    return found


def _all(shelf: Shelf, kind: str, may_read: Callable[[ModelName], bool]) -> Iterator[Listed]:
    """Yield each model once: under the origin's id if that leads to it, else under its own."""
    for model in shelf.models.values():
        editions = [one for one in model.editions if one.source.repo_type == kind]
        if not editions or not may_read(model.name):
            continue
        for name in (editions[0].source.repo, model.name):
            found = shelf.repository(kind, name)
            seen = found.visible(may_read) if found else None
            if seen and seen.models[0].name == model.name:
                yield Listed(name, seen, seen.editions[0])
                break


def _fits(one: Listed, search: Search) -> bool:
    edition, name = one.edition, one.name.casefold()
    if search.author and name.partition("/")[0] != search.author.casefold():
        return False
    if search.words and search.words.casefold() not in f"{name} {edition.model.casefold()}":
        return False
    return set(search.tags) <= set(tags_of(edition))


def _age(one: Listed) -> float:
    published = one.edition.published_at
    return published.timestamp() if published else 0.0
