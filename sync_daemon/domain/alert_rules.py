"""The rules: pure functions from what is known to what is worth an alert.

Each returns findings; what becomes of these is up to the book (alerts.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sync_daemon.domain.alerts import Finding, Version
from sync_daemon.domain.past import PastRun

MIB = 1024**2

LEAST_TRANSFER = 16 * MIB
"""Bytes of a transfer whose speed says something."""

LEAST_REQUESTS = 20
"""Requests, or attempts on versions, whose share of failures says something."""

MOVED_UPSTREAM = "moved upstream"
"""How the reason of a refusal says that a tag changed its meaning (engine/sync.py)."""

UNANSWERED = frozenset({"origin_unavailable", "too_slow"})
"""Kinds of errors that say that an origin did not answer."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When to alert. Speeds in bytes per second, sizes in bytes, shares from 0 to 1."""

    slow_below: int = 1_000_000
    slow_times: int = 3
    failures_above: float = 0.2
    failures_within: timedelta = timedelta(days=1)
    stale_after: timedelta = timedelta(days=2)
    store_below: int = 10 * 1024**3
    overdue_after: timedelta = timedelta(hours=1)
    repeat: timedelta = timedelta(days=1)


def judge_speed(origin: str, count: int, speed: float, limits: Thresholds) -> tuple[Finding, ...]:
    """Judge `count` slow transfers in a row, the last one of `speed`."""
    if count < limits.slow_times:
        return ()
    message = (
        f"{count} transfers in a row from {origin} were slower than {limits.slow_below:,}"
        f" bytes/s, the last one {speed:,.0f}"
    )
    labels = (("origin", origin),)
    return (Finding("slow_transfer", labels, round(speed), limits.slow_below, message),)


def judge_endpoints(runs: Iterable[PastRun], limits: Thresholds) -> tuple[Finding, ...]:
    """Judge how many of an endpoint's requests failed in `runs`."""
    requests: Counter[tuple[str, str]] = Counter()
    failures: Counter[tuple[str, str]] = Counter()
    for run in runs:
        for tally in run.tallies:
            requests[tally.origin, tally.endpoint] += tally.requests
            failures[tally.origin, tally.endpoint] += tally.failures
    return tuple(
        _rate(
            "endpoint_failure_rate",
            (("endpoint", endpoint), ("origin", origin)),
            failures[origin, endpoint] / count,
            limits,
            f"of {count} requests to {endpoint}",
        )
        for (origin, endpoint), count in sorted(requests.items())
        if count >= LEAST_REQUESTS and failures[origin, endpoint] / count > limits.failures_above
    )


def judge_attempts(runs: Iterable[PastRun], limits: Thresholds) -> tuple[Finding, ...]:
    """Judge how many of all attempts to bring a version up to date failed in `runs`."""
    attempts = failed = 0
    for run in runs:
        statuses = list(run.results.values())
        attempts += len(statuses) + run.unchanged - statuses.count("skipped")
        failed += statuses.count("failed")
    if attempts < LEAST_REQUESTS or failed / attempts <= limits.failures_above:
        return ()
    what = f"of {attempts} attempts to bring a version up to date"
    return (_rate("failure_rate", (), failed / attempts, limits, what),)


def _rate(
    name: str, labels: tuple[tuple[str, str], ...], share: float, limits: Thresholds, what: str
) -> Finding:
    hours = limits.failures_within.total_seconds() / 3600
    message = f"{share:.0%} {what} failed within {hours:g} h"
    return Finding(name, labels, round(share, 4), limits.failures_above, message)


def judge_ages(
    successes: Mapping[Version, datetime], now: datetime, limits: Thresholds
) -> tuple[Finding, ...]:
    """Judge for how long each version could not be brought up to date. Values in seconds."""
    least = limits.stale_after
    return tuple(
        Finding(
            "stale",
            (("model", model), ("version", version)),
            round((now - moment).total_seconds()),
            round(least.total_seconds()),
            f"{model}@{version} could not be brought up to date since {moment:%Y-%m-%d %H:%M} UTC",
        )
        for (model, version), moment in sorted(successes.items())
        if now - moment > least
    )


def judge_space(free: int, limits: Thresholds) -> tuple[Finding, ...]:
    """Judge the free bytes of the store."""
    if free >= limits.store_below:
        return ()
    message = f"the store has {free / 1024**3:,.1f} GiB left"
    return (Finding("store_full", (), free, limits.store_below, message),)


def judge_delays(
    due: Mapping[str, datetime], now: datetime, limits: Thresholds
) -> tuple[Finding, ...]:
    """Judge how late each job is; `due` says when it should have run. Values in seconds."""
    least = limits.overdue_after
    return tuple(
        Finding(
            "run_overdue",
            (("job", job),),
            round((now - moment).total_seconds()),
            round(least.total_seconds()),
            f"the {job} run was due at {moment:%Y-%m-%d %H:%M} UTC",
        )
        for job, moment in sorted(due.items())
        if now - moment > least
    )


def judge_origins(
    unanswered: Mapping[str, int], answered: Iterable[str]
) -> tuple[tuple[Finding, ...], frozenset[str]]:
    """Judge a run: which origins answered for none of their versions, and which do answer."""
    alive = frozenset(answered)
    findings = tuple(
        Finding(
            "origin_down",
            (("origin", origin),),
            count,
            0,
            f"{origin} did not answer for any version that was tried ({count})",
        )
        for origin, count in sorted(unanswered.items())
        if origin not in alive
    )
    return findings, alive


def judge_refusal(version: Version, reasons: tuple[str, ...]) -> Finding:
    """Turn a refusal into a finding; a tag that moved has a name of its own."""
    moved = any(MOVED_UPSTREAM in r and r.startswith("tag ") for r in reasons)
    name = "tag_moved" if moved else "refused"
    labels = (("model", version[0]), ("version", version[1]))
    message = f"{version[0]}@{version[1]} was refused: {reasons[0] if reasons else 'no reason'}"
    return Finding(name, labels, max(1, len(reasons)), 0, message)
