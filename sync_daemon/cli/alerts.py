"""`alerts test`: send one alert to everybody who is configured, and say whom it reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sync_daemon.bootstrap import alerting
from sync_daemon.cli.command import Command, add_json
from sync_daemon.cli.output import Output
from sync_daemon.cli.session import Session
from sync_daemon.domain.alerts import Alert, Finding
from sync_daemon.domain.exits import EXIT_FAILED, EXIT_OK
from sync_daemon.engine.clock import SystemClock
from sync_daemon.observers.alerts import describe
from sync_daemon.observers.delivery import Sink, Undelivered

_NOBODY = "no alerts.urls and no alerts.alertmanager: alerts are log lines only"


@dataclass(frozen=True, slots=True)
class _Result:
    """What came of one sink; `error` is None when it took the alert."""

    sink: str
    error: str | None


def _test(session: Session) -> int:
    settings = session.settings()
    clock = SystemClock(session.stop)
    places = alerting.sinks(settings, clock)
    now = clock.now()
    alert = Alert(Finding("test", (), 1, 0, "a test, all is well"), now)
    with session.listening() as emit:
        emit(describe(alert))
        over = Alert(alert.finding, now, clock.now())
        results = [_Result(place.name, _try(place, (alert,))) for place in places]
        for place, result in zip(places, results, strict=True):
            if place.forgets and result.error is None:
                _try(place, (over,))
    _show(results, session.out, as_json=session.arguments.json)
    return EXIT_OK if all(one.error is None for one in results) else EXIT_FAILED


def _try(place: Sink, alerts: Sequence[Alert]) -> str | None:
    try:
        place.deliver(alerts)
    except Undelivered as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - other people's code; its text may be secret
        return type(error).__name__
    return None


def _show(results: Sequence[_Result], out: Output, *, as_json: bool) -> None:
    if as_json:
        sinks = [
            {"sink": one.sink, "delivered": one.error is None, "error": one.error}
            for one in results
        ]
        out.json({"sinks": sinks})
        return
    for one in results:
        style = "green" if one.error is None else "red"
        out.line(f"{one.sink}: {one.error or 'delivered'}", style)
    if not results:
        out.line(_NOBODY)


TEST = Command(
    name="alerts test",
    description=(
        "Send one alert to each of alerts.urls and to alerts.alertmanager, and say which of them\n"
        "took it. The store is not touched. Run it once after a change of the addresses."
    ),
    exits=(0, 1, 2, 130),
    run=_test,
    configure=add_json,
)
