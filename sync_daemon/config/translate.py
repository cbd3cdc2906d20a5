"""pydantic's findings -> problems in plain words, at their places in the file."""

from collections.abc import Iterable
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sync_daemon.config.document import Document, quote
from sync_daemon.config.environment import FromEnvironment
from sync_daemon.config.model import Settings
from sync_daemon.config.models import version_tag
from sync_daemon.config.problems import Path, clip
from sync_daemon.config.section import Section
from sync_daemon.config.units import suggest

_EXPECTED = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "mapping_type": "must be keys and values",
    "dict_type": "must be keys and values",
    "model_type": "must be keys and values",
    "model_attributes_type": "must be keys and values",
    "string_too_short": "is empty",
    "too_short": "must have at least one item",
    "extra_forbidden": "unknown key",
    "missing": "is missing",
    "union_tag_not_found": "has no type",
    "union_tag_invalid": "has an unknown type",
}
_LIMITS = {
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "string_too_long": "is longer than {max_length} characters",
}
_TYPES = "write type: huggingface, http or directory"
_HINTS = {
    "tuple_type": "write [a, b], or one '- item' a line",
    "string_too_short": "give it a value or leave the key out",
    "union_tag_not_found": _TYPES,
    "union_tag_invalid": _TYPES,
}
_ACCESS_LOG = ("gateway", "access_log")
_NEVER_ECHOED = {
    "urls",
    "headers",
    "url",
    "endpoint",
    "endpoints",
    "public_url",
    "store_url",
    "proxy",
}


def add_type_problems(document: Document, error: ValidationError) -> None:
    """Note everything that pydantic refused."""
    for detail in error.errors(include_url=False):
        path = _path(detail["loc"])
        if path == _ACCESS_LOG:
            if detail["type"] == "literal_error":  # pydantic tells of each type
                document.add(path, "must be true, false or private")
            continue
        if detail["type"] == "too_short" and _value_at(document, path):
            continue  # it has items, all of them wrong
        message, hint = _words(document, detail, path)
        document.add(path, message, hint, at_key=detail["type"] == "extra_forbidden")


def _path(loc: Path) -> Path:
    """Remove what pydantic adds: the kind of an origin or version, a mark for keys."""
    path = loc[:-1] if loc and loc[-1] == "[key]" else loc
    if path[:2] == _ACCESS_LOG:
        return _ACCESS_LOG
    if path[:1] == ("origins",):
        path = path[:2] + path[3:]
        return path[:4] + path[5:] if path[2:3] == ("endpoints",) else path
    if path[:1] == ("models",) and path[2:3] == ("versions",):
        return path[:4] + path[5:]
    return path


def _words(document: Document, detail: ErrorDetails, path: Path) -> tuple[str, str]:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in {"string_type", "int_type", "bool_type"}:
        return _wrong_type(document, kind, path)
    if kind in _EXPECTED:
        return _EXPECTED[kind], _HINTS.get(kind) or _hint_here(document, kind, path)
    wrong = context.get("error")
    message = str(wrong) if wrong else _LIMITS.get(kind, detail["msg"]).format(**context)
    return _with_value(message, detail, path), getattr(wrong, "hint", "")


def _hint_here(document: Document, kind: str, path: Path) -> str:
    if kind == "extra_forbidden":
        return _near_key(document, path)
    return _about(document, path) if kind == "missing" else ""


def _wrong_type(document: Document, kind: str, path: Path) -> tuple[str, str]:
    position = document.positions.get(path)
    bare = position.bare if position else None
    value = _value_at(document, path)
    if kind == "string_type" and bare is not None and isinstance(value, bool | int | float):
        what = "true or false" if isinstance(value, bool) else "a number"
        return f"must be text, but YAML reads {clip(bare)} as {what}", f"quote it: {quote(bare)}"
    if isinstance(value, str) and not isinstance(value, FromEnvironment) and bare is None:
        return _EXPECTED[kind], "remove the quotes"
    return _EXPECTED[kind], ""


def _with_value(message: str, detail: ErrorDetails, path: Path) -> str:
    """Repeat a short wrong value, unless it may hold a secret."""
    value = detail["input"]
    hidden = isinstance(value, FromEnvironment) or bool(_NEVER_ECHOED & set(path))
    if hidden or not isinstance(value, str | int) or _is_secret(path):
        return message
    return f"{message}: {clip(value)!r}" if isinstance(value, str) else f"{message}: {value}"


def _is_secret(path: Path) -> bool:
    names = {"token", "access_key", "secret_key", "webhook_secret", "api_token", "alertmanager"}
    return bool(path) and path[-1] in names


def _value_at(document: Document, path: Path) -> Any:
    value: Any = document.tree
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _near_key(document: Document, path: Path) -> str:
    known = {name for section in _sections(document, path[:-1]) for name in section.model_fields}
    return suggest(str(path[-1]), sorted(known)) or f"known here: {', '.join(sorted(known))}"


def _about(document: Document, path: Path) -> str:
    for section in _sections(document, path[:-1]):
        if found := section.model_fields.get(str(path[-1])):
            return f"needed here: {(found.description or '').rstrip('.')}"
    return ""


def _sections(document: Document, path: Path) -> tuple[type[Section], ...]:
    """Find the kind of section that stands at a path."""
    here: tuple[type[Section], ...] = (Settings,)
    for end, part in enumerate(path, 1):
        if isinstance(part, int) or path[: end - 1] == ("origins",):
            here = _narrow(here, _value_at(document, path[:end]))
        else:
            fields = (section.model_fields.get(part) for section in here)
            here = tuple(s for found in fields if found for s in _inside(found.annotation))
    return here


def _narrow(sections: tuple[type[Section], ...], value: Any) -> tuple[type[Section], ...]:
    if not isinstance(value, dict):
        return sections
    tags = {value.get("type") if "type" in value else version_tag(value)}
    return tuple(s for s in sections if s.tag in tags) or sections


def _inside(annotation: Any) -> Iterable[type[Section]]:
    """Yield the section types within an annotation, through tuples, unions and the like."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
        return
    for argument in get_args(annotation):
        yield from _inside(argument)
