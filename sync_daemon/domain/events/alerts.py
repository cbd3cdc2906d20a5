"""Alerts that were told, could not be delivered, or could not be kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from sync_daemon.domain.events.base import Event, Level


@dataclass(frozen=True, slots=True)
class AlertTold(Event):
    """An alert began, went on (told again) or is over. Its level is never filtered out."""

    name: ClassVar[str] = "alert"
    level: ClassVar[Level] = "error"
    alert: str
    severity: str
    state: str
    labels: Mapping[str, str]
    value: float
    threshold: float
    since: str
    message: str


@dataclass(frozen=True, slots=True)
class AlertUndelivered(Event):
    """Alerts could not be handed to `sink`, which the configuration names, and were given up."""

    name: ClassVar[str] = "alert.undelivered"
    level: ClassVar[Level] = "error"
    sink: str
    alerts: int
    attempts: int
    error: str


@dataclass(frozen=True, slots=True)
class AlertsLost(Event):
    """What fires could not be kept in the store: after a restart it may be told again."""

    name: ClassVar[str] = "alerts.lost"
    level: ClassVar[Level] = "warning"
    error: str
