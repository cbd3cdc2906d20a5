"""What every event is: a name, a level and the fields that have a value."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events; `name` is what a log line carries as `event`."""

    name: ClassVar[str]
    level: ClassVar[Level] = "info"

    def fields(self) -> dict[str, Any]:
        """Return the fields that have a value."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {key: value for key, value in values.items() if value not in (None, ())}
