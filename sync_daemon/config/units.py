"""Sizes, durations, rates and the other small languages inside mirror.yaml.

Each `parse_` function takes what YAML gave and returns a plain Python value, or
raises `UnitError` with words for the operator. Each `format_` function writes the
value back in the way the file would have it. Messages never repeat the value: the
caller knows whether it may be shown.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAX_BYTES = 2**63 - 1
_MAX_DAYS = 3650
_SIZES = {
    "B": 1,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
}
_RCLONE_SIZES = {"k": 1024, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_SECONDS = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}
_SIZE = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,9})?) ?([A-Za-z]*)")
_DURATION = re.compile(r"(?:[0-9]{1,9}[wdhms])+")
_DURATION_PART = re.compile(r"([0-9]+)([wdhms])")
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?) ?%")
_REQUESTS = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(?: ?/s)?")
_SLOWEST, _FASTEST = Decimal("0.01"), 10_000
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_MAX_PORT = 65_535
_CRON_FIELDS = 5
_LONGEST_CRON = 200
_CRON_START = datetime(2024, 1, 1, tzinfo=UTC)


class UnitError(ValueError):
    """A value cannot be read. `hint` says what would do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Window:
    """A part of each day; when `end` is not after `start` it runs past midnight."""

    start: time
    end: time

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"

    def holds(self, moment: time) -> bool:
        """Whether a local time of day lies inside; the end does not."""
        if self.start < self.end:
            return self.start <= moment < self.end
        return moment >= self.start or moment < self.end


def parse_size(value: object) -> int:
    """Bytes from `8MiB`, `1MB`, `1.5GiB` or a plain whole number."""
    return _parse_bytes(value, _SIZES, "is not a size", "write for example 8MiB, 1MB or 1GiB")


def parse_rate(value: object) -> int:
    """Bytes per second; `off` is 0. Single letters mean KiB, MiB, ... as rclone has it."""
    if value is False or value == "off":
        return 0
    text = value.removesuffix("/s") if isinstance(value, str) else value
    return _parse_bytes(
        text,
        _SIZES | _RCLONE_SIZES,
        "is not a rate",
        "write bytes per second, for example 8MiB, 512KiB or off",
    )


def parse_request_rate(value: object) -> float:
    """Requests per second, `10`, `0.5` or `10/s`; `off` is 0."""
    if value is False or value == "off":
        return 0.0
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match = _REQUESTS.fullmatch(str(value)) if number or isinstance(value, str) else None
    if match is None or not _SLOWEST <= Decimal(match[1]) <= _FASTEST:
        raise UnitError(
            message="is not a rate of requests",
            hint=f"write requests per second, from {_SLOWEST} to {_FASTEST}, or off",
        )
    return float(match[1])


def format_request_rate(rate: float) -> str:
    """Write requests per second; 0 is `off`."""
    return f"{rate:.9g}/s" if rate else "off"


