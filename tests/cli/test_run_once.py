"""`run-once`: what it prints, what it leaves behind, and its exit codes."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from sync_daemon.engine.clock import SystemClock
from sync_daemon.engine.locks import Locks
from sync_daemon.engine.retry import Retry
from sync_daemon.stores.local import LocalStore
from tests.cli.conftest import Cli
from tests.support.hub import Hub
from tests.support.servers import S3Server

RUN = {
    *("run_id", "mode", "status", "interrupted", "started", "seconds", "selected", "models"),
    "endpoints",
}
MODEL = {
    "model": str,
    "version": str,
    "status": str,
    "commit": str,
    "manifest": str,
    "tree": type(None),
    "files": {"total": int, "uploaded": int, "reused": int, "removed": int, "copied": int},
    "bytes": {"total": int, "fetched": int, "uploaded": int, "reused": int, "copied": int},
    "requests": {"origin": int, "store": int},
    "seconds": float,
    "reasons": list,
    "warnings": list,
    "error": type(None),
    "moved": list,
}


def shape(value: Any) -> Any:
    """The types of a JSON object's fields."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return type(value)


def events(err: str) -> list[str]:
    """The events of JSON log lines; fails when stderr holds anything else."""
    return [json.loads(line)["event"] for line in err.splitlines()]


@contextmanager
def held(cli: Cli, scope: str) -> Iterator[None]:
    """Hold a lock as another owner would."""
    clock = SystemClock(threading.Event())

    def ignore(_: object) -> None:
        return

    with (
        closing(LocalStore(cli.store)) as store,
        closing(Locks(store, Retry(1, ignore, clock), clock, ignore)) as locks,
        locks.hold(scope),
    ):
        yield


def test_the_first_run_publishes_and_the_second_moves_nothing(cli: Cli) -> None:
    first = cli("run-once", "--json")
    assert first.code == 0, first.err
    assert first.versions()["m@main"]["status"] == "published"
    assert first.versions()["m@main"]["bytes"]["fetched"] == 5002
    second = cli("run-once", "--json").versions()["m@main"]
    assert (second["status"], second["bytes"]["fetched"]) == ("unchanged", 0)


def test_the_json_has_exactly_the_documented_fields(cli: Cli) -> None:
    document = cli("run-once", "--json").json
    assert set(document) == RUN
    assert [shape(model) for model in document["models"]] == [MODEL]
    assert (document["mode"], document["status"]) == ("incremental", "ok")
    manifest = document["models"][0]["manifest"]
    assert manifest.startswith("models/m/main/manifests/")
    assert (cli.store / manifest).is_file()


def test_full_is_said_in_the_report(cli: Cli) -> None:
    assert cli("run-once", "--full", "--json").json["mode"] == "full"


def test_people_get_a_table_on_stdout_and_the_log_stays_on_stderr(cli: Cli) -> None:
    ran = cli("run-once")
    heading, row, total = ran.out.splitlines()
    assert heading.split() == ["MODEL", "VERSION", "STATUS", "FILES", "FETCHED", "TIME"]
    assert row.split()[:6] == ["m", "main", "published", "2", "4.9", "KiB"]
    assert "ok, 4.9 KiB (5,002 bytes) fetched" in total
    expected = ["run.started", "version.planned", "version.published", "run.finished"]
    assert events(ran.err) == expected


def test_a_missing_model_fails_alone_and_the_error_has_a_hint(cli: Cli) -> None:
    """I6."""
    cli.write({"name": "m", "repo": "org/m"}, {"name": "gone", "repo": "org/gone"})
    ran = cli("run-once")
    assert ran.code == 1
    assert "gone@main: failed" in ran.out
    assert "  hint: " in ran.out
    assert "partial" in ran.out.splitlines()[-1]
    again = cli("run-once", "--json")
    assert again.code == 1
    error = again.versions()["gone@main"]["error"]
    assert set(error) == {"kind", "message", "hint"}
    assert error["kind"] == "repository_not_found"
    assert again.versions()["m@main"]["status"] == "unchanged"


def test_only_the_named_model_is_touched(cli: Cli) -> None:
    cli.put("org/n", {"a.bin": b"a"})
    cli.write({"name": "m", "repo": "org/m"}, {"name": "n", "repo": "org/n"})
    assert set(cli("run-once", "--json", "--model", "n").versions()) == {"n@main"}
    both = cli("run-once", "--json", "--model", "n", "--model", "m")
    assert set(both.versions()) == {"n@main", "m@main"}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--model", "nn"), "models that are there: m"),
        (("--version", "9.9"), "versions that are there: main"),
        (("--model", "m", "--model", "nn"), "no such model in the configuration: nn"),
        (("--version", "main", "--version", "bad name"), "bad name"),
    ],
)
@pytest.mark.parametrize("verb", [("run-once",), ("run-once", "--dry-run"), ("plan",)])
def test_an_unknown_model_or_version_is_2_and_nothing_is_touched(
    cli: Cli, verb: tuple[str, ...], arguments: tuple[str, ...], named: str
) -> None:
    ran = cli(*verb, *arguments)
    assert ran.code == 2
    assert named in ran.err
    assert ran.out == ""
    assert not cli.store.exists()


