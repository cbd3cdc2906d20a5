"""`doctor`: is everything there that a run needs? One line a check, and what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

from sync_daemon import bootstrap
from sync_daemon.bootstrap import alerting, storage
from sync_daemon.cli.command import Command, add_json
from sync_daemon.cli.config import count_entries
from sync_daemon.cli.output import STYLES, Output
from sync_daemon.cli.session import Session
from sync_daemon.config import DirectoryOrigin, DirectoryPlace, Secret, Settings
from sync_daemon.domain.errors import (
    ConfigurationError,
    StoreRefused,
    StoreUnavailable,
    SyncError,
)
from sync_daemon.domain.exits import EXIT_FAILED, EXIT_OK, EXIT_UNREACHABLE
from sync_daemon.domain.words import plural
from sync_daemon.engine import doctor
from sync_daemon.engine.clock import SystemClock
from sync_daemon.engine.doctor import Check
from sync_daemon.gateway.connections.tls import make_ssl_context
from sync_daemon.ports import Emit
from sync_daemon.stores.minio_admin import ServerFacts, ask_server
from sync_daemon.stores.s3_sign import SigningKeys
from sync_daemon.wire.trust import find_certificates, read_certificates

_PROFILES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")


def run(session: Session) -> int:
    """Check everything; lines appear as the answers come."""
    settings = session.read_settings()
    checks: list[Check] = []
    with session.listening() as emit:
        for check in _check(session, settings, emit):
            checks.append(check)
            if not session.arguments.json:
                _show(check, session.out)
    if session.arguments.json:
        document = {
            "status": doctor.worst(checks),
            "checks": [check.to_json() for check in checks],
        }
        session.out.json(document)
    else:
        _sum_up(checks, session.out)
    return _exit_code(checks)


def _check(session: Session, settings: Settings, emit: Emit) -> Iterator[Check]:
    yield from _check_configuration(settings)
    yield from _check_alerts(session, settings)
    yield doctor.check_memory(bootstrap.limits(settings))
    yield doctor.check_proxies(session.environ, settings.store.endpoint, _proxies(settings))
    yield _check_certificates(session.environ)
    yield from _check_gateway(settings)
    yield from _check_store(session, settings)
    with bootstrap.origins(settings, emit) as origins:
        yield from doctor.check_origins(origins)


def _check_configuration(settings: Settings) -> Iterator[Check]:
    for warning in settings.warnings:
        yield Check("configuration", "warn", str(warning))
    if not settings.warnings:
        models = plural(len(settings.models), "model")
        entries = count_entries(len(bootstrap.entries(settings)))
        message = f"valid; {models}, {entries} declared"
        yield Check("configuration", "ok", message)


def _check_alerts(session: Session, settings: Settings) -> Iterator[Check]:
    """Look whether alerts can be sent, without sending any."""
    try:
        sinks = alerting.sinks(settings, SystemClock(session.stop))
    except ConfigurationError as error:
        yield Check("alerts", "fail", str(error), error.hint)
        return
    if sinks:
        message = f"{plural(len(sinks), 'service')} to tell; `sync-daemon alerts test` tries"
        yield Check("alerts", "ok", message)


def _check_gateway(settings: Settings) -> Iterator[Check]:
    """Look whether the gateway's certificate and key can be used."""
    if (tls := settings.gateway.tls) is None:
        return
    try:
        make_ssl_context(tls)
    except ConfigurationError as error:
        yield Check("gateway", "fail", str(error), error.hint)
    else:
        yield Check("gateway", "ok", f"serves https with {tls.cert_file}")


def _proxies(settings: Settings) -> dict[str, str]:
    """Return the proxies of the YAML by their keys; the URLs may hold secrets."""
    found = {"store.proxy": settings.store.proxy}
    for name, origin in settings.origins.items():
        if not isinstance(origin, DirectoryOrigin):
            found[f"origins.{name}.proxy"] = origin.proxy
    return {
        key: value.reveal() if isinstance(value, Secret) else value
        for key, value in found.items()
        if value is not None
    }


