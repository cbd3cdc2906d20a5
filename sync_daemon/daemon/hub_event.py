"""What a webhook of the Hub says, and which models of the YAML it is about. Pure.

The payload (Hub documentation, webhooks, version 3): `event` with `action` and `scope`,
`repo` with `type` and `name`, for changes of content `updatedRefs`, for a rename `movedTo`.
A narrower scope that is not known here counts as the broader one, as the Hub asks for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sync_daemon.config import HuggingFaceOrigin, Settings, resolve_models
from sync_daemon.domain.wanted import Wanted, WantedTags

_OF_NO_CONTENT = "repo.config"
_PULL_REQUEST = "refs/pr/"


class WrongPayload(ValueError):
    """A body is no event of the Hub; the message says why, and repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class HubEvent:
    """`names` are the repository's, the new one after a rename included; `refs` may be empty."""

    kind: str
    names: tuple[str, ...]
    scope: str
    refs: tuple[str, ...] = ()

    @property
    def changes_content(self) -> bool:
        """Whether files may differ now: not by a discussion, a comment, or a setting."""
        if self.scope == _OF_NO_CONTENT or self.scope.startswith(f"{_OF_NO_CONTENT}."):
            return False
        return self.scope == "repo" or self.scope.startswith("repo.")


def read_json(body: bytes) -> Any:
    """Parse a body. Raises WrongPayload."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise WrongPayload("the body is no JSON") from None


def read_event(body: bytes) -> HubEvent:
    """Parse the body of a webhook. Raises WrongPayload."""
    payload = _mapping(read_json(body), "the body")
    event = _mapping(payload.get("event"), "event")
    repo = _mapping(payload.get("repo"), "repo")
    names = [_text(repo.get("name"), "repo.name")]
    if payload.get("movedTo") is not None:
        moved = _mapping(payload["movedTo"], "movedTo")
        names.append(_text(moved.get("name"), "movedTo.name"))
    return HubEvent(
        kind=_text(repo.get("type"), "repo.type"),
        names=tuple(names),
        scope=_text(event.get("scope"), "event.scope"),
        refs=_refs(payload.get("updatedRefs")),
    )


def _refs(found: object) -> tuple[str, ...]:
    if found is None:
        return ()
    if not isinstance(found, list):
        raise WrongPayload("updatedRefs is no list")
    return tuple(_text(_mapping(one, "updatedRefs[]").get("ref"), "ref") for one in found)


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise WrongPayload(f"{what} is no object")
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise WrongPayload(f"{what} is no text")
    return value


def models_of(event: HubEvent, settings: Settings) -> tuple[str, ...]:
    """Return the models that mirror the repository, and a ref that the event names.

    The Hub tells apart no two repositories by case alone, so neither does this.
    """
    names = {name.casefold() for name in event.names}
    return tuple(
        str(model.name)
        for model in resolve_models(settings)
        if model.repository.kind == event.kind
        and model.repository.name.casefold() in names
        and any(_is_about(event, entry, settings) for entry in model.versions)
    )


def _is_about(event: HubEvent, entry: Wanted | WantedTags, settings: Settings) -> bool:
    if not isinstance(settings.origins.get(entry.origin), HuggingFaceOrigin):
        return False
    wanted = entry.revision if isinstance(entry, Wanted) else ""
    refs = event.refs
    return not refs or any(not ref.startswith(_PULL_REQUEST) or ref == wanted for ref in refs)
