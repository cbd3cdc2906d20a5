"""A sink: a Prometheus Alertmanager, by its API v2.

    POST URL/api/v2/alerts   [{"labels": ..., "annotations": ..., "startsAt": ..., "endsAt": ...}]

It forgets after a restart, and holds an alert for over once `endsAt` is past: what fires is sent
again and again, with an end well ahead, and what is over with its end. No redirect is followed
and no proxy used: the URL may hold a password.
"""

from __future__ import annotations

import http.client
import json
import ssl
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from sync_daemon.domain.alerts import Alert
from sync_daemon.observers.delivery import Undelivered

SECONDS = 10.0
"""Longest wait for the server, each time."""

_OK = range(200, 300)


class Alertmanager:
    """Posts to the server at `url`. `labels` are added to each alert; what fires ends, unless it
    is told again, after `lasting`."""

    name = "alertmanager"
    forgets = True

    def __init__(
        self,
        url: str,
        labels: Mapping[str, str],
        lasting: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self._url = url
        self._labels = dict(labels)
        self._lasting = lasting
        self._now = now

    def deliver(self, alerts: Sequence[Alert]) -> None:
        """Post them. Raises Undelivered."""
        body = json.dumps([self._entry(alert) for alert in alerts], ensure_ascii=False).encode()
        parts = urlsplit(self._url)
        try:
            status = _post(parts, body)
        except (OSError, http.client.HTTPException) as error:
            raise Undelivered(f"no answer: {type(error).__name__}") from None
        if status not in _OK:
            raise Undelivered(f"the server answers {status}")

    def _entry(self, alert: Alert) -> dict[str, Any]:
        found = alert.finding
        ends = alert.ended or self._now() + self._lasting
        return {
            "labels": {
                **self._labels,
                "alertname": found.name,
                "severity": alert.severity,
                **dict(found.labels),
            },
            "annotations": {
                "summary": alert.message,
                "value": f"{found.value:g}",
                "threshold": f"{found.threshold:g}",
            },
            "startsAt": alert.since.isoformat(timespec="milliseconds"),
            "endsAt": ends.isoformat(timespec="milliseconds"),
        }


def _post(parts: SplitResult, body: bytes) -> int:
    host, port = parts.hostname or "", parts.port
    connection = (
        http.client.HTTPSConnection(
            host, port, timeout=SECONDS, context=ssl.create_default_context()
        )
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=SECONDS)
    )
    headers = {"Content-Type": "application/json"}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    try:
        connection.request("POST", f"{parts.path.rstrip('/')}/api/v2/alerts", body, headers)
        answer = connection.getresponse()
        answer.read(1024)
        return answer.status
    finally:
        connection.close()
