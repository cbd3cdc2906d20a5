"""The effective configuration as YAML or plain values, and the JSON Schema for editors."""

from collections.abc import Callable
from typing import Any

import yaml
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from sync_daemon.config.checks import S3_ONLY
from sync_daemon.config.model import Settings
from sync_daemon.config.places import DirectoryPlace
from sync_daemon.config.section import Section

_VARIABLE = {"type": "string", "pattern": r"\$\{"}


def effective(settings: Settings) -> str:
    """The configuration in force as YAML, defaults filled in, secrets as `***`."""
    return yaml.safe_dump(
        effective_values(settings), sort_keys=False, allow_unicode=True, width=100
    )


def effective_values(settings: Settings) -> dict[str, Any]:
    """The same as plain values that JSON can hold; keys in the order of the documentation."""
    values: dict[str, Any] = settings.model_dump(mode="json", exclude_none=True)
    if "gateway" not in settings.model_fields_set:
        del values["gateway"]  # the daemon serves where it is written
    if isinstance(settings.store.url, DirectoryPlace):
        values["store"] = {k: v for k, v in values["store"].items() if k not in S3_ONLY}
    _drop_read_secrets(values)
    return values


def _drop_read_secrets(values: Any) -> None:
    """Where a secret came from a file, the name of the file is enough (and loads again)."""
    if isinstance(values, list):
        for item in values:
            _drop_read_secrets(item)
    if isinstance(values, dict):
        for key in [key for key in values if f"{key}_file" in values]:
            del values[key]
        for item in values.values():
            _drop_read_secrets(item)


class _Schema(GenerateJsonSchema):
    """JSON Schema of the file as written: defaults as text, `${VAR}` where numbers are due."""

    def int_schema(self, schema: core_schema.IntSchema) -> JsonSchemaValue:
        return {"anyOf": [super().int_schema(schema), _VARIABLE]}

    def bool_schema(self, schema: core_schema.BoolSchema) -> JsonSchemaValue:
        return {"anyOf": [super().bool_schema(schema), _VARIABLE]}

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])  # a key without a value is refused

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  not ours
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        default = schema.get("default")
        if default is None or isinstance(default, Section | dict):
            return self.generate_inner(schema["schema"])
        show = _shower(schema["schema"])
        written = super().default_schema(schema)
        return written | {"default": show(default)} if show else written


def _shower(schema: CoreSchema) -> Callable[[Any], Any] | None:
    """Find the function that writes a value of this type back as text."""
    serialization: Any = schema.get("serialization", {})
    if serialization.get("type") == "function-plain":
        found: Callable[[Any], Any] = serialization["function"]
        return found
    inner: Any = schema.get("schema")
    return _shower(inner) if isinstance(inner, dict) else None


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of mirror.yaml, with a description for each key."""
    schema = Settings.model_json_schema(schema_generator=_Schema)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": "mirror.yaml"}
