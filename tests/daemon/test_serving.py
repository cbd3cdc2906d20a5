"""The gateway inside the daemon, while the configuration changes below it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_daemon.config import Settings
from sync_daemon.daemon.serving import Serving
from sync_daemon.domain.errors import ConfigurationError
from sync_daemon.domain.events import Event, GatewayStarted, GatewayStopped
from tests.support.published import settings_of


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class _Served:
    """A gateway of the daemon, with what it tells."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, _free_port()
        self.events: list[Event] = []
        self.serving = Serving(self.settings())
        self.serving.attach(self.events.append)

    def settings(self, port: int | None = None, **gateway: object) -> Settings:
        return settings_of(self.folder, listen=f"127.0.0.1:{port or self.port}", **gateway)

    @property
    def told(self) -> list[str]:
        """Starts and ends, without what else is told."""
        kinds = (GatewayStarted, GatewayStopped)
        return [type(one).__name__ for one in self.events if isinstance(one, kinds)]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[_Served]:
    """A gateway that serves an empty directory."""
    (tmp_path / "store").mkdir()
    found = _Served(tmp_path / "store")
    with found.serving:
        yield found


def test_a_wrong_certificate_leaves_the_gateway_as_it_is(served: _Served, tmp_path: Path) -> None:
    """Nobody's download is cut by a file that cannot be used."""
    missing = str(tmp_path / "missing.pem")
    wrong = served.settings(tls={"cert_file": missing, "key_file": missing})
    with pytest.raises(ConfigurationError, match=r"gateway\.tls\.cert_file"):
        served.serving.configure(wrong)
    assert served.told == ["GatewayStarted"]
    assert served.serving.alive


def test_a_port_that_is_taken_leaves_the_gateway_as_it_is(served: _Served) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wrong = served.settings(taken.getsockname()[1])
        with pytest.raises(ConfigurationError, match="cannot listen"):
            served.serving.configure(wrong)
    assert served.told == ["GatewayStarted"]
    served.serving.configure(served.settings())
    assert served.told == ["GatewayStarted"], "what is in force is the former configuration"
    assert served.serving.alive


def test_at_another_port_the_new_gateway_begins_before_the_former_ends(served: _Served) -> None:
    served.serving.configure(served.settings(_free_port()))
    assert served.told == ["GatewayStarted", "GatewayStarted", "GatewayStopped"]
    assert served.serving.alive


def test_at_the_same_address_the_gateway_goes_on(served: _Served) -> None:
    served.serving.configure(served.settings(refresh="3s"))
    assert served.told == ["GatewayStarted"]
    assert served.serving.alive