def _parse_bytes(value: object, units: Mapping[str, int], message: str, hint: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return _checked_bytes(Decimal(value), message, hint)
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None or (match[2] and match[2] not in units):
        raise UnitError(message=message, hint=hint)
    return _checked_bytes(Decimal(match[1]) * units[match[2] or "B"], message, hint)


def _checked_bytes(amount: Decimal, message: str, hint: str) -> int:
    if not 0 <= amount <= _MAX_BYTES or amount != amount.to_integral_value():
        raise UnitError(message=message, hint=hint)
    return int(amount)


def format_size(size: int) -> str:
    """Write bytes with the largest unit that keeps them exact."""
    for unit in ("TiB", "GiB", "MiB", "KiB", "TB", "GB", "MB", "KB"):
        if size and size % _SIZES[unit] == 0:
            return f"{size // _SIZES[unit]}{unit}"
    return f"{size}B"


def format_rate(rate: int) -> str:
    """Write bytes per second; 0 is `off`."""
    return format_size(rate) if rate else "off"


def parse_duration(value: object) -> timedelta:
    """Time from `30s`, `15m`, `12h`, `7d`, `2w` or several of them, `1h30m`."""
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise UnitError(message="is not a duration", hint="write for example 30s, 15m, 12h or 7d")
    seconds = sum(int(n) * _SECONDS[unit] for n, unit in _DURATION_PART.findall(value))
    if not 0 < seconds <= _MAX_DAYS * _SECONDS["d"]:
        raise UnitError(message="is not a usable duration", hint=f"between 1s and {_MAX_DAYS}d")
    return timedelta(seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """Write a duration in days, hours, minutes and seconds."""
    left, text = int(duration.total_seconds()), ""
    for unit in "dhms":
        count, left = divmod(left, _SECONDS[unit])
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def parse_percent(value: object) -> float:
    """A fraction from 0 to 1, written `10%`."""
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if match is None or Decimal(match[1]) > 100:  # noqa: PLR2004  what per cent means
        raise UnitError(
            message="is not a percentage", hint="write for example 10%, from 0% to 100%"
        )
    return float(Decimal(match[1]) / 100)


def format_percent(fraction: float) -> str:
    """Write a fraction as a percentage."""
    return f"{fraction * 100:.9g}%"


def parse_clock(text: str) -> time:
    """A time of day, `HH:MM`."""
    match = _CLOCK.fullmatch(text)
    if match is None:
        raise UnitError(message="is not a time of day", hint="write HH:MM, from 00:00 to 23:59")
    return time(int(match[1]), int(match[2]))


def parse_window(value: object) -> Window:
    """A daily window, `22:00-06:00`, in `schedule.timezone`."""
    start, dash, end = value.partition("-") if isinstance(value, str) else ("", "", "")
    try:
        window = Window(parse_clock(start), parse_clock(end))
    except UnitError:
        dash = ""
    if not dash or window.start == window.end:
        raise UnitError(
            message="is not a window", hint='write "22:00-06:00", with two different times'
        )
    return window


def parse_address(value: object) -> Address:
    """`HOST:PORT`; an IPv6 host stands in brackets."""
    match = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[2]) > _MAX_PORT:
        raise UnitError(
            message="is not an address", hint='write HOST:PORT, for example "127.0.0.1:9464"'
        )
    host = match[1].strip("[]")
    if match[1].startswith("[") and not _is_ipv6(host):
        raise UnitError(message="is not an IPv6 address", hint='write for example "[::1]:9464"')
    return Address(host, int(match[2]))


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def parse_network(value: object) -> Network:
    """A network in CIDR form, or one address."""
    text = value if isinstance(value, str) else ""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise UnitError(message="is not a network", hint=_network_hint(text)) from None


def _network_hint(text: str) -> str:
    try:
        return f"did you mean {ipaddress.ip_network(text, strict=False)}?"
    except ValueError:
        return "write for example 10.0.0.0/8 or 192.0.2.7"


def parse_cron(value: object) -> str:
    """A cron line of five fields, kept as text once APScheduler has accepted it.

    APScheduler counts weekdays from Monday = 0, cron from Sunday = 0. A digit there
    would run on the wrong day for one of two readers, so only names are taken.
    """
    hint = 'write five fields, for example "30 3 * * sun"'
    if not isinstance(value, str) or len(value) > _LONGEST_CRON:
        raise UnitError(message="is not a cron line", hint=hint)
    fields = value.split()
    if len(fields) != _CRON_FIELDS:
        raise UnitError(message=f"is not a cron line: it has {len(fields)} fields", hint=hint)
    if re.search("[0-9]", fields[4]):
        raise UnitError(
            message="has a number for a weekday", hint="write mon, tue, ..., sun, or mon-fri"
        )
    from apscheduler.triggers.cron import CronTrigger  # noqa: PLC0415 - 0.06 s

    try:
        trigger = CronTrigger.from_crontab(value, timezone=UTC)
    except ValueError:
        raise UnitError(message="is not a cron line", hint=hint) from None
    if trigger.get_next_fire_time(None, _CRON_START) is None:
        raise UnitError(message="is a cron line that never comes", hint="look at its day and month")
    return value


def parse_timezone(value: object) -> str:
    """The name of a time zone that this machine knows."""
    if value == "UTC":  # known even where no zone files are installed
        return "UTC"
    hint = "write for example UTC, Europe/Berlin or Asia/Shanghai"
    if not isinstance(value, str):
        raise UnitError(message="is not a time zone", hint=hint)
    try:
        ZoneInfo(value)
    except (ValueError, OSError, LookupError):
        raise UnitError(
            message="is not a known time zone", hint=_timezone_hint(value) or hint
        ) from None
    return value


def _timezone_hint(value: str) -> str:
    folded = {name.casefold(): name for name in available_timezones()}
    return suggest(value.casefold(), folded.keys(), folded)


def suggest(word: str, known: Iterable[str], shown: Mapping[str, str] | None = None) -> str:
    """`did you mean 'x'?` for the nearest known word, or nothing."""
    near = get_close_matches(word[:100], list(known), n=1, cutoff=0.6)
    if not near:
        return ""
    return f"did you mean '{(shown or {}).get(near[0], near[0])}'?"
