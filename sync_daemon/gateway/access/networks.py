"""Who is at the other end: the address that a connection comes from, or what a proxy says.

A proxy is believed only if the YAML names its network. Each proxy of a chain appends the
address it was asked from to `X-Forwarded-For`, so the list is read from its end: the first
address that is no proxy of ours is the client, and whatever stands before it anybody may have
written. IPv4 addresses in the dress of IPv6 (`::ffff:10.0.0.1`) are taken for what they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)

from sync_daemon.gateway.request.errors import HubError
from sync_daemon.gateway.request.questions import is_host

IpAddress = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MOST_HOPS = 32
"""Addresses in one `X-Forwarded-For` that are looked at."""

LONGEST_ADDRESS = 64
"""Characters of an address with the name of an interface."""

_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")
_REMEMBERED = 4096
_MAPPED = 96
"""Bits before the IPv4 address in `::ffff:0:0/96`."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who asks. `scheme` and `host` are None unless a proxy told them."""

    address: IpAddress
    proxied: bool = False
    scheme: str | None = None
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What a request says of the way it came: the headers' values as they are."""

    addresses: str | None = None
    scheme: str | None = None
    host: str | None = None


class Networks:
    """Which clients are let in, none named: all; and which peers are proxies."""

    def __init__(self, allowed: Sequence[Network], proxies: Sequence[Network]) -> None:
        self._allowed = tuple(map(_plain, allowed))
        self._proxies = tuple(map(_plain, proxies))
        self._parse = lru_cache(_REMEMBERED)(parse_address)
        self._lets_in = lru_cache(_REMEMBERED)(self._find_allowed)
        self._trusts = lru_cache(_REMEMBERED)(self._find_proxy)

    def lets_in(self, address: IpAddress) -> bool:
        """Tell whether this client may ask at all."""
        return self._lets_in(address)

    def trusts(self, address: IpAddress) -> bool:
        """Tell whether this is a proxy of ours."""
        return self._trusts(address)

    def parse(self, text: str) -> IpAddress:
        """Return an address. Raises ValueError."""
        return self._parse(text)

    def identify(self, connection: str, forwarded: Forwarded) -> Peer:
        """Return who asks by a connection from this address.

        Raises HubError (400) for headers of a proxy that make no sense; those of others are
        not even read.
        """
        address = self._parse(connection)
        if not self._trusts(address):
            return Peer(address)
        client = self._client(address, forwarded.addresses)
        return Peer(client, True, _scheme(forwarded.scheme), _host(forwarded.host))

    def _client(self, proxy: IpAddress, text: str | None) -> IpAddress:
        if text is None:
            return proxy
        hops = text.rsplit(",", MOST_HOPS)
        client = proxy
        for hop in reversed(hops):
            try:
                client = self._parse(_without_port(hop.strip()))
            except ValueError:
                raise _nonsense("X-Forwarded-For") from None
            if not self._trusts(client):
                return client
        return client

    def _find_allowed(self, address: IpAddress) -> bool:
        return not self._allowed or _within(address, self._allowed)

    def _find_proxy(self, address: IpAddress) -> bool:
        return _within(address, self._proxies)


def parse_address(text: str) -> IpAddress:
    """Return an address, of the kind that it really is. Raises ValueError."""
    if len(text) > LONGEST_ADDRESS:
        raise ValueError(text[:LONGEST_ADDRESS])
    address = ip_address(text.partition("%")[0])  # a link-local one may name its interface
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def client_key(address: IpAddress) -> str:
    """Return what limits count a client by: an IPv6 client owns a whole /64, an IPv4 one its
    address."""
    if isinstance(address, IPv4Address):
        return str(address)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"


def _plain(network: Network) -> Network:
    """Return the IPv4 network that `::ffff:10.0.0.0/104` stands for."""
    first = network.network_address
    if isinstance(first, IPv6Address) and first.ipv4_mapped and network.prefixlen >= _MAPPED:
        return IPv4Network((first.ipv4_mapped, network.prefixlen - _MAPPED))
    return network


def _within(address: IpAddress, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _without_port(hop: str) -> str:
    """Some proxies write the port as well: `10.0.0.1:5000`, `[2001:db8::1]:5000`."""
    match = _WITH_PORT.fullmatch(hop)
    return (match[1] or match[2]) if match else hop


def _scheme(text: str | None) -> str | None:
    if text is None:
        return None
    scheme = text.rpartition(",")[2].strip().lower()
    if scheme not in {"http", "https"}:
        raise _nonsense("X-Forwarded-Proto")
    return scheme


def _host(text: str | None) -> str | None:
    if text is None:
        return None
    host = text.rpartition(",")[2].strip()
    if not is_host(host):
        raise _nonsense("X-Forwarded-Host")
    return host


def _nonsense(header: str) -> HubError:
    return HubError(400, None, f"The proxy sent an {header} that makes no sense")
