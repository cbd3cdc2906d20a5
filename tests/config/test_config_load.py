"""What a right file means."""

from datetime import datetime, time, timedelta
from pathlib import Path

import pytest
import yaml

from sync_daemon.config import (
    ConfigError,
    DirectoryPlace,
    EndpointEntry,
    HuggingFaceOrigin,
    S3Place,
    Secret,
    Settings,
    effective,
    effective_values,
    find_config,
    load,
    resolve_models,
)
from sync_daemon.domain.errors import ConfigurationError
from sync_daemon.domain.selection import Selection
from sync_daemon.domain.wanted import Wanted, WantedTags

CONTRACT = Path(__file__).with_name("contract.yaml")
SMALL = "version: 1\nstore: {url: s3://ai-mirror}\nmodels: [{name: a, repo: o/a}]\n"


def read(text: str, **environ: str) -> Settings:
    return load(text.encode(), environ=environ)


def test_the_contract_example_loads_and_means_what_it_says() -> None:
    settings = load(CONTRACT.read_bytes(), environ={"HF_TOKEN": "hf_x"})
    hub = settings.origins["hf"]
    assert isinstance(hub, HuggingFaceOrigin)
    assert hub.endpoints == ("https://huggingface.co", "https://hf-mirror.com")
    assert hub.token == Secret("hf_x")
    assert settings.store.url == S3Place("ai-mirror", "hub")
    assert settings.transfer.part_size == 32 * 1024**2
    assert settings.transfer.min_speed == 16 * 1024
    assert settings.transfer.read_timeout == timedelta(seconds=30)
    assert settings.transfer.bandwidth.constant == 0
    assert settings.retention.max_delete == 0.1
    assert settings.alerts.slow_transfer.below == 1_000_000
    assert settings.alerts.urls == ()


def test_the_contract_example_resolves_to_what_the_engine_needs() -> None:
    (model,) = resolve_models(load(CONTRACT.read_bytes(), environ={}))
    pinned, followed, tags = model.versions
    assert model.selection == Selection(
        ("*.safetensors", "*.json", "tokenizer*"), ("*.msgpack", "*.h5")
    )
    assert isinstance(pinned, Wanted)
    assert (pinned.version, pinned.revision[:7], pinned.origin) == ("1.0", "4782ad2", "hf")
    assert isinstance(followed, Wanted)
    assert followed.revision == "main"
    assert isinstance(tags, WantedTags)
    assert (tags.pattern, tags.latest, tags.label) == ("v*", 3, "tags:v*")


def test_keys_of_later_releases_draw_a_warning_each() -> None:
    settings = load(CONTRACT.read_bytes(), environ={})
    assert [warning.path for warning in settings.warnings] == [
        "retention.history",
        "retention.grace",
        "retention.undeclared",
        "retention.max_delete",
    ]


def test_keys_that_work_draw_no_warning_beside_those_that_do_not() -> None:
    text = "schedule: {prune: '0 6 * * sat', incremental: 15m}\nretention: {reports: 30d}"
    assert [one.path for one in read(SMALL + text).warnings] == ["schedule.prune"]


@pytest.mark.parametrize("url", ["file:///srv/mirror", "s3://bucket/hub"])
def test_what_is_shown_as_in_force_can_be_read_again(url: str) -> None:
    settings = read(SMALL.replace("s3://ai-mirror", url))
    shown = effective(settings)
    assert effective(read(shown)) == shown
    assert "gateway" not in yaml.safe_load(shown)
    served = yaml.safe_load(effective(read(SMALL + "gateway: {listen: 127.0.0.1:8080}")))
    assert served["gateway"]["listen"] == "127.0.0.1:8080"


def test_a_secret_that_starts_runs_must_be_long_and_somebody_must_listen() -> None:
    text = "metrics: {listen: off}\nschedule: {webhook_secret: short, api_token: %s}"
    warnings = read(SMALL + text % ("x" * 16)).warnings
    assert [(str(one.path), one.message) for one in warnings] == [
        ("schedule.webhook_secret", "has no effect while metrics.listen is off"),
        ("schedule.webhook_secret", "is so short that it can be guessed"),
        ("schedule.api_token", "has no effect while metrics.listen is off"),
    ]
    assert read(SMALL + "schedule: {webhook_secret: %s}" % ("x" * 16)).warnings == ()


def test_a_time_zone_alone_draws_no_warning() -> None:
    assert read(SMALL + "schedule: {timezone: Europe/Berlin}").warnings == ()


def test_without_origins_there_is_the_hub() -> None:
    settings = read(SMALL)
    (model,) = resolve_models(settings)
    assert list(settings.origins) == ["hf"]
    assert settings == read(SMALL + "origins: {}")
    assert [str(version) for version in model.versions] == ["a@main"]


