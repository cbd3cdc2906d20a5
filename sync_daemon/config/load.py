"""Find the file, read it, check it: the way from YAML text to `Settings`."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from sync_daemon.config.checks import check
from sync_daemon.config.document import Document, read_document
from sync_daemon.config.model import Settings
from sync_daemon.config.nodes import Unreadable
from sync_daemon.config.problems import ConfigError, Path as Place, Problem
from sync_daemon.config.secret_files import read_secret_files
from sync_daemon.config.translate import add_type_problems
from sync_daemon.config.warn import find_warnings
from sync_daemon.domain.errors import ConfigurationError

VARIABLE = "SYNC_DAEMON_CONFIG"
USUAL_PLACES = ("config/mirror.yaml", "/etc/sync-daemon/mirror.yaml")
STANDARD_INPUT = "-"
NO_STORE = "file:///nonexistent"
"""What stands for the store in a file for clients."""
Storeless = Literal["nobody", "clients", "everybody"]
Finding = tuple[Place, str, str]
"""Where something is wrong, what, and what to do about it."""
Further = Callable[[Settings], Iterable[Finding]]


def find_config(explicit: str | None, environ: Mapping[str, str], cwd: Path) -> Path | str:
    """Return the file to read, or `-` for standard input.

    The order is `explicit` (from --config), $SYNC_DAEMON_CONFIG, ./config/mirror.yaml and
    /etc/sync-daemon/mirror.yaml. A file that was named must exist: no other is taken in
    its place. Raises ConfigurationError.
    """
    if explicit is not None:
        return _named(explicit, "--config", cwd)
    if name := environ.get(VARIABLE):
        return _named(name, f"${VARIABLE}", cwd)
    for place in USUAL_PLACES:
        if (cwd / place).is_file():
            return cwd / place
    looked = f"--config, ${VARIABLE}, " + ", ".join(str(cwd / place) for place in USUAL_PLACES)
    message = f"no configuration found; looked at {looked}"
    raise ConfigurationError(message, hint="copy config/mirror.example.yaml to one of them")


def _named(name: str, how: str, cwd: Path) -> Path | str:
    if name == STANDARD_INPUT:
        return STANDARD_INPUT
    if not name:
        raise ConfigurationError(f"{how} is empty", hint="name a file, or `-` for standard input")
    path = cwd / name
    if path.is_dir():
        raise ConfigurationError(f"{path}, which {how} names, is a directory", hint="name a file")
    if path.exists():
        return path
    message = f"no configuration at {path}, which {how} names"
    raise ConfigurationError(message, hint="is the path right?")


def load(
    text: bytes,
    *,
    environ: Mapping[str, str],
    source: str = "mirror.yaml",
    storeless: Storeless = "nobody",
    further: Further = lambda _: (),
) -> Settings:
    """Turn the text of a configuration file into settings.

    `environ` is where `${VAR}` looks; `source` names the file in messages. Secret files
    are read. `storeless` says who may leave the store out, for which NO_STORE then stands:
    nobody, a file that is plainly for clients, or everybody. `further` looks for what is
    wrong with settings that are otherwise right.
    Raises ConfigError with all problems of the file.
    """
    try:
        document = read_document(text, environ, source)
    except Unreadable as error:
        spot = error.spot
        problem = Problem(spot.line, spot.column, "", error.message, error.hint, source)
        raise ConfigError((problem,)) from None
    if storeless == "everybody" or (storeless == "clients" and _is_for_clients(document)):
        document.tree.setdefault("store", {"url": NO_STORE})
    return _settle(document, further)


def _is_for_clients(document: Document) -> bool:
    keys = document.tree.keys()
    return bool(keys & {"mirror_sites", "pull"}) and not keys & {"store", "origins", "models"}


def _settle(document: Document, further: Further) -> Settings:
    if document.tree.get("origins") == {}:
        del document.tree["origins"]  # the default origin, as when the key is left out
    read_secret_files(document)
    check(document)
    settings = _validate(document)
    if settings is not None and not document.problems:
        for path, message, hint in further(settings):
            document.add(path, message, hint)
    if document.problems or settings is None:
        raise ConfigError(document.problems)
    settings._warnings = find_warnings(document)  # noqa: SLF001  set once, here
    return settings


def _validate(document: Document) -> Settings | None:
    try:
        return Settings.model_validate(document.tree)
    except ValidationError as error:
        add_type_problems(document, error)
        return None
