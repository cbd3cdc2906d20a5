"""The section `alerts` of mirror.yaml: when to alert, and whom."""

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from sync_daemon.config.fields import (
    Alertmanager,
    Duration,
    LocalPath,
    Number,
    Percent,
    ProxyUrl,
    Rate,
    Size,
    Switch,
    check_repeat,
)
from sync_daemon.config.secret import Secret
from sync_daemon.config.section import Section, optional

MIB = 1024**2


class SlowTransfer(Section):
    """Alert on transfers that crawl."""

    below: Rate = Field(default=1_000_000, description="Bytes per second that count as slow.")
    consecutive: Annotated[int, Field(ge=1, le=100_000), Number] = Field(
        default=3, description="Slow transfers in a row."
    )


class FailureRate(Section):
    """When an endpoint fails too often."""

    above: Percent = Field(default=0.2, description="Share of failed requests.")
    within: Duration = Field(default=timedelta(days=1), description="Time over which they count.")
    switch: Switch = Field(default=True, description="Make another endpoint the first.")


class Stale(Section):
    """Alert on versions that nobody could refresh."""

    after: Duration = Field(default=timedelta(days=2), description="Time since the last success.")


class StoreFull(Section):
    """Alert on a store that has hardly any room left."""

    below: Size = Field(default=10 * 1024 * MIB, description="Free bytes that are too few.")


class Overdue(Section):
    """Alert on runs of the daemon that do not come."""

    after: Duration = Field(default=timedelta(hours=1), description="Delay that is tolerated.")


def _drop_empty(urls: tuple[Secret, ...]) -> tuple[Secret, ...]:
    return tuple(url for url in urls if url)


class Alerts(Section):
    """When to alert, and whom."""

    urls: Annotated[tuple[Secret, ...], AfterValidator(_drop_empty)] = Field(
        default=(), description="Apprise URLs, treated as secrets; none: log lines only."
    )
    alertmanager: Alertmanager | None = Field(
        default=None, description="URL of a Prometheus Alertmanager, treated as a secret."
    )
    alertmanager_file: LocalPath | None = Field(
        default=None, description="File with the URL of the Alertmanager."
    )
    ca_file: LocalPath | None = Field(
        default=None, description="Certificates (PEM) that prove the Alertmanager."
    )
    proxy: ProxyUrl | None = Field(
        default=None,
        description="Proxy to the Alertmanager, or off; left out: the usual variables say.",
    )
    repeat: Annotated[Duration, AfterValidator(check_repeat)] = Field(
        default=timedelta(days=1), description="Time after which what goes on is told again."
    )
    slow_transfer: SlowTransfer = optional("Transfers that crawl.")
    failure_rate: FailureRate = optional("Endpoints that often fail.")
    stale: Stale = optional("Versions that nobody could refresh.")
    store_full: StoreFull = optional("A store that has hardly any room left.")
    overdue: Overdue = optional("Runs of the daemon that do not come.")
