"""Which mirrors are asked, in what order and with which token: flags, environment, YAML.

What comes out are settings of the engine: the mirrors are the endpoints of one origin, and
the local cache is its store. So parallel ranges, resuming, proofs, locks and the choice of an
endpoint are those of the daemon.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sync_daemon.client.request import ORIGIN
from sync_daemon.config import (
    DirectoryPlace,
    EndpointEntry,
    HuggingFaceOrigin,
    MirrorSite,
    Secret,
    Settings,
    Store,
    Transfer,
)
from sync_daemon.config.fields import parse_url
from sync_daemon.config.secret_files import read_secret
from sync_daemon.config.timetable import parse_timetable
from sync_daemon.config.units import UnitError
from sync_daemon.domain.errors import ConfigurationError

MIRRORS = "SYNC_DAEMON_MIRRORS"
TOKEN = "SYNC_DAEMON_TOKEN"  # noqa: S105 - the name of a variable
CACHE = "SYNC_DAEMON_CACHE"

PART_SIZE = 16 * 1024**2
"""Bytes of a part where nothing is said: a disk needs none of S3's large ones, and from a slow
mirror a quarter of it is asked for at once, so that sixteen connections share small files too."""

_MOST_CONNECTIONS = 256


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line, or a caller, says; None and nothing: others decide."""

    mirrors: tuple[str, ...] = ()
    token: Secret | None = None
    cache: Path | None = None
    connections: int | None = None
    bandwidth: str | None = None


@dataclass(frozen=True, slots=True)
class Sites:
    """Settings for the engine, and how the mirrors are called, by their URLs."""

    settings: Settings
    cache: Path
    names: Mapping[str, str]

    @property
    def has_token(self) -> bool:
        """Tell whether any mirror is shown a token."""
        origin = self.settings.origins[ORIGIN]
        if not isinstance(origin, HuggingFaceOrigin):
            return False
        entries = [one for one in origin.endpoints if isinstance(one, EndpointEntry)]
        return origin.token is not None or any(one.token is not None for one in entries)


def choose_sites(
    settings: Settings | None, flags: Flags, environ: Mapping[str, str], *, offline: bool
) -> Sites:
    """Return the mirrors to ask. Raises ConfigurationError when there is none, unless `offline`."""
    cache = find_cache(settings, flags, environ)
    chosen = _choose(settings, flags, environ)
    if not chosen and not offline:
        message = "no mirror site is named"
        hint = f"give --mirror URL, set ${MIRRORS}, or write mirror_sites into a YAML (--config)"
        raise ConfigurationError(message, hint=hint)
    base = Settings(version=1, store=Store.model_construct(url=DirectoryPlace(cache)))
    given = settings or base
    origin = HuggingFaceOrigin(
        type="huggingface",
        endpoints=tuple(_endpoint(place, one) for place, one in enumerate(chosen, 1))
        or ("https://none.invalid",),
        token=_token(given, flags, environ),
    ).model_copy(update={"ca_file": given.pull.ca_file, "proxy": given.pull.proxy})
    update = {"origins": {ORIGIN: origin}, "transfer": _transfer(given.transfer, flags)}
    names = {one.url.rstrip("/"): one.name or one.url for one in chosen}
    return Sites(base.model_copy(update=update), cache, names)


def find_cache(settings: Settings | None, flags: Flags, environ: Mapping[str, str]) -> Path:
    """Return the directory of the local cache."""
    if flags.cache is not None:
        return flags.cache.absolute()
    if environ.get(CACHE):
        return Path(environ[CACHE]).expanduser().absolute()
    if settings is not None and settings.pull.cache is not None:
        return settings.pull.cache
    return user_cache(environ) / "sync-daemon"


def user_cache(environ: Mapping[str, str]) -> Path:
    """Return the directory in which programs keep what they can fetch again."""
    if environ.get("XDG_CACHE_HOME"):
        return Path(environ["XDG_CACHE_HOME"])
    return (Path(environ["HOME"]) if environ.get("HOME") else Path.home()) / ".cache"


def read_token(path: Path) -> Secret:
    """Read the file of --token-file. Raises ConfigurationError."""
    try:
        return Secret(read_secret(str(path)))
    except UnitError as error:
        message = f"{path}: the token {error}"
        raise ConfigurationError(message, hint=error.hint) from None


def _choose(
    settings: Settings | None, flags: Flags, environ: Mapping[str, str]
) -> tuple[MirrorSite, ...]:
    if flags.mirrors:
        return _named(flags.mirrors, "--mirror")
    if listed := environ.get(MIRRORS, "").strip():
        return _named((one.strip() for one in listed.split(",")), f"${MIRRORS}")
    if settings is not None and settings.mirror_sites:
        return settings.mirror_sites
    if environ.get("HF_ENDPOINT"):
        return _named((environ["HF_ENDPOINT"],), "$HF_ENDPOINT")
    return ()


def _named(urls: Iterable[str], source: str) -> tuple[MirrorSite, ...]:
    found: dict[str, MirrorSite] = {}
    for url in urls:
        try:
            found.setdefault(parse_url(url), MirrorSite(url=url))
        except ValueError as error:
            reason, hint = (error.args[0], error.hint) if isinstance(error, UnitError) else ("", "")
            message = f"{source}: an address {reason or 'is wrong'}"
            raise ConfigurationError(message, hint=hint) from None
    return tuple(found.values())


def _endpoint(place: int, site: MirrorSite) -> EndpointEntry:
    priority = place if site.priority is None else site.priority
    return EndpointEntry(url=site.url, priority=priority, token=site.token)


def _token(settings: Settings, flags: Flags, environ: Mapping[str, str]) -> Secret | None:
    ours, theirs = environ.get(TOKEN), environ.get("HF_TOKEN")
    return (
        flags.token
        or (Secret(ours) if ours else None)
        or settings.pull.token
        or (Secret(theirs) if theirs else None)
    )


def _transfer(transfer: Transfer, flags: Flags) -> Transfer:
    update: dict[str, object] = {}
    if "part_size" not in transfer.model_fields_set:
        update["part_size"] = PART_SIZE
    if flags.connections is not None:
        if not 1 <= flags.connections <= _MOST_CONNECTIONS:
            message = f"{flags.connections} connections"
            raise ConfigurationError(message, hint=f"from 1 to {_MOST_CONNECTIONS}")
        update["connections"] = flags.connections
    if flags.bandwidth is not None:
        try:
            update["bandwidth"] = parse_timetable(flags.bandwidth)
        except UnitError as error:
            message = f"--bandwidth {error}"
            raise ConfigurationError(message, hint=error.hint) from None
    return transfer.model_copy(update=update)
