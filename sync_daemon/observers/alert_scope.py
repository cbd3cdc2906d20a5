"""What the YAML asks for, as far as alerts need it: whose version it is, and what was left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sync_daemon.domain.alerts import Version
from sync_daemon.domain.versions import is_given
from sync_daemon.domain.wanted import Wanted, WantedTags


@dataclass(frozen=True, slots=True)
class Scope:
    """Origins by version, and by model and tag pattern."""

    named: Mapping[Version, str]
    tagged: Mapping[tuple[str, str], str]

    @classmethod
    def of(cls, entries: Iterable[Wanted | WantedTags]) -> Scope:
        """Return the scope of what is declared."""
        known = tuple(entries)
        return cls(
            {(str(e.model), str(e.version)): e.origin for e in known if isinstance(e, Wanted)},
            {(str(e.model), e.pattern): e.origin for e in known if isinstance(e, WantedTags)},
        )

    @property
    def origins(self) -> frozenset[str]:
        """Every origin that somebody asks."""
        return frozenset((*self.named.values(), *self.tagged.values()))

    def origin_of(self, version: Version) -> str | None:
        """Return the origin of a version, None if nobody asks for it."""
        if (found := self.named.get(version)) is not None:
            return found
        return next((o for entry, o in self.tagged.items() if _matches(version, entry)), None)

    def covers(self, seen: frozenset[Version]) -> bool:
        """Tell whether a run that saw these versions saw all that is declared.

        Of a tag pattern it must have seen one version, or have failed to read the tags; without
        the tags themselves nothing can be said of the others.
        """
        if not seen >= self.named.keys():
            return False
        for entry in self.tagged:
            found = [one for one in seen if one not in self.named and _matches(one, entry)]
            if not found or (entry[0], f"tags:{entry[1]}") in found:
                return False
        return True


def _matches(version: Version, entry: tuple[str, str]) -> bool:
    model, pattern = entry
    return version[0] == model and is_given(version[1], pattern)
