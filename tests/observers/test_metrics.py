"""What /metrics shows is what events told, of declared things only."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sync_daemon.domain import events
from sync_daemon.domain.alerts import SEVERITIES
from sync_daemon.domain.events import Event
from sync_daemon.observers.declared import Declared
from sync_daemon.observers.metrics import Metrics
from tests.support.metrics_story import (
    DECLARED,
    GIB,
    HUB,
    MIB,
    MIRROR,
    WallClock,
    alert,
    finished,
    first_run,
    published,
    stored,
    story,
    told,
)


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


@pytest.fixture
def metrics(clock: WallClock) -> Metrics:
    return Metrics(DECLARED, now=clock)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"sync_daemon_{name}", labels)


def tell(metrics: Metrics, *told: Event) -> None:
    for event in told:
        metrics(event)


def label_values(metrics: Metrics) -> set[str]:
    return {
        text
        for family in metrics.registry.collect()
        for sample in family.samples
        for name, text in sample.labels.items()
        if name not in {"le", "event", "alert", "severity"}
    }


def test_every_metric_has_moved_after_a_day_in_which_everything_happened() -> None:
    metrics = told()
    still = {
        family.name
        for family in metrics.registry.collect()
        if family.name.startswith("sync_daemon_")
        and not any(sample.value for sample in family.samples if "_created" not in sample.name)
    }
    assert still == {
        "sync_daemon_runs_active",  # the run is over
        "sync_daemon_gateway_requests_active",  # and so are the requests
        "sync_daemon_damaged_objects",  # and found nothing
    }


def test_a_clients_parser_reads_what_a_scrape_gets() -> None:
    text = told().exposition().decode()
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"sync_daemon_transfer_bytes", "sync_daemon_store_bytes"} <= names
    assert {"process_cpu_seconds", "process_resident_memory_bytes"} <= names


def test_bytes_count_by_origin_and_model_and_those_of_a_journal_do_not(metrics: Metrics) -> None:
    tell(
        metrics,
        events.BytesMoved("llama", "main", 100, "hf"),
        events.BytesMoved("llama", "1.0", 11, "hf"),
        events.BytesMoved("llama", "1.0", 5 * MIB),
    )
    assert value(metrics, "transfer_bytes_total", origin="hf", model="llama") == 111
    assert value(metrics, "transfer_bytes_total", origin="hf", model="qwen") == 0


def test_the_time_of_each_file_is_observed_but_the_speed_of_large_unthrottled_ones_only(
    metrics: Metrics,
) -> None:
    tell(metrics, stored(32 * MIB, 64.0), stored(MIB, 1.0), stored(32 * MIB, 64.0, throttled=True))
    assert value(metrics, "transfer_seconds_count", origin="hf") == 3
    assert value(metrics, "transfer_speed_bytes_per_second_count", origin="hf") == 1
    speed = "transfer_speed_bytes_per_second_bucket"
    assert value(metrics, speed, origin="hf", le="500000.0") == 0
    assert value(metrics, speed, origin="hf", le="1e+06") == 1
    assert value(metrics, "blobs_total", origin="hf", result="stored") == 3


def test_runs_count_by_status_with_those_that_were_skipped_or_could_not_be_made(
    metrics: Metrics, clock: WallClock
) -> None:
    tell(
        metrics,
        *(events.RunStarted("a", "full", 0), finished("a")),
        *(events.RunStarted("b", "incremental", 0), finished("b", "partial", 1)),
        events.RunSkipped("incremental", 1),
        events.RunFailed("full", "store_unavailable", "gone"),
    )
    counts = {s: value(metrics, "runs_total", status=s) for s in ("ok", "partial", "skipped")}
    assert counts == {"ok": 1, "partial": 1, "skipped": 1}
    assert value(metrics, "runs_total", status="failed") == 1
    assert value(metrics, "run_seconds_sum", mode="full") == 12.5
    assert value(metrics, "last_run_timestamp_seconds", status="ok") == clock.time
    assert value(metrics, "requests_total", side="store") == 240


def test_a_run_is_active_until_it_ends_or_fails(metrics: Metrics) -> None:
    tell(metrics, events.RunStarted("a", "full", 0), events.RunStarted("b", "full", 0))
    assert value(metrics, "runs_active") == 2
    tell(metrics, finished("a"))
    assert value(metrics, "runs_active") == 1
    tell(metrics, events.RunFailed("full", "internal_error", "oh"))
    assert value(metrics, "runs_active") == 0


def test_a_version_has_one_state_and_keeps_the_time_of_its_last_success(
    metrics: Metrics, clock: WallClock
) -> None:
    success = clock.time
    tell(metrics, published("llama", "main"))
    clock.time += 60
    tell(metrics, events.VersionRefused("llama", "main", ("licence",)))
    place = {"model": "llama", "version": "main"}
    assert value(metrics, "version_state", **place, state="published") is None
    assert value(metrics, "version_state", **place, state="refused") == 1
    assert value(metrics, "last_success_timestamp_seconds", **place) == success


def test_lag_is_that_of_the_version_that_waits_longest(metrics: Metrics, clock: WallClock) -> None:
    clock.time += 100
    for version in DECLARED.versions - {("llama", "1.0")}:
        tell(metrics, published(*version))
    assert value(metrics, "lag_seconds") == 100, "it never succeeded since the start"
    tell(metrics, events.VersionPassed("llama", "1.0", "held", ()))
    clock.time += 7
    assert value(metrics, "lag_seconds") == 7, "a version on hold does not wait"
    assert value(metrics, "last_success_timestamp_seconds", model="llama", version="1.0") is None


def test_successes_of_former_processes_are_remembered(metrics: Metrics, clock: WallClock) -> None:
    day_ago = clock.time - 86_400
    for version in DECLARED.versions:
        metrics.remember_success(*version, datetime.fromtimestamp(day_ago, UTC))
    assert value(metrics, "lag_seconds") == 86_400
    place = {"model": "llama", "version": "main"}
    assert value(metrics, "last_success_timestamp_seconds", **place) == day_ago
    tell(metrics, published("llama", "main"))
    metrics.remember_success("llama", "main", datetime.fromtimestamp(day_ago, UTC))
    assert value(metrics, "last_success_timestamp_seconds", **place) == clock.time


def test_the_share_of_successes_is_that_of_a_day(metrics: Metrics, clock: WallClock) -> None:
    assert value(metrics, "success_ratio", origin="hf") is None, "nothing was asked yet"
    for failed in (True, False, False, False):
        tell(metrics, events.EndpointAsked("hf", HUB, failed))
    assert value(metrics, "success_ratio", origin="hf") == 0.75
    clock.time += 23 * 3600
    tell(metrics, events.EndpointAsked("hf", HUB, failed=False))
    assert value(metrics, "success_ratio", origin="hf") == 0.8
    clock.time += 2 * 3600
    assert value(metrics, "success_ratio", origin="hf") == 1.0
    assert value(metrics, "origin_requests_total", origin="hf", endpoint=HUB, result="ok") == 4


def test_an_origin_is_down_when_the_last_answer_of_each_endpoint_failed(metrics: Metrics) -> None:
    tell(metrics, events.EndpointAsked("hf", HUB, failed=True))
    assert value(metrics, "origin_up", origin="hf") == 0
    tell(metrics, events.EndpointAsked("hf", MIRROR, failed=False))
    assert value(metrics, "origin_up", origin="hf") == 1
    tell(metrics, events.EndpointAsked("hf", MIRROR, failed=True))
    assert value(metrics, "origin_up", origin="hf") == 0


def test_what_a_store_does_not_say_has_no_series(metrics: Metrics) -> None:
    tell(metrics, events.StoreMeasured(free=GIB))
    assert value(metrics, "store_bytes", kind="free") == GIB
    assert value(metrics, "store_bytes", kind="capacity") is None


def test_an_alert_fires_from_its_beginning_to_its_end_however_often_it_is_told(
    metrics: Metrics,
) -> None:
    severity = SEVERITIES["stale"]
    firing = {"alert": "stale", "severity": severity}
    assert value(metrics, "alerts_firing", **firing) == 0
    one, other = {"model": "llama", "version": "main"}, {"model": "llama", "version": "1.0"}
    tell(metrics, alert("stale", "firing", **one), alert("stale", "firing", **one))
    tell(metrics, alert("stale", "firing", **other))
    assert value(metrics, "alerts_firing", **firing) == 2
    tell(metrics, alert("stale", "resolved", **one))
    assert value(metrics, "alerts_firing", **firing) == 1


def test_alerts_that_fire_since_before_the_start_are_remembered(metrics: Metrics) -> None:
    metrics.remember_alerts([("origin_down", (("origin", "hf"),))])
    firing = {"alert": "origin_down", "severity": SEVERITIES["origin_down"]}
    assert value(metrics, "alerts_firing", **firing) == 1
    tell(metrics, alert("origin_down", "resolved", origin="hf"))
    assert value(metrics, "alerts_firing", **firing) == 0


def test_a_wrong_configuration_shows_until_a_right_one_is_read(metrics: Metrics) -> None:
    assert value(metrics, "config_valid") == 1
    tell(metrics, events.ConfigInvalid(("models: is missing",)))
    assert value(metrics, "config_valid") == 0
    tell(metrics, events.ConfigReloaded(()))
    assert value(metrics, "config_valid") == 1


def test_every_event_is_counted_by_name_from_zero_on(metrics: Metrics) -> None:
    for kind in events.catalogue():
        expected = None if kind is events.BytesMoved else 0
        assert value(metrics, "events_total", event=kind.name) == expected
    tell(metrics, events.DamageFound("blobs/x", "missing"))
    assert value(metrics, "events_total", event="damage.found") == 1


def undeclared() -> Iterator[Event]:
    yield events.BytesMoved("x", "y", 1, "hf")
    yield events.BytesMoved("llama", "main", 1, "x")
    yield events.BlobStored("x", "p", "0", 32 * MIB, 1.0, "x")
    yield events.BlobFailed("x", "p", "k", "e", "x")
    yield published("x", "y")
    yield published("llama", "y")
    yield events.EndpointAsked("hf", "https://x", failed=True)
    yield events.EndpointMeasured("hf", "https://x", 1.0)
    yield events.EndpointRested("x", HUB, 1.0, "r")
    yield alert("x", "firing")


def test_what_is_not_declared_gets_no_series(metrics: Metrics) -> None:
    before = label_values(metrics)
    tell(metrics, *undeclared())
    assert label_values(metrics) == before


def test_a_reload_drops_the_series_of_what_left_the_yaml_and_begins_those_of_what_came() -> None:
    metrics = told()
    assert {"qwen", "v2.0", MIRROR} <= label_values(metrics)
    metrics.declare(
        Declared(
            versions=frozenset({("llama", "1.0"), ("phi", "main")}),
            sources=frozenset({("hf", "llama"), ("other", "phi")}),
            endpoints=frozenset({("hf", HUB), ("other", "/srv")}),
        )
    )
    assert not {"qwen", "v2.0", MIRROR} & label_values(metrics)
    assert value(metrics, "transfer_bytes_total", origin="hf", model="llama") == 64 * MIB
    assert value(metrics, "transfer_bytes_total", origin="other", model="phi") == 0
    tell(metrics, *story())
    assert not {"qwen", "v2.0", MIRROR} & label_values(metrics)
    metrics.declare(Declared())
    assert not {"llama", "hf", HUB} & label_values(metrics)


def test_a_tag_that_is_no_longer_asked_for_loses_its_series(metrics: Metrics) -> None:
    versions = [("qwen", v) for v in ("main", "v1.0", "v2.0")]

    def run(run_id: str, *seen: tuple[str, str], versions: int) -> None:
        tell(metrics, events.RunStarted(run_id, "full", versions))
        tell(metrics, *(published(*one) for one in seen), finished(run_id))

    run("a", *versions, versions=3)
    run("b", *versions[1:], versions=3)
    assert "v1.0" in label_values(metrics), "the run did not tell of all it looked at"
    run("c", ("llama", "main"), versions=1)
    assert "v1.0" in label_values(metrics), "the run was about another model"
    run("d", *versions[:1], *versions[2:], versions=2)
    assert "v1.0" not in label_values(metrics)
    assert {"v2.0", "main"} <= label_values(metrics)


def test_tags_with_slashes_and_patterns_that_failed_belong_to_their_model(
    metrics: Metrics,
) -> None:
    metrics.declare(Declared(patterns=frozenset({("qwen", "release/*")})))
    tell(metrics, published("qwen", "release%2Fv1"), published("qwen", "v1"))
    tell(metrics, events.VersionFailed("qwen", "tags:release/*", "forbidden", "no"))
    assert {"release%2Fv1", "tags:release/*"} <= label_values(metrics)
    assert "v1" not in label_values(metrics)


def test_scrapes_while_events_come_see_whole_numbers(metrics: Metrics) -> None:
    done = threading.Event()
    failures: list[BaseException] = []

    def scrape() -> None:
        try:
            while not done.is_set():
                metrics.exposition()
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    scraper = threading.Thread(target=scrape)
    scraper.start()
    for number in range(60):
        tell(metrics, *first_run(), alert("stale", "firing", model=str(number)))
        metrics.declare(Declared() if number % 2 else DECLARED)
    done.set()
    scraper.join()
    assert failures == []


def test_bytes_that_move_cost_next_to_nothing(metrics: Metrics) -> None:
    """1 us is usual, and a gigabyte comes in some 2,000 steps."""
    event = events.BytesMoved("llama", "main", 65536, "hf")
    count = 20_000
    began = time.process_time()
    for _ in range(count):
        metrics(event)
    assert (time.process_time() - began) / count < 20e-6


def test_requests_for_runs_are_counted_by_what_became_of_them(metrics: Metrics) -> None:
    assert value(metrics, "triggers_total", by="api", result="flood") == 0, "begun at zero"
    tell(
        metrics,
        events.TriggerAccepted("api", (), "63c0ffee"),
        events.TriggerAccepted("webhook", ("llama",), debounced=True),
        events.TriggerIgnored("webhook", "org/x", "it changes no files"),
        events.TriggerRefused("webhook", 401, "secret", "192.0.2.7", 7),
    )
    assert value(metrics, "triggers_total", by="api", result="accepted") == 1
    for result, count in {"accepted": 0, "debounced": 1, "ignored": 1, "secret": 7}.items():
        assert value(metrics, "triggers_total", by="webhook", result=result) == count
