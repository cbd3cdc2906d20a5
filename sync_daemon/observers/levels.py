"""Which lines are written: one level for all, and others for names of loggers and events.

A name stands for itself and for all that begins with it and a dot: `request` for
`request.retried`, `botocore` for `botocore.hooks`. The longest name that fits decides.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sync_daemon.domain.events import Level

LIBRARY_MESSAGE = "library.message"
_RANK: Mapping[Level, int] = MappingProxyType({"debug": 10, "info": 20, "warning": 30, "error": 40})


@dataclass(frozen=True, slots=True)
class Levels:
    """`least` is the level from which on a line is written, `named` what holds for some names."""

    least: Level = "info"
    named: Mapping[str, Level] = field(default_factory=lambda: MappingProxyType({}))

    def show(self, name: str, level: Level) -> bool:
        """Tell whether the line of an event is written."""
        return _RANK[level] >= _RANK[self._of(name) or self.least]

    def show_library(self, logger: str, level: Level) -> bool:
        """Tell whether what a library said is written: from WARNING on, unless it is named."""
        return _RANK[level] >= self._of_library(logger)

    def of_loggers(self) -> Mapping[str, int]:
        """Return the levels to set at Python's loggers; the empty name is their root."""
        named = {name: _RANK[level] for name, level in self.named.items()}
        return named | {"": self._of_library("")}

    def _of_library(self, logger: str) -> int:
        if found := self._of(logger) or self._of(LIBRARY_MESSAGE):
            return _RANK[found]
        return max(_RANK[self.least], logging.WARNING)

    def _of(self, name: str) -> Level | None:
        while name:
            if name in self.named:
                return self.named[name]
            name = name.rpartition(".")[0]
        return None
