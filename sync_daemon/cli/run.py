"""`run`: the daemon, on its schedule until SIGTERM; SIGHUP reads the YAML again."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from sync_daemon.cli.command import Command
from sync_daemon.cli.hangup import catching_hangup
from sync_daemon.cli.session import Session
from sync_daemon.config import STANDARD_INPUT, Settings
from sync_daemon.daemon.notify import Notifier
from sync_daemon.daemon.requests import Requests
from sync_daemon.daemon.service import Service
from sync_daemon.daemon.serving import Serving
from sync_daemon.daemon.watch import Watch
from sync_daemon.domain.errors import ConfigurationError
from sync_daemon.domain.exits import EXIT_OK, EXIT_USAGE
from sync_daemon.engine.clock import SystemClock


def run(session: Session) -> int:
    """Work until a signal ends it."""
    settings = session.settings()

    def read() -> Settings:
        if session.arguments.config == STANDARD_INPUT:
            message = "standard input cannot be read again"
            raise ConfigurationError(message, hint="name a file with --config")
        return session.settings()

    clock = SystemClock(session.stop)
    requests = Requests(clock.monotonic)
    with (
        catching_hangup() as hangup,
        Watch(settings, clock, _complain(session), requests) as watch,
        Serving(settings, watch.metrics.traffic) as serving,
    ):
        service = Service(
            settings,
            read=read,
            listening=session.listening,
            stop=session.stop,
            hangup=hangup,
            notifier=Notifier(session.environ),
            clock=clock,
            listeners=watch.listeners,
            on_start=(watch.attach, serving.attach),
            every_minute=(watch.every_minute,),
            on_settings=(watch.configure, serving.configure),
            requests=requests,
            source=str(session.config_path()),
            ended_by=lambda: session.stop.by,
        )
        watch.due = service.due
        late = service.run()
    if late:  # their threads wait for an answer that may never come; journals are written
        sys.stdout.flush()
        os._exit(EXIT_OK)
    return EXIT_OK


def _complain(session: Session) -> Callable[[str], None]:
    return lambda message: session.notice("metrics.trouble", "warning", message)


COMMAND = Command(
    name="run",
    description=(
        "Bring what is missing first, then work by the YAML's schedule until SIGTERM or\n"
        "SIGINT, which end it with 0: what is unfinished goes on at the next start. SIGHUP\n"
        "reads the YAML again; a wrong one changes nothing. Under systemd it is Type=notify."
    ),
    exits=(EXIT_OK, EXIT_USAGE),
    meanings={EXIT_OK: "ended by a signal; what is unfinished goes on at the next start"},
    run=run,
    graceful=True,
)
