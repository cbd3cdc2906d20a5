"""Rules and dashboard name what exists, and show data when a real Prometheus scrapes a daemon."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from sync_daemon.daemon.health import health_routes
from sync_daemon.daemon.web import Web
from sync_daemon.domain.alerts import SEVERITIES
from sync_daemon.observers.metrics import Metrics
from tests.support.metrics_story import DECLARED, story, told, visit

ROOT = Path(__file__).parents[1]
RULES = ROOT / "config/prometheus-rules.yml"
RULE_TESTS = ROOT / "tests/prometheus-rules-test.yml"
DASHBOARD = json.loads((ROOT / "config/grafana-dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
OF_SCRAPES = {"job", "instance", "le", "__name__", "exported_job"}
PATIENCE = 30.0


def tool(name: str) -> str:
    """A program of Debian's package `prometheus`."""
    found = shutil.which(name)
    if found is None and os.environ.get("SYNC_DAEMON_REQUIRE_PROMETHEUS"):
        pytest.fail(f"{name} is missing: install the package prometheus")
    if found is None:
        pytest.skip(f"{name} is not installed (Debian's package prometheus)")
    return found


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def expressions() -> dict[str, str]:
    """Every PromQL expression, by the panel or rule that it belongs to."""
    panels = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in PANELS
        for target in panel["targets"]
    }
    return panels | {rule["alert"]: rule["expr"] for rule in rules()}


def series() -> dict[str, set[str]]:
    """The labels of each series that a scrape of a living daemon finds, by its name."""
    found: dict[str, set[str]] = {}
    for family in told().registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def values_of(label: str) -> set[str]:
    samples = (sample for family in told().registry.collect() for sample in family.samples)
    return {sample.labels[label] for sample in samples if label in sample.labels}


def names_in(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:sync_daemon|process)_\w+", expression))


@pytest.mark.parametrize(("place", "expression"), expressions().items(), ids=expressions())
def test_an_expression_names_only_series_and_labels_that_exist(place: str, expression: str) -> None:
    known = series() | {"up": set()}
    assert names_in(expression) <= set(known), place
    labels = set().union(*(known[name] for name in names_in(expression))) | OF_SCRAPES
    grouped = re.findall(r"\b(?:by|on|without|ignoring) \(([^)]*)\)", expression)
    used = {one.strip() for group in grouped for one in group.split(",")}
    used |= set(re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)", expression))
    assert used <= labels, place
    for label, value in re.findall(r'(\w+)="([^"$]*)"', expression):
        if label not in OF_SCRAPES:
            assert value in values_of(label) | {"held"}, place


def test_a_legend_uses_labels_that_its_expression_keeps() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            wanted = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            kept = {
                one.strip()
                for group in re.findall(r"by \(([^)]*)\)", target["expr"])
                for one in group.split(",")
            }
            assert wanted <= kept | {"instance"}, panel["title"]


def test_every_metric_is_on_the_dashboard_or_in_a_rule() -> None:
    shown = set().union(*(names_in(expression) for expression in expressions().values()))
    families = {family.name for family in told().registry.collect()}
    families = {name for name in families if name.startswith("sync_daemon_")}
    unseen = {one for one in families if not any(name.startswith(one) for name in shown)}
    assert unseen == set()


def test_every_alert_of_the_daemon_has_a_rule_of_its_severity() -> None:
    mirrored: dict[str, set[str]] = {}
    for rule in rules():
        mirrored.setdefault(rule["labels"]["mirrors"], set()).add(rule["labels"]["severity"])
    mirrored.pop("none")
    assert mirrored == {name: {severity} for name, severity in SEVERITIES.items() if name != "test"}


def test_every_rule_says_what_is_wrong_and_what_to_do() -> None:
    for rule in rules():
        assert set(rule["annotations"]) == {"summary", "action"}, rule["alert"]


def test_panels_have_titles_units_and_places_of_their_own() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert all(panel["title"] and panel["fieldConfig"]["defaults"]["unit"] for panel in PANELS)


@pytest.mark.parametrize("words", [("check", "rules", RULES), ("test", "rules", RULE_TESTS)])
def test_promtool_accepts_the_rules_and_their_tests(words: tuple[str, str, Path]) -> None:
    done = subprocess.run(
        [tool("promtool"), *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_is_tested() -> None:
    text = RULE_TESTS.read_text()
    assert [rule["alert"] for rule in rules() if rule["alert"] not in text] == []


# -- a real Prometheus -----------------------------------------------------------------


class Prometheus:
    """A server that scrapes one target every second."""

    def __init__(self, folder: Path, target: int) -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            self._port = free.getsockname()[1]
        job = {"job_name": "sync-daemon", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [job],
        }
        path = folder / "prometheus.yml"
        path.write_text(yaml.safe_dump(config))
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    tool("prometheus"),
                    f"--config.file={path}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stdout=log,
                stderr=log,
            )

    def ask(self, path: str, **query: str) -> Any:
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}?{urlencode(query)}"
        with urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def values(self, expression: str) -> list[float]:
        result = self.ask("query", query=expression)["result"]
        return [float(one["value"][1]) for one in result]

    def wait_for(self, expression: str, least: float) -> None:
        """Wait until an expression has reached a value."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if max(self.values(expression), default=-1.0) >= least:
                    return
            except (URLError, OSError):
                assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.2)
        pytest.fail(f"{expression} did not reach {least}: {self.log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A server that has scraped a daemon through three days' stories."""
    metrics = Metrics(DECLARED)
    routes = health_routes(metrics.exposition, {})
    with Web("127.0.0.1", 0, routes, complain=pytest.fail) as web:
        server = Prometheus(tmp_path_factory.mktemp("prometheus"), web.port)
        try:
            for day in range(3):
                server.wait_for('count_over_time(up{job="sync-daemon"}[1h])', 2.0 * day + 1)
                for event in story():
                    metrics(event)
                visit(metrics)
            server.wait_for('sync_daemon_runs_total{status="partial"}', 3)
            yield server
        finally:
            server.process.terminate()
            server.process.wait(30)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel["title"]))
def test_every_query_of_a_panel_has_data(panel: Mapping[str, Any], prometheus: Prometheus) -> None:
    for target in panel["targets"]:
        query = target["expr"].replace("$__rate_interval", "30s")
        query = query.replace("$job", ".*").replace("$instance", ".*")
        values = prometheus.values(query)
        assert values, query
        assert any(value == value for value in values), f"only NaN: {query}"  # noqa: PLR0124


def test_the_variables_of_the_dashboard_find_the_daemon(prometheus: Prometheus) -> None:
    queries = [one["query"] for one in DASHBOARD["templating"]["list"] if one["type"] == "query"]
    for query in queries:
        (metric, label) = re.fullmatch(
            r"label_values\((\w+)(?:{.*})?, (\w+)\)", query["query"]
        ).groups()  # type: ignore[union-attr] # no match fails the test
        assert prometheus.ask(f"label/{label}/values", **{"match[]": metric})


def test_the_rules_are_evaluated_without_an_error_and_one_that_holds_fires(
    prometheus: Prometheus,
) -> None:
    (group,) = prometheus.ask("rules")["groups"]
    assert {rule["name"]: rule.get("lastError") for rule in group["rules"]} == {
        rule["alert"]: None for rule in rules()
    }
    prometheus.wait_for('ALERTS{alertname="SyncDaemonRefused", alertstate="firing"}', 1)
    firing = {one["labels"]["alertname"] for one in prometheus.ask("alerts")["alerts"]}
    assert firing == {"SyncDaemonRefused", "SyncDaemonNeverSucceeded"}, "the latter is pending"