def test_an_endpoint_may_have_a_priority_of_its_own() -> None:
    text = SMALL + (
        "origins: {hf: {type: huggingface, endpoints: [https://a.example/, {url: https://b.example},"
        " {url: https://c.example/, priority: '${N}'}]}}"
    )
    settings = read(text, N="1")
    hub = settings.origins["hf"]
    assert isinstance(hub, HuggingFaceOrigin)
    assert hub.endpoints == (
        "https://a.example",
        EndpointEntry(url="https://b.example"),
        EndpointEntry(url="https://c.example", priority=1),
    )
    assert load(effective(settings).encode(), environ={}).origins == settings.origins
    assert settings.warnings == ()


def test_the_failure_rate_alone_draws_no_warning() -> None:
    assert read(SMALL + "alerts: {failure_rate: {above: 10%, within: 6h}}").warnings == ()


def test_the_only_origin_needs_no_name() -> None:
    text = SMALL + "origins: {mine: {type: huggingface, endpoints: [https://hub.example/]}}"
    (model,) = resolve_models(read(text))
    assert model.origin == "mine"


def test_the_nearest_patterns_replace_the_others() -> None:
    settings = read("""
version: 1
store: {url: s3://ai-mirror}
defaults: {include: ["*.json"], exclude: ["x*"]}
models:
  - name: a
    repo: o/a
    include: ["*.bin"]
    versions:
      - {name: one, revision: r1}
      - {name: two, revision: r2, include: [], exclude: ["y*"]}
""")
    one, two = resolve_models(settings)[0].versions
    assert one.selection == Selection(("*.bin",), ("x*",))
    assert two.selection == Selection((), ("y*",))


def test_an_http_model_lists_its_files() -> None:
    settings = read(
        """
version: 1
store: {url: s3://ai-mirror}
origins: {web: {type: http, url: https://h.example/base, headers: {X-Key: abc}}}
models:
  - {name: a, files: [{path: x/y.bin, sha256: "%s"}], versions: [{name: "1"}]}
"""
        % ("AB" * 32)
    )
    (model,) = resolve_models(settings)
    assert model.files[0].sha256 == "ab" * 32
    assert model.repository.name == ""


@pytest.mark.parametrize(
    ("written", "meant"),
    [("${N}", 7), ("${MISSING:-9}", 9), ('"${N}"', 7), ("${EMPTY:-}", 16)],
)
def test_numbers_may_come_from_the_environment(written: str, meant: int) -> None:
    settings = read(SMALL + f"transfer:\n  connections: {written}", N="7", EMPTY="")
    assert settings.transfer.connections == meant


def test_two_dollars_are_one() -> None:
    settings = read(SMALL + "defaults: {exclude: ['a$${X}', 'b$c']}")
    assert settings.defaults.exclude == ("a${X}", "b$c")


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_secret_file_is_read_without_its_final_newline(tmp_path: Path, mark: str) -> None:
    """Nor with the mark that some editors put first."""
    file = tmp_path / "token"
    file.write_text(f"{mark}hf_from_file\n")
    settings = read(SMALL + f"origins: {{hf: {{type: huggingface, token_file: {file}}}}}")
    hub = settings.origins["hf"]
    assert isinstance(hub, HuggingFaceOrigin)
    assert hub.token is not None
    assert hub.token.reveal() == "hf_from_file"
    assert "hf_from_file" not in effective(settings) + repr(settings) + str(hub.token)


def test_shown_configuration_hides_secrets_and_loads_again() -> None:
    text = CONTRACT.read_text()
    shown = effective(load(text.encode(), environ={"HF_TOKEN": "hf_x", "ALERT_URL": "u://s"}))
    assert "***" in shown
    assert "hf_x" not in shown
    assert "u://s" not in shown
    plain = effective(load(text.encode(), environ={}))
    assert effective(load(plain.encode(), environ={})) == plain


def test_the_mask_of_a_secret_is_no_secret() -> None:
    with pytest.raises(ConfigError, match="mask"):
        read(SMALL + "origins: {hf: {type: huggingface, token: '***'}}")


def test_a_proxy_with_a_password_is_a_secret_and_its_host_is_shown() -> None:
    origins = "origins: {hf: {type: huggingface, proxy: 'http://me:p%40ss@proxy.example:3128/'}}"
    settings = read(SMALL + origins)
    hub = settings.origins["hf"]
    assert isinstance(hub, HuggingFaceOrigin)
    assert hub.proxy == Secret("http://me:p%40ss@proxy.example:3128")
    shown = effective(settings) + repr(settings)
    assert "proxy: http://***@proxy.example:3128" in shown
    assert "p%40ss" not in shown


@pytest.mark.parametrize(
    ("written", "meant"), [("off", "off"), ("'off'", "off"), ("http://h:1/", "http://h:1")]
)
def test_a_proxy_without_a_password_is_shown(written: str, meant: str) -> None:
    settings = read(f"version: 1\nstore: {{url: s3://ai-mirror, proxy: {written}}}\n")
    assert settings.store.proxy == meant
    assert read(effective(settings)).store.proxy == meant


def test_anchors_and_merge_keys_work() -> None:
    settings = read("""
version: 1
store: {url: s3://ai-mirror}
models:
  - &base {name: a, repo: o/a, include: ["*.json"]}
  - {<<: *base, name: b, repo: o/b}
""")
    assert [m.name for m in settings.models] == ["a", "b"]
    assert settings.models[1].include == ("*.json",)