def test_a_wrong_file_is_2_and_every_problem_is_listed(cli: Cli) -> None:
    cli.config.write_text(
        "version: 1\n"
        f"store: {{url: '{cli.store.as_uri()}', endpoynt: x}}\n"
        "models:\n"
        "  - {name: m, repo: org/m, versions: [{name: '1', revison: a}]}\n"
        "  - {repo: org/n}\n"
        "transfer: {connections: many}\n"
    )
    ran = cli("run-once", "--json")
    assert ran.code == 2
    assert ran.out == ""
    problems = ran.err.splitlines()
    for line, words in ((2, "endpoynt"), (4, "revison"), (5, "name"), (6, "connections")):
        assert any(f"{cli.config}:{line}:" in one and words in one for one in problems), ran.err
    assert not cli.store.exists()


def test_a_file_that_is_not_there_is_2(cli: Cli) -> None:
    cli.config.unlink()
    ran = cli("run-once")
    assert (ran.code, ran.out) == (2, "")
    assert str(cli.config) in ran.err


def test_a_store_that_does_not_answer_is_3(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    keys = {"access_key": "somebody", "secret_key": "s3cret-of-the-store"}
    store = {"url": "s3://bucket", "endpoint": f"http://127.0.0.1:{port}", "credentials": keys}
    cli.write({"name": "m", "repo": "org/m"}, store=store, transfer={"attempts": 1})
    ran = cli("run-once", "--json")
    assert ran.code == 3, ran.err
    assert ran.out == ""
    last = json.loads(ran.err.splitlines()[-1])
    assert (last["event"], last["level"]) == ("command.failed", "error")
    assert last["kind"] == "store_unavailable"
    assert str(port) in last["message"]
    assert "s3cret" not in ran.err


def test_a_missing_bucket_is_3_and_says_how_to_make_it(cli: Cli, moto_server: S3Server) -> None:
    keys = {"access_key": moto_server.access_key, "secret_key": moto_server.secret_key}
    store = {"url": "s3://nobody-made-this", "endpoint": moto_server.endpoint, "credentials": keys}
    cli.write({"name": "m", "repo": "org/m"}, store=store)
    for verb in ("run-once", "plan"):
        ran = cli(verb)
        assert (ran.code, ran.out) == (3, "")
        last = json.loads(ran.err.splitlines()[-1])
        assert "bucket" in last["message"]
        assert last["hint"]


def test_a_directory_below_a_missing_one_is_3(cli: Cli) -> None:
    """It may be a disk that is not mounted: nothing is made there."""
    cli.write({"name": "m", "repo": "org/m"}, store={"url": (cli.folder / "not/there").as_uri()})
    ran = cli("run-once", "--log-format", "text")
    assert (ran.code, ran.out) == (3, "")
    assert "error: " in ran.err
    assert "hint: " in ran.err
    assert not (cli.folder / "not").exists()


def test_no_origin_that_can_be_reached_is_3(cli: Cli) -> None:
    disk = {"type": "directory", "path": str(cli.folder / "unmounted")}
    cli.write({"name": "m", "repo": "org/m"}, origins={"disk": disk}, transfer={"attempts": 1})
    ran = cli("run-once", "--json")
    assert ran.code == 3
    assert ran.versions()["m@main"]["error"]["kind"] == "origin_unavailable"


def test_what_is_locked_elsewhere_is_5_and_the_rest_is_done(cli: Cli) -> None:
    cli.put("org/n", {"a.bin": b"a"})
    cli.write({"name": "m", "repo": "org/m"}, {"name": "n", "repo": "org/n"})
    assert cli("run-once", "--model", "n").code == 0
    cli.put("org/n", {"b.bin": b"b"})
    with held(cli, "m@main"):
        alone = cli("run-once", "--json", "--model", "m")
        assert alone.code == 5
        skipped = alone.versions()["m@main"]
        assert skipped["status"] == "skipped"
        assert "process" in skipped["reasons"][0]
        both = cli("run-once", "--json")
        assert both.code == 0
        assert both.versions()["n@main"]["status"] == "published"
        assert cli("plan").code == 0, "a plan takes no lock"
    assert cli("run-once", "--model", "m").code == 0


def test_a_tag_with_a_slash_may_be_named_as_it_is_and_one_that_is_not_there_fails(
    cli: Cli,
) -> None:
    with Hub() as hub:
        repo = hub.repo("org/m")
        repo.tag("release/v1", repo.commit({"a.json": b"{}"}))
        origins = {"hf": {"type": "huggingface", "endpoints": [hub.endpoint]}}
        model = {"name": "m", "repo": "org/m", "versions": [{"tags": "release/*"}]}
        cli.write(model, origins=origins, defaults={"origin": "hf"})
        found = cli("run-once", "--json", "--version", "release/v1")
        assert found.code == 0, found.err
        assert found.versions()["m@release%2Fv1"]["status"] == "published"
        absent = cli("run-once", "--json", "--version", "release/v2")
    assert absent.code == 1
    assert absent.json["models"] == []
    assert "release%2Fv2" in json.loads(absent.err.splitlines()[-1])["message"]
