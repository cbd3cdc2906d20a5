"""The value types of mirror.yaml's keys: parser, way back to text, and JSON Schema.

YAML cannot tell what type text out of `${...}` should have, so numbers and switches are
read from such text here.
"""

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from pydantic_core.core_schema import (
    no_info_plain_validator_function,
    plain_serializer_function_ser_schema,
)

from sync_daemon.config import units
from sync_daemon.config.environment import FromEnvironment
from sync_daemon.config.places import DirectoryPlace, S3Place, parse_place
from sync_daemon.config.secret import HIDDEN, Secret
from sync_daemon.config.timetable import Timetable, parse_timetable
from sync_daemon.config.timing import Timing, parse_timing
from sync_daemon.config.units import Address, Network, UnitError, Window

_VARIABLE = r"\$\{"
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_SWITCHES = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")
_RELEASE = re.compile(r"[0-9]{1,4}(\.[0-9]{1,6}){0,3}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST_URL = 2000
_LEAST_REPEAT = timedelta(minutes=1)


def _read_number(value: object) -> object:
    if isinstance(value, FromEnvironment) and _NUMBER.fullmatch(value):
        return int(value)
    return value


def _read_switch(value: object) -> object:
    if isinstance(value, FromEnvironment):
        return _SWITCHES.get(value.casefold(), value)
    return value


def parse_format(value: object) -> int:
    """The number of the file's format: 1, and not `true` or `1.0`, which equal it."""
    number = _read_number(value)
    if type(number) is not int or number != 1:
        raise UnitError(message="is no format that this release reads", hint="write version: 1")
    return number


def _number_from_text(parse: Callable[[object], Any]) -> Callable[[object], Any]:
    return lambda value: parse(_read_number(value))


def _yes_no(value: object) -> object:
    """YAML reads a bare yes, no, on and off as switches; the key wants the word."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def _redirect(value: object) -> object:
    return {True: "always", False: "never"}[value] if isinstance(value, bool) else value


def _tls_version(value: object) -> object:
    """YAML reads a bare 1.3 as a number; the key wants the word."""
    return str(value) if isinstance(value, float) else value


def _split_url(value: object, problem: UnitError) -> tuple[str, SplitResult, bool]:
    """Read a URL, and whether it names a host and no port 0. Raises `problem`."""
    if not isinstance(value, str) or len(value) > _LONGEST_URL or _bad_text(value):
        raise problem
    try:
        parts = urlsplit(value)
        return value, parts, parts.port != 0 and bool(parts.hostname)
    except ValueError:
        raise problem from None


def _read_http(value: object, hint: str) -> tuple[str, SplitResult]:
    url, parts, reachable = _split_url(value, UnitError(message="is not a URL", hint=hint))
    if parts.scheme not in {"http", "https"} or not reachable:
        raise UnitError(message="is not an http or https URL", hint=hint)
    return url, parts


def parse_url(value: object) -> str:
    """An http or https URL without credentials, query or fragment; no final slash."""
    hint = "write for example https://host or http://host:8080/path"
    url, parts = _read_http(value, hint)
    if "@" in parts.netloc:
        raise UnitError(
            message="holds a user name or password", hint="credentials have keys of their own"
        )
    if "?" in url or "#" in url:
        raise UnitError(message="has a query or fragment", hint=hint)
    return url.rstrip("/")


def parse_proxy(value: object) -> str | Secret:
    """`off`, or the URL of an http proxy, with its final slash gone; a secret if it has a user."""
    hint = "write http://HOST:PORT, http://USER:PASSWORD@HOST:PORT or off"
    if value is False or value == "off":
        return "off"
    problem = UnitError(message="is not the URL of a proxy", hint=hint)
    text, parts, reachable = _split_url(value, problem)
    if parts.scheme != "http":
        raise UnitError(message="is no http proxy, and no other kind is supported", hint=hint)
    if not reachable or parts.path.strip("/") or "?" in text or "#" in text:
        raise problem
    if HIDDEN in (parts.username, parts.password):
        raise UnitError(message="has the mask of a secret", hint="write the secret, or ${NAME}")
    url = text.rstrip("/")
    return Secret(url) if "@" in parts.netloc else url


def parse_alertmanager(value: object) -> Secret | None:
    """The http or https URL of a server, with or without a user; empty stands for none."""
    hint = "write http://HOST:9093, or https://USER:PASSWORD@HOST/PATH"
    if isinstance(value, Secret):
        return value
    if value == "" and isinstance(value, FromEnvironment):
        return None
    url, _ = _read_http(value, hint)
    if "?" in url or "#" in url:
        raise UnitError(message="has a query or fragment", hint=hint)
    if HIDDEN in url:
        raise UnitError(message="has the mask of a secret", hint="write the secret, or ${NAME}")
    return Secret(url.rstrip("/"))


def check_repeat(every: timedelta) -> timedelta:
    """Refuse to tell what goes on more than once a minute."""
    if every < _LEAST_REPEAT:
        raise UnitError(message="is below 1m", hint="write for example 1d")
    return every


def _show_proxy(proxy: str | Secret) -> str:
    if isinstance(proxy, str):
        return proxy
    return f"http://{HIDDEN}@{proxy.reveal().rpartition('@')[2]}"


def _bad_text(value: str) -> bool:
    return any(char.isspace() for char in value) or bool(_CONTROL.search(value))


def parse_path(value: object) -> Path:
    """A path of this machine; a relative one starts at the working directory."""
    if not isinstance(value, str) or not value or _CONTROL.search(value):
        raise UnitError(message="is not a path", hint="write for example /srv/models")
    return Path(value).absolute()


def parse_release(value: object) -> str:
    """Read a version of some software: numbers with dots between. YAML takes 11.10 for 11.1."""
    if not isinstance(value, str) or not _RELEASE.fullmatch(value):
        raise UnitError(message="is no version", hint='write it in quotes, for example "11.8"')
    return value


def parse_sha256(value: object) -> str:
    """64 hexadecimal digits, in lower case."""
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise UnitError(
            message="is not a SHA-256", hint="write its 64 hexadecimal digits in quotes"
        )
    return value.lower()


def _listen(value: object) -> Address | None:
    return None if value is False or value == "off" else units.parse_address(value)


def _show_listen(address: Address | None) -> str:
    return str(address) if address else "off"


class _Reading:
    """How a key's value is read, written back as text, and described in the JSON Schema.

    One annotation instead of Pydantic's three, which make the schema of the Python type for
    each key, too, and never use it.
    """

    def __init__(
        self,
        parse: Callable[[object], Any],
        schema: Mapping[str, Any],
        show: Callable[..., str] | None = None,
    ) -> None:
        self._parse = parse
        self._schema = schema
        self._show = show

    def __get_pydantic_core_schema__(self, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        back = plain_serializer_function_ser_schema(self._show) if self._show else None
        return no_info_plain_validator_function(self._parse, serialization=back)

    def __get_pydantic_json_schema__(self, _: Any, __: GetJsonSchemaHandler) -> JsonSchemaValue:
        return dict(self._schema)


def _pattern(pattern: str, example: str) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^(?:{pattern})$|{_VARIABLE}", "examples": [example]}


def _number_or(pattern: str, *examples: str) -> dict[str, Any]:
    text = {"type": "string", "pattern": f"^(?:{pattern})$|{_VARIABLE}"}
    number = {"type": "integer", "minimum": 0}
    return {"anyOf": [number, text], "examples": list(examples)}


def _some(example: str) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "examples": [example]}


def _either(types: str, *examples: object) -> dict[str, Any]:
    return {"type": types.split(), "examples": list(examples)}


_AMOUNT = r"[0-9]+(\.[0-9]+)? ?"

Text = Annotated[str, Field(min_length=1, max_length=4096)]
Number = BeforeValidator(_read_number)
Format = Annotated[int, _Reading(parse_format, {"type": "integer", "const": 1})]
Switch = Annotated[bool, BeforeValidator(_read_switch)]
YesNo = BeforeValidator(_yes_no)
Redirecting = BeforeValidator(_redirect)
TlsVersion = BeforeValidator(_tls_version)
AccessLogging = BeforeValidator(_read_switch)

Size = Annotated[
    int,
    _Reading(
        _number_from_text(units.parse_size),
        _number_or(_AMOUNT + "([KMGT]i?)?B|[0-9]+", "32MiB"),
        units.format_size,
    ),
]
Rate = Annotated[
    int,
    _Reading(
        _number_from_text(units.parse_rate),
        _either("string integer boolean", "16KiB", "off"),
        units.format_rate,
    ),
]
RequestRate = Annotated[
    float,
    _Reading(
        units.parse_request_rate,
        _either("string number boolean", "off", 10, 0.5),
        units.format_request_rate,
    ),
]
Bandwidth = Annotated[
    Timetable,
    _Reading(
        _number_from_text(parse_timetable),
        _either("string integer boolean", "off", "8MiB", "08:00,10MiB 22:00,off"),
        str,
    ),
]
Duration = Annotated[
    timedelta,
    _Reading(units.parse_duration, _pattern("([0-9]+[wdhms])+", "30s"), units.format_duration),
]
Percent = Annotated[
    float,
    _Reading(units.parse_percent, _pattern(r"[0-9]+(\.[0-9]+)? ?%", "10%"), units.format_percent),
]
Cron = Annotated[str, _Reading(units.parse_cron, _some("0 * * * *"))]
When = Annotated[
    Timing, _Reading(parse_timing, _either("string boolean", "0 * * * *", "15m", "off"), str)
]
TimeZone = Annotated[str, _Reading(units.parse_timezone, _some("Asia/Shanghai"))]
DailyWindow = Annotated[
    Window,
    _Reading(
        units.parse_window, _pattern("[0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2}", "22:00-06:00"), str
    ),
]
Listen = Annotated[
    Address | None,
    _Reading(_listen, _either("string boolean", "127.0.0.1:9464", "off"), _show_listen),
]
Cidr = Annotated[Network, _Reading(units.parse_network, _some("10.0.0.0/8"), str)]
Url = Annotated[str, _Reading(parse_url, _some("https://host.example"))]
ProxyUrl = Annotated[
    str | Secret,
    _Reading(
        parse_proxy, _either("string boolean", "http://proxy.example:3128", "off"), _show_proxy
    ),
]
Alertmanager = Annotated[
    Secret | None,
    _Reading(parse_alertmanager, _some("http://127.0.0.1:9093"), lambda _: HIDDEN),
]
LocalPath = Annotated[Path, _Reading(parse_path, _some("/srv/models"), str)]
Release = Annotated[str, _Reading(parse_release, _some("11.8"))]
Sha256 = Annotated[str, _Reading(parse_sha256, _pattern("[0-9A-Fa-f]{64}", "0" * 64))]
Place = Annotated[S3Place | DirectoryPlace, _Reading(parse_place, _some("s3://ai-mirror/hub"), str)]