def test_a_relative_store_starts_at_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = read("version: 1\nstore: {url: 'file:./mirror'}")
    assert settings.store.url == DirectoryPlace(tmp_path / "mirror")


def test_bare_words_of_yaml_mean_what_they_look_like() -> None:
    settings = read(SMALL + "gateway: {redirect: never, listen: off}\nmetrics: {listen: off}")
    assert settings.gateway.listen is None
    assert settings.metrics.listen is None
    yes = read("version: 1\nstore: {url: s3://ai-mirror, conditional_writes: no}")
    assert yes.store.conditional_writes == "no"
    assert read("version: 1\nstore: {url: s3://abc, region: 2024-01-01}").store.region == (
        "2024-01-01"
    )


def test_a_timetable_holds_until_its_next_entry() -> None:
    table = read(SMALL + 'transfer: {bandwidth: "08:00,10MiB 22:00,off"}').transfer.bandwidth
    monday = datetime(2026, 11, 23, 7, 59)  # noqa: DTZ001  a local time
    assert table.rate_at(monday) == 0
    assert table.rate_at(monday.replace(hour=8, minute=0)) == 10 * 1024**2
    assert table.rate_at(monday.replace(hour=23)) == 0


def test_a_timetable_may_name_weekdays() -> None:
    text = 'transfer: {bandwidth: "Mon-08:00,512KiB sat-00:00,off"}'
    table = read(SMALL + text).transfer.bandwidth
    sunday = datetime(2026, 11, 22, 12, 0)  # noqa: DTZ001  a local time
    assert table.rate_at(sunday) == 0
    assert table.rate_at(datetime(2026, 11, 23, 8, 0)) == 512 * 1024  # noqa: DTZ001
    assert table.rate_at(datetime(2026, 11, 27, 23, 0)) == 512 * 1024  # noqa: DTZ001
    assert str(table) == "Mon-08:00,512KiB Sat-00:00,off"


def test_a_window_may_run_past_midnight() -> None:
    window = read(SMALL + 'schedule: {window: "22:00-06:00"}').schedule.window
    assert window is not None
    assert window.holds(time(23))
    assert window.holds(time(5, 59))
    assert not window.holds(time(6))


def test_two_entries_for_the_same_revision_draw_a_warning() -> None:
    settings = read(SMALL.replace("]", ", {name: b, repo: o/a}]"))
    (warning,) = settings.warnings
    assert "same revision of o/a as a@main" in warning.message


@pytest.mark.parametrize(
    ("versions", "answer"),
    [
        ('{name: "1.0", revision: main}, {name: "1.10", revision: main}', "a@1.10"),
        ('{name: "2.0", revision: main}, {name: main, revision: main}', "a@main"),
    ],
)
def test_the_warning_names_the_version_that_the_gateway_takes(versions: str, answer: str) -> None:
    """Of one model that is the newest by version order, or the one named as the revision."""
    document = "version: 1\nstore: {url: s3://ai-mirror}\nmodels: [{name: a, repo: o/a, "
    (warning,) = read(f"{document}versions: [{versions}]}}]").warnings
    assert f"the gateway answers with {answer} by" in str(warning)


def test_a_file_without_models_draws_a_warning() -> None:
    (warning,) = read("version: 1\nstore: {url: s3://ai-mirror}").warnings
    assert "no models" in warning.message


def test_effective_values_are_what_json_can_hold() -> None:
    assert effective_values(read(SMALL))["transfer"]["part_size"] == "32MiB"


class TestFindConfig:
    def test_the_option_comes_before_the_variable(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").touch()
        found = find_config("a.yaml", {"SYNC_DAEMON_CONFIG": "b.yaml"}, tmp_path)
        assert found == tmp_path / "a.yaml"

    def test_the_variable_comes_before_the_usual_places(self, tmp_path: Path) -> None:
        (tmp_path / "b.yaml").touch()
        (tmp_path / "config").mkdir()
        (tmp_path / "config/mirror.yaml").touch()
        environ = {"SYNC_DAEMON_CONFIG": "b.yaml"}
        assert find_config(None, environ, tmp_path) == tmp_path / "b.yaml"
        assert find_config(None, {}, tmp_path) == tmp_path / "config/mirror.yaml"

    def test_a_dash_means_standard_input(self, tmp_path: Path) -> None:
        assert find_config("-", {}, tmp_path) == "-"

    def test_a_named_file_that_is_missing_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"nope\.yaml, which --config names"):
            find_config("nope.yaml", {}, tmp_path)

    @pytest.mark.skipif(
        Path("/etc/sync-daemon/mirror.yaml").exists(), reason="this machine has one"
    )
    def test_no_file_anywhere_names_all_places(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError) as caught:
            find_config(None, {}, tmp_path)
        for place in ("--config", "SYNC_DAEMON_CONFIG", "config/mirror.yaml", "/etc/sync-daemon"):
            assert place in str(caught.value)
