"""When something comes round: a cron line, an interval, or never.

Intervals are counted from midnight UTC of the first day of 1970 and not from the start of
a process, so that a restart moves none, and everybody who reads the YAML computes the same
times. APScheduler's triggers do the arithmetic, the changes of the clocks included.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from sync_daemon.config.units import UnitError, format_duration, parse_cron, parse_duration

if TYPE_CHECKING:
    from apscheduler.triggers.base import BaseTrigger

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)
_HINT = 'write five fields, for example "30 3 * * sun", an interval as 15m or 1h, or off'


@dataclass(frozen=True, slots=True)
class Timing:
    """A cron line, or an interval; without either it never comes."""

    cron: str = ""
    every: timedelta | None = None

    def __str__(self) -> str:
        if self.every is not None:
            return format_duration(self.every)
        return self.cron or "off"

    def next_after(self, moment: datetime, zone: ZoneInfo) -> datetime | None:
        """Return the first time after `moment`, in `zone`; None if there is none."""
        if (trigger := self._trigger(zone)) is None:
            return None
        found: datetime | None = trigger.get_next_fire_time(None, (moment + _TICK).astimezone(zone))
        return found.astimezone(zone) if found is not None else None

    def _trigger(self, zone: ZoneInfo) -> BaseTrigger | None:
        from apscheduler.triggers.cron import CronTrigger  # noqa: PLC0415 - 0.06 s
        from apscheduler.triggers.interval import IntervalTrigger  # noqa: PLC0415 - it, too

        if self.every is not None:
            seconds = int(self.every.total_seconds())
            return IntervalTrigger(seconds=seconds, start_date=_EPOCH, timezone=UTC)
        return CronTrigger.from_crontab(self.cron, timezone=zone) if self.cron else None


def parse_timing(value: object) -> Timing:
    """A cron line of five fields, an interval such as `15m`, or `off`."""
    if value is False or value == "off":
        return Timing()
    if not isinstance(value, str):
        raise UnitError(message="is neither a cron line nor an interval", hint=_HINT)
    if len(value.split()) == 1:
        try:
            return Timing(every=parse_duration(value))
        except UnitError:
            raise UnitError(message="is neither a cron line nor an interval", hint=_HINT) from None
    return Timing(cron=parse_cron(value))
