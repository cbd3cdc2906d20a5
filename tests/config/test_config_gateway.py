"""The section `gateway`: words that YAML, or the environment, writes in several ways."""

from __future__ import annotations

import pytest

from sync_daemon.config import ConfigError, load
from sync_daemon.config.gateway import Gateway

HEAD = "version: 1\nstore: {url: 'file:///x'}\nmodels: []\ngateway: "


def read(section: str, **environ: str) -> Gateway:
    return load((HEAD + section).encode(), environ=environ).gateway


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("true", True),
        ("no", False),
        ("off", False),
        ("private", "private"),
        ("'${LOG}'", "private"),
    ],
)
def test_the_access_log_is_a_switch_or_private(written: str, means: object) -> None:
    assert read(f"{{access_log: {written}}}", LOG="private").access_log == means


def test_a_switch_may_come_from_the_environment() -> None:
    assert read("{access_log: '${LOG}'}", LOG="off").access_log is False


@pytest.mark.parametrize("written", ["loud", "1", "''"])
def test_any_other_word_is_refused(written: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f"{{access_log: {written}}}")
    (problem,) = caught.value.problems
    assert "gateway.access_log: must be true, false or private" in str(problem)


@pytest.mark.parametrize("written", ["1.2", '"1.2"'])
def test_the_version_of_tls_needs_no_quotes(written: str) -> None:
    tls = read(f"{{tls: {{cert_file: /c, key_file: /k, min_version: {written}}}}}").tls
    assert tls is not None
    assert tls.min_version == "1.2"


@pytest.mark.parametrize("written", ["1.1", "2", '"TLS"'])
def test_an_old_or_unknown_version_of_tls_is_refused(written: str) -> None:
    with pytest.raises(ConfigError, match="min_version"):
        read(f"{{tls: {{cert_file: /c, key_file: /k, min_version: {written}}}}}")


@pytest.mark.parametrize("metrics", ["", "\nmetrics: {listen: 127.0.0.1:9464}"])
def test_two_servers_cannot_have_the_same_port(metrics: str) -> None:
    """The daemon would find its own metrics there, and ask whether a gateway is running."""
    with pytest.raises(ConfigError) as caught:
        read("{listen: 127.0.0.1:9464}" + metrics)
    (problem,) = caught.value.problems
    assert "gateway.listen: is metrics.listen as well" in str(problem)


@pytest.mark.parametrize("metrics", ["off", "127.0.0.1:9465"])
def test_a_port_that_the_metrics_left_is_free(metrics: str) -> None:
    assert read(f"{{listen: 127.0.0.1:9464}}\nmetrics: {{listen: {metrics}}}").listen is not None
