"""The section `log` of mirror.yaml: what is logged, and where to."""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field

from sync_daemon.config.fields import LocalPath, Number, Size
from sync_daemon.config.section import Section, optional
from sync_daemon.config.units import UnitError, suggest
from sync_daemon.domain.events import OTHER_LINES, Level, catalogue

MIB = 1024**2
_LEAST_SIZE = 4096
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")


def check_name(name: str) -> str:
    """The name of a logger, of an event, or what names of events begin with.

    Loggers are not known beforehand. What begins as events do must be one of them.
    """
    if not _NAME.fullmatch(name):
        hint = "write for example botocore, request or request.retried"
        raise UnitError(message="is no name of a logger or an event", hint=hint)
    events = {*(kind.name for kind in catalogue()), *OTHER_LINES}
    families = {event.partition(".")[0] for event in events}
    if name not in events | families and name.partition(".")[0] in families:
        raise UnitError(message="is no event", hint=suggest(name, sorted(events)))
    return name


def check_size(size: int) -> int:
    """Refuse files that would be full after some lines."""
    if size < _LEAST_SIZE:
        raise UnitError(message="is below 4KiB", hint="write for example 50MiB")
    return size


class Rotate(Section):
    """When the log file is set aside, and how many old ones are kept."""

    size: Annotated[Size, AfterValidator(check_size)] = Field(
        default=50 * MIB, description="Size at which a new file begins."
    )
    keep: Annotated[int, Field(ge=1, le=1000), Number] = Field(
        default=5, description="Old files to keep, FILE.1 the newest."
    )


class Log(Section):
    """What is logged, and where to."""

    level: Level = Field(default="info", description="Least level of log lines.")
    levels: Mapping[Annotated[str, AfterValidator(check_name)], Level] = Field(
        default={}, description="Levels of their own, for loggers of libraries and for events."
    )
    file: LocalPath | None = Field(
        default=None, description="File that log lines are written to as well, as JSON."
    )
    rotate: Rotate = optional("When a new file begins.")
