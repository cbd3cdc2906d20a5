"""Who asks, and which models they may see."""

from __future__ import annotations

from dataclasses import dataclass

from sync_daemon.domain.access import ModelPattern
from sync_daemon.domain.names import ModelName

EVERY_MODEL = (ModelPattern("*"),)


@dataclass(frozen=True, slots=True)
class Caller:
    """A token's owner, or anybody: `name` is None for who came without a token.

    `models` are patterns of model names: a name, which covers what is named below it, or a
    beginning and a final `*`.
    """

    name: str | None = None
    models: tuple[ModelPattern, ...] = ()

    @property
    def known(self) -> bool:
        """Tell whether a good token was shown."""
        return self.name is not None

    def may_read(self, model: ModelName) -> bool:
        """Tell whether a model is among those that this caller may see."""
        return any(pattern.matches(model) for pattern in self.models)


ANYBODY = Caller(models=EVERY_MODEL)
"""Who comes without a token where that is allowed."""
