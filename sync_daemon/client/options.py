"""What was asked for, out of flags, YAML and defaults: shared by the command and the Python API."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sync_daemon.client.hub_cache import find_snapshot
from sync_daemon.client.report import NotInCache
from sync_daemon.client.request import Request, split_version
from sync_daemon.client.sites import Sites
from sync_daemon.client.state import NAME, read_state
from sync_daemon.client.torch_home import checkpoints
from sync_daemon.config import STANDARD_INPUT, Pull, Settings, find_config, load
from sync_daemon.config.load import VARIABLE
from sync_daemon.domain.errors import ConfigurationError
from sync_daemon.domain.selection import Selection

PULLED = "pulled"
"""Folder of the cache for what is pulled without saying where to."""

_OURS = (b"mirror_sites", b"pull")


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller says; None and nothing: the YAML, or the default, decides."""

    model: str | None = None
    version: str | None = None
    repo_type: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    output: Path | None = None
    hub_cache: Path | None = None
    torch_home: Path | None = None
    dry_run: bool = False
    verify: bool = False
    copy: bool = False
    force: bool = False
    unpack: bool = False


def make_request(options: Options, settings: Settings | None, *, offline: bool) -> Request:
    """Return the request. Raises ConfigurationError when no model is named."""
    given = settings.pull if settings is not None else Pull()
    named = options.model or given.model
    if named is None:
        message = "no model is named"
        raise ConfigurationError(message, hint="give MODEL[@VERSION], or pull.model in the YAML")
    model, at = split_version(named)
    version = options.version or at
    if version is None and options.model is None:
        version = given.version
    if at is not None and options.version not in {None, at}:
        message = f"two versions are named, {at} and {options.version}"
        raise ConfigurationError(message, hint="name one of them")
    places = (options.output, options.hub_cache, options.torch_home)
    return Request(
        model,
        version or "main",
        options.repo_type or given.repo_type,
        Selection(options.include or given.include, options.exclude or given.exclude),
        output=given.output if places == (None, None, None) else options.output,
        hub_cache=options.hub_cache,
        torch_home=options.torch_home,
        offline=offline,
        dry_run=options.dry_run,
        verify=options.verify,
        copy=options.copy,
        force=options.force,
        unpack=options.unpack,
    )


def default_output(request: Request, sites: Sites) -> Request:
    """Return the request with a directory of the cache as its output."""
    wanted = request.wanted
    return replace(request, output=sites.cache / PULLED / wanted.model / wanted.version)


def model_path(request: Request) -> Path:
    """Return where the files lie. Raises NotInCache when they were not pulled."""
    if request.output is not None:
        state = read_state(request.output)
        about = (state.about.get("model"), state.about.get("version"))
        if state.files and about == (request.model, request.version):
            return request.output
        where = request.output / NAME
    elif request.hub_cache is not None:
        where = request.hub_cache
        found = find_snapshot(where, request.repository, request.version)
        if found is not None:
            return found
    else:
        where = checkpoints(request.torch_home or Path())
        if where.is_dir():
            return where
    message = f"{request} is not in {where}"
    raise NotInCache(message, hint="call download_and_verify() first")


def find_settings(explicit: str | None, environ: Mapping[str, str], cwd: Path) -> Settings | None:
    """Read the YAML, if there is one. Raises ConfigurationError.

    One that nobody named is read only if it can be, and says something of `pull`: on the
    mirror's own host mirror.yaml lies in one of the usual places.
    """
    if not (explicit or environ.get(VARIABLE)):
        return _find_usual(environ, cwd)
    path = find_config(explicit, environ, cwd)
    if path == STANDARD_INPUT:
        return load_settings(sys.stdin.buffer.read(), environ, "standard input")
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror}"
        raise ConfigurationError(message, hint="is it readable for this user?") from error
    return load_settings(text, environ, str(path))


def _find_usual(environ: Mapping[str, str], cwd: Path) -> Settings | None:
    try:
        path = Path(find_config(None, environ, cwd))
        text = path.read_bytes()
    except (ConfigurationError, OSError):
        return None
    lines = text.splitlines()
    if not any(line.startswith(_OURS) for line in lines):
        return None
    return load_settings(text, environ, str(path))


def load_settings(text: bytes, environ: Mapping[str, str], source: str) -> Settings:
    """Read YAML that need not name a store. Raises ConfigError with every problem."""
    return load(text, environ=environ, source=source, storeless="everybody")
