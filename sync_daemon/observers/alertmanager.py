"""A sink: a Prometheus Alertmanager, by its API v2.

    POST URL/api/v2/alerts   [{"labels": ..., "annotations": ..., "startsAt": ..., "endsAt": ...}]

It forgets after a restart, and holds an alert for over once `endsAt` is past: what fires is sent
again and again, with an end well ahead, and what is over with its end. No redirect is followed:
the URL may hold a password.
"""

from __future__ import annotations

import http.client
import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

from sync_daemon.domain.alerts import Alert
from sync_daemon.domain.errors import ConfigurationError
from sync_daemon.observers.delivery import Undelivered
from sync_daemon.wire.places import Place
from sync_daemon.wire.proxies import Proxies
from sync_daemon.wire.trust import make_tls

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
        *,
        proxy: str | None = None,
        ca_file: str | None = None,
    ) -> None:
        """`proxy` is a URL, `off` or None: as the variables say. Raises ConfigurationError."""
        self._parts = urlsplit(url)
        self._proxies = Proxies(proxy)
        self._tls = make_tls(ca_file) if self._parts.scheme == "https" else None
        self._labels = dict(labels)
        self._lasting = lasting
        self._now = now

    def deliver(self, alerts: Sequence[Alert]) -> None:
        """Post them. Raises Undelivered."""
        body = json.dumps([self._entry(alert) for alert in alerts], ensure_ascii=False).encode()
        try:
            status = self._post(body)
        except ConfigurationError as error:  # a variable that names no proxy
            raise Undelivered(str(error)) from None
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

    def _post(self, body: bytes) -> int:
        parts = self._parts
        target = f"{parts.path.rstrip('/')}/api/v2/alerts"
        headers = {"Content-Type": "application/json"}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        connection, prefix, more = self._connect()
        try:
            connection.request("POST", prefix + target, body, headers | more)
            answer = connection.getresponse()
            answer.read(1024)
            return answer.status
        finally:
            connection.close()

    def _connect(self) -> tuple[http.client.HTTPConnection, str, dict[str, str]]:
        """Return a connection, and what a proxy wants before the path and among the headers."""
        scheme, host = self._parts.scheme, self._parts.hostname or ""
        place = Place(scheme, host, self._parts.port or (443 if scheme == "https" else 80))
        proxy = self._proxies.find(place)
        way = proxy or place
        more = {"Proxy-Authorization": proxy.secret} if proxy and proxy.secret else {}
        if self._tls is None:
            plain = http.client.HTTPConnection(way.host, way.port, timeout=SECONDS)
            return plain, f"http://{place.authority}" if proxy else "", more
        secure = http.client.HTTPSConnection(way.host, way.port, timeout=SECONDS, context=self._tls)
        if proxy is not None:
            secure.set_tunnel(place.host, place.port, headers=more)
        return secure, "", {}
