"""`config validate|show|schema` and `version`: they look, and touch nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sync_daemon import __version__
from sync_daemon.config import json_schema
from tests.cli.conftest import Cli

WRONG = "version: 1\nstore: {url: 'file:///x', colour: red}\nmodels: [{repo: a/b}]\n"


def test_a_valid_file_is_0_and_is_counted(cli: Cli) -> None:
    ran = cli("config", "validate")
    assert (ran.code, ran.out) == (0, "valid: 1 model, 1 version or tag pattern declared\n")
    document = cli("config", "validate", "--json").json
    assert document == {"valid": True, "problems": [], "warnings": []}


def test_several_versions_are_told_in_the_plural(cli: Cli) -> None:
    cli.write({"name": "m", "repo": "org/m"}, {"name": "n", "repo": "org/m"})
    out = cli("config", "validate").out
    assert out == "valid: 2 models, 2 versions or tag patterns declared\n"


def test_an_alert_url_that_run_would_refuse_is_found_by_validate_and_doctor(cli: Cli) -> None:
    cli.write({"name": "m", "repo": "org/m"}, alerts={"urls": ["nothing"]})
    ran = cli("config", "validate", "--json")
    assert (ran.code, ran.json["valid"]) == (2, False)
    (problem,) = ran.json["problems"]
    assert problem.startswith(f"{cli.config}:1:")
    assert ": alerts.urls[0]: is no URL that Apprise knows, write it" in problem
    assert ran.err == f"{problem}\n"
    examined = cli("doctor", "--json")
    assert examined.code == 1
    (check,) = (one for one in examined.json["checks"] if one["name"] == "alerts")
    assert check["status"] == "fail"


def test_warnings_do_not_make_a_file_invalid(cli: Cli) -> None:
    cli.write()
    ran = cli("config", "validate", "--log-format", "text")
    assert ran.code == 0
    assert ran.err.startswith("warning: ")
    document = cli("config", "validate", "--json").json
    assert document["valid"] is True
    assert len(document["warnings"]) == 1


def test_a_file_for_clients_is_valid_without_a_store(cli: Cli) -> None:
    cli.config.write_text("version: 1\nmirror_sites: [{url: 'http://a'}, {url: 'http://b'}]\n")
    ran = cli("config", "validate")
    assert (ran.code, ran.out) == (0, "valid: a file for `pull`, 2 mirror sites\n")


@pytest.mark.parametrize(
    "text",
    [
        "version: 1\nmirror_sites: [{url: 'http://a', colour: red}]\n",
        "version: 1\nmirror_sites: [{url: 'http://a'}]\nmodels: [{repo: a/b}]\n",
        "version: 1\n",
    ],
    ids=["unknown key", "a mirror's file that lost its store", "nothing"],
)
def test_a_file_that_neither_pull_nor_a_mirror_can_use_is_invalid(cli: Cli, text: str) -> None:
    cli.config.write_text(text)
    assert cli("config", "validate").code == 2


def test_every_problem_is_on_stderr_with_its_line(cli: Cli) -> None:
    cli.config.write_text(WRONG)
    ran = cli("config", "validate")
    assert (ran.code, ran.out) == (2, "")
    assert f"{cli.config}:2:" in ran.err
    assert f"{cli.config}:3:" in ran.err


def test_the_problems_are_in_the_json_as_well(cli: Cli) -> None:
    cli.config.write_text(WRONG)
    ran = cli("config", "validate", "--json")
    assert ran.code == 2
    assert ran.json["valid"] is False
    assert ran.json["problems"] == ran.err.splitlines()


def test_models_that_name_different_files_of_one_folder_are_named_each_in_its_line(
    cli: Cli,
) -> None:
    """An HTTP origin cannot list: only the YAML says what is there."""
    origins = {"web": {"type": "http", "url": "http://127.0.0.1:9/x"}}
    models = [
        {"name": name, "repo": "same", "origin": "web", "files": [{"path": path}]}
        for name, path in (("a", "1.bin"), ("b", "2.bin"), ("c", "3.bin"), ("d", "1.bin"))
    ]
    cli.write(*models, origins=origins, defaults={})
    for verb in (("config", "validate"), ("plan",)):
        ran = cli(*verb)
        assert ran.code == 2
        found = [line for line in ran.err.splitlines() if "different files of same" in line]
        assert [line.partition(": ")[2].partition(":")[0] for line in found] == [
            "models[1].files",
            "models[2].files",
        ]
        assert all("than the model 'a'" in line for line in found)


def test_models_may_write_the_digest_of_one_file_in_either_case(cli: Cli) -> None:
    models = [
        {"name": name, "repo": "same", "origin": "web", "files": [{"path": "a", "sha256": digest}]}
        for name, digest in (("a", "ab" * 32), ("b", "AB" * 32))
    ]
    cli.write(*models, origins={"web": {"type": "http", "url": "http://h/x"}}, defaults={})
    assert cli("config", "validate").code == 0


def test_show_fills_in_defaults_and_hides_secrets(cli: Cli) -> None:
    cli.environ["KEY"] = "s3cret-key"
    store = {
        "url": "s3://bucket/x",
        "credentials": {"access_key": "somebody", "secret_key": "${KEY}"},
    }
    cli.write({"name": "m", "repo": "org/m"}, store=store)
    ran = cli("config", "show")
    assert ran.code == 0
    shown: dict[str, Any] = yaml.safe_load(ran.out)
    assert shown["store"]["credentials"]["secret_key"] == "***"
    assert shown["transfer"]["connections"] == 16
    assert cli("config", "show", "--json").json["store"] == shown["store"]
    assert "s3cret" not in ran.out + ran.err


def test_the_schema_needs_no_file(cli: Cli) -> None:
    cli.config.unlink()
    ran = cli("config", "schema")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json == json_schema()


def test_version_names_what_a_bug_report_needs(cli: Cli) -> None:
    assert cli("version").out.startswith(f"sync-daemon {__version__}, store format 1\n")
    document = cli("version", "--json").json
    assert set(document) == {"version", "format", "python", "libraries"}
    assert document["version"] == __version__
    assert {"boto3", "huggingface_hub"} <= set(document["libraries"])


@pytest.mark.parametrize("verb", ["validate", "show"])
def test_looking_makes_no_store(cli: Cli, verb: str) -> None:
    assert cli("config", verb).code == 0
    assert not cli.store.exists()


def test_the_file_is_found_by_variable_and_below_the_working_directory(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sync_daemon.cli.main import main  # noqa: PLC0415 - without the fixture's --config

    assert main(["config", "validate"], environ={"SYNC_DAEMON_CONFIG": str(cli.config)}) == 0
    place = tmp_path / "work" / "config"
    place.mkdir(parents=True)
    (place / "mirror.yaml").write_text(cli.config.read_text())
    monkeypatch.chdir(place.parent)
    assert main(["config", "show", "--json"], environ={}) == 0
    assert json.loads(capsys.readouterr().out.partition("\n")[2])["models"][0]["name"] == "m"


def test_every_alert_url_that_is_wrong_is_told_in_its_line(cli: Cli) -> None:
    cli.write(alerts={"urls": ["nothing", "json://localhost", "neither"]})
    cli.config.write_text(cli.config.read_text().replace('"neither"', '\n"neither"'))
    ran = cli("config", "validate")
    first, second = ran.err.splitlines()
    assert (ran.code, ran.out) == (2, "")
    assert f"{cli.config}:1:" in first
    assert "alerts.urls[0]" in first
    assert f"{cli.config}:2:1: alerts.urls[2]: " in second
