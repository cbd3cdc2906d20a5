"""What the YAML declares, as far as metrics need it: it bounds the values of their labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sync_daemon.domain.versions import is_given
from sync_daemon.domain.wanted import Wanted, WantedTags


@dataclass(frozen=True, slots=True)
class Declared:
    """Versions by (model, version), tag patterns by model, endpoints by origin."""

    versions: frozenset[tuple[str, str]] = frozenset()
    patterns: frozenset[tuple[str, str]] = frozenset()
    sources: frozenset[tuple[str, str]] = frozenset()
    endpoints: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def of(
        cls, entries: Iterable[Wanted | WantedTags], endpoints: Mapping[str, Iterable[str]]
    ) -> Declared:
        """Return what these entries and the endpoints of each origin declare."""
        known = tuple(entries)
        return cls(
            frozenset((e.model, e.version) for e in known if isinstance(e, Wanted)),
            frozenset((e.model, e.pattern) for e in known if isinstance(e, WantedTags)),
            frozenset((e.origin, e.model) for e in known),
            frozenset((origin, url) for origin, urls in endpoints.items() for url in urls),
        )

    @property
    def origins(self) -> frozenset[str]:
        """The names of all origins."""
        return frozenset(origin for origin, _ in self.endpoints)

    def has_version(self, model: str, version: str) -> bool:
        """Tell whether a version is named, or stands for a tag that is asked for."""
        return (model, version) in self.versions or any(
            model == one and is_given(version, pattern) for one, pattern in self.patterns
        )