def _check_certificates(environ: Mapping[str, str]) -> Check:
    """Look at what the variables name; `ca_file` was read with the configuration."""
    found = find_certificates(None, environ)
    try:
        read_certificates(found)
    except ConfigurationError as error:
        return Check("certificates", "fail", str(error), error.hint)
    whose = f"{found.path}, named by {found.source}" if found.path else "those of the system"
    return Check("certificates", "ok", f"{whose}, save where ca_file names others")


def _check_store(session: Session, settings: Settings) -> Iterator[Check]:
    place = settings.store.url
    if isinstance(place, DirectoryPlace) and not place.path.exists():
        yield _judge_absent(place)
        return
    try:
        keys = storage.read_keys(settings)
    except (StoreRefused, StoreUnavailable) as error:
        yield _judge_no_keys(error, session.environ)
        return  # the store itself would only say it again
    if keys is not None:
        yield Check("credentials", "ok", f"from {keys.source}")
    with ExitStack() as stack:
        try:
            store = stack.enter_context(bootstrap.store(settings))
        except ConfigurationError as error:
            yield Check("store", "fail", str(error), error.hint)
            return
        checks = []
        for check in doctor.check_store(store, SystemClock(session.stop)):
            checks.append(check)
            yield check
        if doctor.USELESS_WITHOUT & {one.name for one in checks if one.state == "fail"}:
            return
        free = store.free_bytes()
    facts = _ask_server(settings, keys)
    yield doctor.check_space(facts.free_bytes if free is None else free)
    if facts.uploads_expire is not None:
        yield doctor.check_upload_life(facts.uploads_expire)


def _judge_absent(place: DirectoryPlace) -> Check:
    parent = place.path.parent
    if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
        return Check("store", "warn", f"{place} is not there yet; the first run makes it")
    problem = "may not be written to" if parent.is_dir() else "is not there"
    message = f"{place} is not there, and {parent} {problem}"
    return Check("store", "fail", message, f"mount it, or make it: mkdir -p {place.path}")


def _judge_no_keys(error: SyncError, environ: Mapping[str, str]) -> Check:
    """Say why there are none; where a variable names a profile, that is where to look."""
    hint = error.hint
    profile = next((name for name in _PROFILES if environ.get(name)), None)
    if profile is not None and isinstance(error, StoreRefused):
        hint = f"check the profile that {profile} names, or unset {profile}"
    return Check("credentials", "fail", str(error), hint)


def _ask_server(settings: Settings, keys: SigningKeys | None) -> ServerFacts:
    store = settings.store
    if store.endpoint is None or keys is None:
        return ServerFacts()
    return ask_server(
        store.endpoint,
        keys,
        region=store.region,
        ca_file=str(store.ca_file) if store.ca_file else None,
        proxy=store.proxy.reveal() if isinstance(store.proxy, Secret) else store.proxy,
    )


def _show(check: Check, out: Output) -> None:
    out.line(f"{check.state:<5} {check.name:<16} {check.message}", STYLES.get(check.state, ""))
    if check.hint and check.state != "ok":
        out.line(f"{'':<5} {'':<16} hint: {check.hint}")


def _sum_up(checks: list[Check], out: Output) -> None:
    states = [check.state for check in checks]
    out.line(
        f"{states.count('ok')} ok, {states.count('warn')} to look at, {states.count('fail')} failed"
    )


def _exit_code(checks: list[Check]) -> int:
    failed = {check.name for check in checks if check.state == "fail"}
    if failed & doctor.USELESS_WITHOUT:
        return EXIT_UNREACHABLE
    return EXIT_FAILED if failed else EXIT_OK


COMMAND = Command(
    name="doctor",
    description=(
        "Check everything that a run needs: configuration, store, clocks, space, origins.\n"
        "A small object is written under staging/ of the store, read back and deleted."
    ),
    exits=(0, 1, 2, 3, 130),
    run=run,
    configure=add_json,
)
