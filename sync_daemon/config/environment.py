"""`${VAR}`, `${VAR:-default}` and `$$` in the text values of mirror.yaml.

A variable that is set but empty counts as unset where there is a default, as in a shell.
Values are put in after YAML was read, so that they can add no keys of their own.
"""

import re
from collections.abc import Mapping

from sync_daemon.config.units import UnitError

_REFERENCE = re.compile(
    r"\$\$|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^{}]*))?\}|(?P<bad>\$\{)"
)
_NOT_UTF8 = re.compile("[\ud800-\udfff]")
"""What Python makes of other bytes in the environment."""


class FromEnvironment(str):
    """Text with an environment variable in it. It may be secret: no message repeats it."""

    __slots__ = ()


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Put variables into a text; raises UnitError when one is unset or badly written."""
    from_environment = False

    def replace(match: re.Match[str]) -> str:
        nonlocal from_environment
        if match[0] == "$$":
            return "$"
        if match["bad"]:
            raise UnitError(
                message="has a '${' that starts no variable", hint="write ${NAME} or $${ for text"
            )
        from_environment = True
        value = _look_up(match["name"], match["default"], environ)
        if _NOT_UTF8.search(value):
            raise UnitError(
                message=f"takes {match['name']}, which is not UTF-8 text", hint="set it again"
            )
        return value

    expanded = _REFERENCE.sub(replace, text)
    return FromEnvironment(expanded) if from_environment else expanded


def _look_up(name: str, default: str | None, environ: Mapping[str, str]) -> str:
    value = environ.get(name)
    if default is not None:
        return value or default
    if value is None:
        raise UnitError(
            message=f"needs the environment variable {name}, which is not set",
            hint=f"set it, or write ${{{name}:-default}}",
        )
    return value
