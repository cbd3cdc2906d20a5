"""What all transfers of a process may take together."""

from __future__ import annotations

from dataclasses import dataclass

from sync_daemon.domain import parts

MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Limits:
    """Global limits of all transfers together. Sizes in bytes, times in seconds."""

    connections: int = 16
    part_size: int = 32 * MIB
    memory: int = 1024 * MIB
    min_speed: int = 16 * 1024
    patience: float = 30.0

    @property
    def workers(self) -> int:
        """Connections that the memory can feed: each wants a piece at work, and one waiting."""
        return max(1, min(self.connections, self.memory // (2 * self.piece_size)))

    @property
    def piece_size(self) -> int:
        """Bytes that are asked for at once from a slow origin."""
        return parts.piece_size(self.part_size)
