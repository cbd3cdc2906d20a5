"""`version`: which sync-daemon this is, and what it stands on."""

from __future__ import annotations

import platform
from importlib.metadata import version

from sync_daemon import __version__
from sync_daemon.cli.command import Command, add_json
from sync_daemon.cli.session import Session
from sync_daemon.domain import keys

_LIBRARIES = ("boto3", "huggingface_hub", "pydantic", "structlog", "tenacity")


def run(session: Session) -> int:
    """Print the versions that a bug report needs."""
    libraries = {name: version(name) for name in _LIBRARIES}
    if session.arguments.json:
        document = {
            "version": __version__,
            "format": keys.FORMAT,
            "python": platform.python_version(),
            "libraries": libraries,
        }
        session.out.json(document)
        return 0
    session.out.line(f"sync-daemon {__version__}, store format {keys.FORMAT}")
    used = ", ".join(f"{name} {number}" for name, number in libraries.items())
    session.out.line(f"Python {platform.python_version()}, {used}")
    return 0


COMMAND = Command(
    name="version",
    description="Print the version, the store's format and the libraries: for bug reports.",
    exits=(0,),
    run=run,
    configure=add_json,
)
