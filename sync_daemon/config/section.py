"""What all sections of mirror.yaml are."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A mapping of known keys; anything else in it is a mistake.

    What checks it is built when it is first needed: that of the whole file has those of all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)
    tag: ClassVar[str] = ""


def optional(description: str) -> Any:
    """Declare a section that may be left out, as an empty one could be written in its place."""
    return Field(default={}, validate_default=True, description=description)
