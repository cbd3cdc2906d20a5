"""`gateway`: serve what is published to those who ask as they would ask the Hub."""

from __future__ import annotations

from collections.abc import Callable

from sync_daemon.cli.command import Command
from sync_daemon.cli.hangup import catching_hangup
from sync_daemon.cli.session import Session
from sync_daemon.config import ConfigError, Settings
from sync_daemon.domain.errors import SyncError
from sync_daemon.domain.events import ConfigInvalid, ConfigReloaded
from sync_daemon.domain.exits import EXIT_FAILED, EXIT_OK

_TURN = 0.5
"""Seconds after which it is looked whether the server is still there."""


def run(session: Session) -> int:
    """Serve until a signal ends it."""
    from sync_daemon.daemon.serving import Serving  # noqa: PLC0415 - uvicorn takes 0.1 s to import

    settings = session.settings()
    with (
        catching_hangup() as hangup,
        session.listening() as emit,
        Serving(settings, alone=True) as serving,
    ):
        serving.attach(emit)
        while serving.alive and not session.stop.wait(_TURN):
            if hangup.came:
                hangup.came = False
                emit(_reload(session, serving.configure))
    return EXIT_OK if session.stop.is_set() else EXIT_FAILED


def _reload(
    session: Session, configure: Callable[[Settings], None]
) -> ConfigReloaded | ConfigInvalid:
    """Read the YAML again; a wrong one changes nothing."""
    try:
        configure(session.settings())
    except ConfigError as error:
        return ConfigInvalid(tuple(str(problem) for problem in error.problems))
    except (SyncError, OSError, ValueError) as error:
        return ConfigInvalid((str(error),))
    return ConfigReloaded(())


COMMAND = Command(
    name="gateway",
    description=(
        "Answer as the Hugging Face Hub would, at gateway.listen, until SIGTERM or SIGINT:\n"
        "clients set HF_ENDPOINT to its URL. It only reads the store, so any number of them\n"
        "may run. SIGHUP reads the YAML and the certificate again; a wrong one changes nothing."
    ),
    exits=(0, 1, 2, 3),
    meanings={EXIT_OK: "ended by a signal"},
    run=run,
    graceful=True,
)
