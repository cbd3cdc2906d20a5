"""The schema, the documentation and the example name the same keys."""

import re
from pathlib import Path
from typing import Any

import pytest

from sync_daemon.config import json_schema, load

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config/mirror.example.yaml"
DOCUMENTATION = ROOT / "docs/configuration.md"
SCHEMA = json_schema()
TABLES = {  # heading in the documentation -> definition in the schema
    "store": "Store",
    "store.credentials": "Credentials",
    "type: huggingface": "HuggingFaceOrigin",
    "origins.NAME.endpoints[]": "EndpointEntry",
    "type: http": "HttpOrigin",
    "type: directory": "DirectoryOrigin",
    "defaults": "Defaults",
    "models": "ModelEntry",
    "models[].versions[]: one version": "NamedEntry",
    "models[].versions[]: a version for each tag": "TagsEntry",
    "models[].schedule": "ModelSchedule",
    "models[].requires": "Requires",
    "models[].files[]": "HttpFile",
    "schedule": "Schedule",
    "transfer": "Transfer",
    "retention": "Retention",
    "metrics": "Metrics",
    "alerts": "Alerts",
    "alerts.slow_transfer": "SlowTransfer",
    "alerts.failure_rate": "FailureRate",
    "alerts.stale": "Stale",
    "alerts.store_full": "StoreFull",
    "alerts.overdue": "Overdue",
    "log": "Log",
    "log.rotate": "Rotate",
    "mirror_sites": "MirrorSite",
    "pull": "Pull",
    "gateway": "Gateway",
    "gateway.tls": "Tls",
}


def properties(definition: str) -> dict[str, Any]:
    found: dict[str, Any] = SCHEMA["$defs"][definition].get("properties", {})
    return found


def documented(heading: str) -> dict[str, str]:
    """The keys of the table below a heading, with their default column."""
    text = DOCUMENTATION.read_text()
    pattern = rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)"
    section = re.search(pattern, text, re.MULTILINE | re.DOTALL)
    assert section, heading
    rows = re.findall(r"^\| `(\w+)` \| [^|]*\| ([^|]*?) ?\|", section[1], re.MULTILINE)
    return dict(rows)


def test_every_section_of_the_schema_has_a_table() -> None:
    assert set(SCHEMA["$defs"]) - {"Policy"} == set(TABLES.values())
    assert set(documented("Top level")) == set(SCHEMA["properties"])


@pytest.mark.parametrize(("heading", "definition"), TABLES.items())
def test_a_table_lists_exactly_the_keys_and_their_defaults(heading: str, definition: str) -> None:
    table, known = documented(heading), properties(definition)
    assert set(table) == set(known)
    for key, schema in known.items():
        default = schema.get("default")
        if isinstance(default, str | int) and not isinstance(default, bool):
            assert str(default) in table[key], key
        if isinstance(default, bool):
            assert str(default).lower() in table[key], key


@pytest.mark.parametrize("definition", sorted(set(TABLES.values())))
def test_every_key_is_described_in_the_schema(definition: str) -> None:
    schema = SCHEMA["$defs"]
    for key, value in properties(definition).items():
        target = schema.get(value.get("$ref", "").rpartition("/")[2], {})
        assert value.get("description") or target.get("description"), key


@pytest.mark.parametrize("definition", sorted(set(TABLES.values())))
def test_the_example_shows_every_key(definition: str) -> None:
    text = EXAMPLE.read_text()
    missing = [key for key in properties(definition) if not re.search(rf"\b{key}:", text)]
    assert missing == []


def test_the_example_loads_and_warns_only_of_what_has_no_effect_yet() -> None:
    settings = load(EXAMPLE.read_bytes(), environ={})
    assert {warning.message for warning in settings.warnings} == {
        "is checked but has no effect in this release"
    }


def test_the_example_still_loads_with_its_store_and_token_set() -> None:
    settings = load(EXAMPLE.read_bytes(), environ={"HF_TOKEN": "x", "ALERT_URL": "json://h"})
    assert len(settings.alerts.urls) == 1


def test_the_schema_takes_sizes_and_durations_as_text() -> None:
    part_size, timeout = (properties("Transfer")[key] for key in ("part_size", "read_timeout"))
    assert part_size["default"] == "32MiB"
    assert timeout["default"] == "30s"
    (pattern,) = [kind["pattern"] for kind in part_size["anyOf"] if kind["type"] == "string"]
    assert re.search(pattern, "8MiB")
    assert re.search(pattern, "${SIZE}")
    assert not re.search(pattern, "8 apples")
