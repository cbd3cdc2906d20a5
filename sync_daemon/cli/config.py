"""`config validate|show|schema`: look at the configuration, and touch nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from sync_daemon import bootstrap
from sync_daemon.bootstrap import alerting
from sync_daemon.cli.command import Command, add_json
from sync_daemon.cli.session import Session
from sync_daemon.config import (
    ConfigError,
    Settings,
    effective,
    effective_values,
    json_schema,
)
from sync_daemon.config.load import NO_STORE, Finding
from sync_daemon.config.problems import show_path
from sync_daemon.domain.errors import ConfigurationError
from sync_daemon.domain.words import plural
from sync_daemon.engine.clock import SystemClock
from sync_daemon.observers.apprise_sink import AppriseSink


def _validate(session: Session) -> int:
    settings = _checked(session)
    versions = len(bootstrap.entries(settings))
    if session.arguments.json:
        warnings = [str(warning) for warning in settings.warnings]
        session.out.json({"valid": True, "problems": [], "warnings": warnings})
        return 0
    for warning in settings.warnings:
        session.notice("config.warning", "warning", str(warning))
    session.out.line(f"valid: {_describe(settings, versions)}")
    return 0


def _describe(settings: Settings, versions: int) -> str:
    if str(settings.store.url) == NO_STORE:
        return f"a file for `pull`, {plural(len(settings.mirror_sites), 'mirror site')}"
    return f"{plural(len(settings.models), 'model')}, {count_entries(versions)} declared"


def count_entries(versions: int) -> str:
    """Say how many entries of `versions` there are: `2 versions or tag patterns`."""
    patterns = "tag pattern" if versions == 1 else "tag patterns"
    return f"{plural(versions, 'version')} or {patterns}"


def _checked(session: Session) -> Settings:
    """Read the file and wire what needs no network. Raises ConfigurationError."""
    try:
        settings = session.read_settings(storeless="clients", further=_find_unknown_services)
        alerting.sinks(settings, SystemClock(session.stop))
        with bootstrap.origins(settings, lambda _: None):
            return settings
    except ConfigurationError as error:
        problems = error.problems if isinstance(error, ConfigError) else (error,)
        if session.arguments.json:
            texts = [str(problem) for problem in problems]
            session.out.json({"valid": False, "problems": texts, "warnings": []})
        raise


def _find_unknown_services(settings: Settings) -> Iterator[Finding]:
    """Yield each of `alerts.urls` that Apprise cannot use."""
    for number, url in enumerate(settings.alerts.urls):
        try:
            AppriseSink(number, url.reveal())
        except ConfigurationError as error:
            path = ("alerts", "urls", number)
            yield path, str(error).removeprefix(f"{show_path(path)}: "), error.hint or ""


def _show(session: Session) -> int:
    settings = session.read_settings()
    if session.arguments.json:
        session.out.json(effective_values(settings))
    else:
        session.out.text(effective(settings).rstrip("\n"))
    return 0


def _schema(session: Session) -> int:
    session.out.json(json_schema())
    return 0


VALIDATE = Command(
    name="config validate",
    description="Report every problem of the file at once, each with its line and key.",
    exits=(0, 2),
    run=_validate,
    configure=add_json,
)
SHOW = Command(
    name="config show",
    description="Print the configuration with all defaults and variables put in; secrets as ***.",
    exits=(0, 2),
    run=_show,
    configure=add_json,
)
SCHEMA = Command(
    name="config schema",
    description="Print the JSON Schema of mirror.yaml, for editors and linters.",
    exits=(0,),
    run=_schema,
)
