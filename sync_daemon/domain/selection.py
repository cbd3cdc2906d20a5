"""Which files of a repository are mirrored: patterns, as the Hub's own tools read them.

`*` also matches `/`, as in huggingface_hub's allow_patterns; a pattern that ends in `/`
means the whole folder; nothing included means everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from sync_daemon.domain import canonical
from sync_daemon.domain.digests import Digest


@dataclass(frozen=True, slots=True)
class Selection:
    """Include and exclude patterns; `exclude` wins."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def holds(self, path: str) -> bool:
        """Tell whether `path` is selected."""
        if self.include and not any(_match(path, pattern) for pattern in self.include):
            return False
        return not any(_match(path, pattern) for pattern in self.exclude)

    @property
    def digest(self) -> Digest:
        """Identity of the rules; their order and repetition do not matter."""
        rules = {"exclude": sorted(set(self.exclude)), "include": sorted(set(self.include))}
        return Digest.of(canonical.encode(rules))


def _match(path: str, pattern: str) -> bool:
    return fnmatchcase(path, pattern + "*" if pattern.endswith("/") else pattern)
