"""A sink: one of the services that Apprise knows, by its URL.

Apprise is an extra (`pip install '.[alerts]'`) and is imported only when a URL is
configured. Its own log lines may hold parts of the URL, and are therefore silenced.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from sync_daemon.domain.alerts import Alert
from sync_daemon.domain.errors import ConfigurationError
from sync_daemon.observers.delivery import Undelivered
from sync_daemon.observers.lines import printable

MOST_LINES = 20
"""Alerts that one message names; the rest are counted."""


class AppriseSink:
    """The service at `url`, the `number`-th of `alerts.urls`.

    Raises ConfigurationError when Apprise is not installed, or does not know such a URL.
    """

    forgets = False

    def __init__(self, number: int, url: str) -> None:
        self.name = f"alerts.urls[{number}]"
        self._service, self._kinds = _open(url, self.name)

    def deliver(self, alerts: Sequence[Alert]) -> None:
        """Send one message about all of them. Raises Undelivered."""
        title, body = compose(alerts)
        over = all(alert.state == "resolved" for alert in alerts)
        worst = any(a.severity == "critical" and a.state == "firing" for a in alerts)
        kind = self._kinds.SUCCESS if over else self._kinds.FAILURE if worst else None
        kind = kind or self._kinds.WARNING
        if not self._service.notify(body=body, title=title, notify_type=kind):
            raise Undelivered("the service did not take it")


def _open(url: str, name: str) -> tuple[Any, Any]:
    try:
        import apprise  # noqa: PLC0415 - an extra
    except ImportError as error:
        message = f"{name}: Apprise is not installed"
        hint = "pip install '.[alerts]' in the clone, or remove alerts.urls"
        raise ConfigurationError(message, hint=hint) from error
    silent = logging.getLogger("apprise")
    silent.propagate = False
    silent.setLevel(logging.CRITICAL + 1)
    service = apprise.Apprise()
    if not service.add(url):
        message = f"{name}: is no URL that Apprise knows"
        raise ConfigurationError(message, hint="write it as Apprise's documentation says")
    return service, apprise.NotifyType


def compose(alerts: Sequence[Alert]) -> tuple[str, str]:
    """Return the title and the text of a message."""
    lines = [
        printable(f"{alert.state}, {alert.severity}, {alert.name}: {alert.message}")
        for alert in alerts[:MOST_LINES]
    ]
    if (more := len(alerts) - MOST_LINES) > 0:
        lines.append(f"and {more} more; see the log")
    firing = sum(alert.state == "firing" for alert in alerts)
    if len(alerts) == 1:
        return f"sync-daemon: {alerts[0].name} {alerts[0].state}", lines[0]
    return f"sync-daemon: {firing} firing, {len(alerts) - firing} resolved", "\n".join(lines)
