"""The bandwidth limit: one rate, or a timetable as rclone users write it.

`"08:00,10MiB 22:00,off"` changes the limit every day at these times;
`"Mon-08:00,512KiB Sat-00:00,off"` on these days. An entry holds until the next one,
past midnight and past the end of the week. Times are in `schedule.timezone`.
"""

from dataclasses import dataclass
from datetime import datetime, time

from sync_daemon.config.units import UnitError, format_rate, parse_clock, parse_rate

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY_NAMES = {
    name.casefold(): number
    for number, day in enumerate(
        ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    )
    for name in (day, day[:3])
}
_LONGEST = 10_000
_HINT = 'write 8MiB, off, "08:00,10MiB 22:00,off" or "Mon-08:00,512KiB Sat-00:00,off"'


@dataclass(frozen=True, slots=True)
class Slot:
    """From this time on (`day` 0 is Monday, None every day) this many bytes per second."""

    day: int | None
    start: time
    rate: int

    def __str__(self) -> str:
        day = "" if self.day is None else f"{_DAYS[self.day]}-"
        return f"{day}{self.start:%H:%M},{format_rate(self.rate)}"


@dataclass(frozen=True, slots=True)
class Timetable:
    """When which limit holds. Rates are bytes per second; 0 means no limit."""

    slots: tuple[Slot, ...]

    def __str__(self) -> str:
        if self.constant is not None:
            return format_rate(self.constant)
        return " ".join(str(slot) for slot in self.slots)

    @property
    def constant(self) -> int | None:
        """The one rate when it never changes, otherwise None."""
        rates = {slot.rate for slot in self.slots}
        return rates.pop() if len(rates) == 1 else None

    def rate_at(self, moment: datetime) -> int:
        """Bytes per second at a local date and time; 0 means no limit."""
        now = (moment.weekday(), moment.time())
        week = self._week()
        begun = [rate for start, rate in week if start <= now]
        return begun[-1] if begun else week[-1][1]

    def _week(self) -> list[tuple[tuple[int, time], int]]:
        days = {(day, s.start): s.rate for s in self.slots if s.day is None for day in range(7)}
        named = {(s.day, s.start): s.rate for s in self.slots if s.day is not None}
        return sorted((days | named).items())


UNLIMITED = Timetable((Slot(None, time(0), 0),))


def parse_timetable(value: object) -> Timetable:
    """Read `transfer.bandwidth`; raises UnitError."""
    if not isinstance(value, str) or "," not in value:
        return Timetable((Slot(None, time(0), _rate(value)),))
    if len(value) > _LONGEST:
        raise UnitError(message="is too long for a timetable", hint=_HINT)
    slots = tuple(_slot(entry) for entry in value.split())
    if len({(slot.day, slot.start) for slot in slots}) < len(slots):
        raise UnitError(message="names the same time twice in its timetable", hint=_HINT)
    return Timetable(slots)


def _slot(entry: str) -> Slot:
    moment, _, rate = entry.partition(",")
    day, dash, clock = moment.rpartition("-")
    if dash and day.casefold() not in _DAY_NAMES:
        raise UnitError(message="names an unknown weekday in its timetable", hint=_HINT)
    try:
        start = parse_clock(clock)
    except UnitError:
        raise UnitError(message="has a wrong time in its timetable", hint=_HINT) from None
    return Slot(_DAY_NAMES[day.casefold()] if dash else None, start, _rate(rate))


def _rate(value: object) -> int:
    try:
        return parse_rate(value)
    except UnitError:
        raise UnitError(message="is not a bandwidth", hint=_HINT) from None
