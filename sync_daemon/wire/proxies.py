"""Which proxy leads to a host: the one that the YAML names, or those of the usual variables.

The variables are http_proxy, https_proxy, all_proxy and no_proxy, in lower or upper case, read
once. A proxy of the YAML stands above all of them, no_proxy included.
"""

from __future__ import annotations

import urllib.request
from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from sync_daemon.domain.errors import ConfigurationError
from sync_daemon.wire.places import Place

OFF = "off"
"""The setting that ignores the variables."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """An http:// proxy. `url` may hold a password, and is never shown."""

    host: str
    port: int
    url: str = field(repr=False)

    @property
    def authority(self) -> str:
        """Its host and port."""
        return Place("http", self.host, self.port).authority

    @property
    def secret(self) -> str | None:
        """The value of Proxy-Authorization, or None where the proxy asks for none."""
        parts = urlsplit(self.url)
        if parts.username is None:
            return None
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return "Basic " + b64encode(pair.encode()).decode()


def parse_proxy(text: str, source: str) -> Proxy:
    """Read the URL of a proxy. Raises ConfigurationError for kinds other than http."""
    url = text if "://" in text else f"http://{text}"
    hint = "only http://[USER:PASSWORD@]HOST:PORT is supported, also for https targets"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigurationError(f"{source}: this is no URL of a proxy", hint=hint) from None
    if parts.scheme != "http" or not host:
        message = f"{source}: a proxy of the kind {parts.scheme!r} cannot be used"
        raise ConfigurationError(message, hint=hint)
    return Proxy(host, port or 80, url)


class Proxies:
    """Finds the proxy for a place. `setting` is a URL, `off`, or None for the variables."""

    def __init__(self, setting: str | None) -> None:
        self._off = setting == OFF
        self._fixed = None if setting is None or self._off else parse_proxy(setting, "proxy")
        self._found = urllib.request.getproxies()

    def find(self, place: Place) -> Proxy | None:
        """Return the proxy that leads to a place, None for the direct way.

        Raises ConfigurationError for a variable that names another kind of proxy.
        """
        if self._off or self._fixed is not None:
            return self._fixed
        name = place.scheme if self._found.get(place.scheme) else "all"
        text = self._found.get(name)
        if not text or urllib.request.proxy_bypass(f"{place.host}:{place.port}"):
            return None
        return parse_proxy(text, f"{name}_proxy")
