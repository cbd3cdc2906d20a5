"""The command line as a whole: arguments, streams, pipes, secrets, and what a terminal is shown."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sync_daemon.cli.call import exit_code
from sync_daemon.cli.command import EXIT_CODES
from sync_daemon.cli.main import main
from sync_daemon.cli.verbs import all_commands
from sync_daemon.domain import errors
from tests.cli.conftest import Cli
from tests.support.daemon import COMMAND, Daemon
from tests.support.hub import Hub

TRICK = "a\x1b[2Jb\x9b31mc\u202ed.txt"
"""A file name that clears the screen, turns it red and writes backwards."""


@pytest.mark.parametrize("command", all_commands(), ids=lambda command: str(command.name))
def test_every_help_lists_the_exit_codes_of_its_command(
    command: object, capsys: pytest.CaptureFixture[str]
) -> None:
    name, exits = command.name, command.exits  # type: ignore[attr-defined]
    assert main([*name.split(), "--help"]) == 0
    listed = capsys.readouterr().out.partition("exit codes:\n")[2].splitlines()
    assert [int(line.split()[0]) for line in listed] == list(exits)
    assert set(exits) <= set(EXIT_CODES)


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["nonsense"],
        ["config"],
        ["run-once", "--nonsense"],
        ["run-once", "--mod", "m"],
        ["accept"],
        ["--log-level", "loud", "version"],
    ],
)
def test_a_wrong_command_line_is_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv, environ={}) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "usage:" in err


def test_an_unknown_option_is_refused_with_the_usage_of_its_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for argv in (["diff", "a@1", "b@2", "c@3"], ["--log-level", "info", "diff", "a", "b", "--x"]):
        assert main(argv, environ={}) == 2
        err = capsys.readouterr().err
        assert "usage: sync-daemon diff" in err
        assert f"unrecognized arguments: {argv[-1]}" in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigurationError("x"), 2),
        (errors.StoreUnavailable("x"), 3),
        (errors.OriginUnavailable("x"), 3),
        (errors.StoreRefused("x"), 3),
        (errors.StoreFull("x"), 3),
        (errors.LockedElsewhere("x"), 5),
        (errors.Interrupted("x"), 130),
        (KeyboardInterrupt(), 130),
        (errors.OriginLied("x"), 1),
        (ZeroDivisionError(), 1),
    ],
)
def test_an_error_that_ends_a_command_has_its_exit_code(error: BaseException, code: int) -> None:
    assert exit_code(error) == code


@pytest.mark.parametrize(
    "argv",
    [
        ["--config", "FILE", "--log-level", "error", "config", "show", "--json"],
        ["config", "--config", "FILE", "--log-level", "error", "show", "--json"],
        ["config", "show", "--json", "-c", "FILE", "--log-level", "error"],
        ["-c", "/not/there", "config", "show", "--json", "-c", "FILE"],
    ],
)
def test_global_options_stand_before_or_after_the_verb(
    cli: Cli, argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [str(cli.config) if word == "FILE" else word for word in argv]
    assert main(argv, environ={}) == 0
    assert json.loads(capsys.readouterr().out)["models"][0]["name"] == "m"


def test_a_dash_reads_the_file_from_standard_input(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(cli.config.read_bytes())))
    assert main(["run-once", "--json", "-c", "-"], environ={}) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "ok"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"version: 2\n")))
    assert main(["plan", "-c", "-"], environ={}) == 2
    assert "standard input:1:" in capsys.readouterr().err


def test_the_log_level_silences_the_log_and_not_the_data(cli: Cli) -> None:
    ran = cli("--log-level", "error", "run-once", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["status"] == "ok"
    debug = cli("run-once", "--log-level", "debug", "--full").err
    assert "bytes.moved" not in debug
    assert "version.unchanged" in debug


def test_every_log_line_of_a_run_names_the_run(cli: Cli) -> None:
    ran = cli("run-once", "--json", "--log-level", "debug")
    lines = [json.loads(line) for line in ran.err.splitlines()]
    assert len(lines) >= 6
    assert {line["run_id"] for line in lines} == {ran.json["run_id"]}
    assert all(list(line)[:3] == ["timestamp", "level", "event"] for line in lines)


def test_control_characters_in_file_names_do_not_reach_the_terminal(cli: Cli) -> None:
    """The origin refuses such names; the message that says so must not do the harm itself."""
    cli.put("org/m", {TRICK: b"x"})
    for argv in (
        ("plan", "--files"),
        ("plan", "--json"),
        ("run-once", "--log-format", "text"),
        ("run-once", "--log-format", "json"),
        ("plan", "--model", "\x1b[2J", "--log-format", "text"),
    ):
        ran = cli(*argv)
        shown = (ran.out + ran.err).replace("\n", "")
        assert ran.code in {0, 1, 2}
        assert shown.isprintable(), [char for char in shown if not char.isprintable()]
    assert "x1b[2J" in shown


def test_control_characters_in_the_yaml_do_not_reach_the_terminal(cli: Cli) -> None:
    cli.config.write_text('version: 1\nstore: {url: "file:///x"}\n"a\\e[2J\\x9b": 1\nmodels: []\n')
    ran = cli("config", "validate")
    assert ran.code == 2
    assert ran.err.replace("\n", "").isprintable()


def test_an_encoding_that_lacks_a_character_gets_an_escape(cli: Cli) -> None:
    cli.put("org/m", {"🦙.bin": b"x"})
    daemon = Daemon(cli.config, {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"})
    ran = daemon.run("plan", "--files")
    assert ran.code == 0, ran.err
    assert "+ \\U0001f999.bin" in ran.out
    added = daemon.run("plan", "--json").json["models"][0]["plan"]["added"]
    assert "🦙.bin" in added


def test_a_reader_that_goes_away_is_no_error(cli: Cli) -> None:
    cli.put("org/m", {f"{number:05}.txt": b"x" for number in range(3000)})
    words = [*COMMAND, "--config", str(cli.config), "plan", "--files", "--log-level", "error"]
    with (
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as plan,
        subprocess.Popen(["head", "-c", "1"], stdin=plan.stdout, stdout=subprocess.PIPE) as head,
    ):
        assert plan.stdout
        assert plan.stderr
        plan.stdout.close()
        assert head.communicate(timeout=30)[0] == b"m"
        assert plan.wait(timeout=60) == 0
        assert plan.stderr.read() == b""


@pytest.fixture
def gated(cli: Cli) -> Iterator[Hub]:
    """A Hub that knows one token, a model that fails, and secrets wherever one can be."""
    cli.environ |= {
        "HF_TOKEN": "hf_s3cret-token",
        "KEY": "s3cret-key",
        "AWS_SECRET_ACCESS_KEY": "s3cret-aws",
        "https_proxy": "http://somebody:s3cret-proxy@127.0.0.1:9",
    }
    with Hub(tokens={"hf_s3cret-token"}) as hub:
        hub.repo("org/m").commit({"a.json": b"{}"})
        hub.repo("org/gated", gated="auto").commit({"a.json": b"{}"})
        web = {"type": "http", "url": "http://127.0.0.1:9", "headers": {"X-Key": "${KEY}"}}
        hf = {"type": "huggingface", "endpoints": [hub.endpoint], "token": "${HF_TOKEN}"}
        cli.write(
            {"name": "m", "repo": "org/m"},
            {"name": "gated", "repo": "org/gated"},
            {"name": "h", "repo": "x", "origin": "web", "files": [{"path": "s3cret-key/a"}]},
            origins={"hf": hf, "web": web},
            defaults={"origin": "hf"},
            transfer={"attempts": 1},
        )
        yield hub


def test_no_secret_is_in_any_output_or_in_the_store(cli: Cli, gated: Hub) -> None:
    """I7; the path that repeats a secret shows that what gets through is masked at the end."""
    for argv in (
        ("run-once", "--json"),
        ("run-once", "--log-level", "debug", "--log-format", "text"),
        ("plan", "--files"),
        ("config", "show"),
        ("config", "show", "--json"),
        ("config", "validate"),
        ("doctor",),
    ):
        ran = cli(*argv)
        assert "s3cret" not in ran.out + ran.err, argv
    assert gated.authorized("api"), "the token was used"
    stored = {path: data for path, data in cli.snapshot().items() if b"s3cret-t" in data}
    assert stored == {}


def test_credentials_in_a_url_are_refused_and_not_repeated(cli: Cli) -> None:
    store = {"url": "s3://bucket", "endpoint": "http://somebody:s3cret-pw@127.0.0.1:9"}
    origins = {"hf": {"type": "huggingface", "endpoints": ["http://a:s3cret-pw@127.0.0.1:9"]}}
    cli.write(
        {"name": "m", "repo": "org/m"}, store=store, origins=origins, defaults={"origin": "hf"}
    )
    ran = cli("config", "validate")
    assert ran.code == 2
    assert len(ran.err.splitlines()) == 2
    assert "s3cret" not in ran.out + ran.err


def test_a_fault_of_the_program_is_told_as_one_with_its_trace_on_request(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I7 holds for traces too."""
    cli.environ["HF_TOKEN"] = "hf_s3cret-token"

    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise ZeroDivisionError("hf_s3cret-token")

    monkeypatch.setattr(sys, "stdout", Broken())
    ran = cli("plan", "--json", "--log-format", "text", "--log-level", "error")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines()[0] == "error: ZeroDivisionError: ***"
    assert "this is a fault of sync-daemon" in ran.err
    assert "Traceback" not in ran.err
    traced = cli("plan", "--json", "--log-format", "text", "--log-level", "debug")
    assert traced.code == 1
    assert "Traceback" in traced.err
    assert "s3cret" not in traced.err


@pytest.mark.parametrize("verb", ["run-once", "plan", "status", "ls", "history", "store status"])
def test_json_is_nothing_where_an_error_ends_the_command(cli: Cli, verb: str) -> None:
    (cli.folder / "photos").mkdir()
    (cli.folder / "photos/cat.jpg").write_bytes(b"x")
    cli.write({"name": "m", "repo": "org/m"}, store={"url": (cli.folder / "photos").as_uri()})
    ran = cli(*verb.split(), "--json")
    assert (ran.code, ran.out) == (3, "")
    assert "cat.jpg" in ran.err
