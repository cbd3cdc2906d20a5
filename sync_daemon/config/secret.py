"""A piece of text that must not be shown.

A `Secret` prints as `***` wherever it ends up: logs, errors, dumps, tracebacks.
Only `reveal()` gives the text, so that a search for that word finds every use.
"""

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from sync_daemon.config.environment import FromEnvironment
from sync_daemon.config.units import UnitError

HIDDEN = "***"
_LONGEST = 65_536


class Secret:
    """Text behind a mask. Equal secrets compare equal; none of them prints its text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself, for the one place that sends it."""
        return self._text

    def __repr__(self) -> str:
        return HIDDEN

    def __format__(self, spec: str) -> str:
        return format(HIDDEN, spec)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    @classmethod
    def __get_pydantic_core_schema__(cls, _: object, __: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _parse,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda _: HIDDEN),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _: CoreSchema, __: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "minLength": 1}


def _parse(value: object) -> Secret:
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise UnitError(message="must be text", hint="put it in quotes")
    if not value and not isinstance(value, FromEnvironment):
        raise UnitError(message="is empty", hint="give it a value or leave the key out")
    if value == HIDDEN:
        raise UnitError(message="is the mask of a secret", hint="write the secret, or ${NAME}")
    if len(value) > _LONGEST or any(char in value for char in "\r\n\0"):
        raise UnitError(
            message="is too long or holds a line break", hint="a secret is one line of text"
        )
    return Secret(value)
