"""What all sections of mirror.yaml are."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A mapping of known keys; anything else in it is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    tag: ClassVar[str] = ""
