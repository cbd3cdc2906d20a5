"""`accept MODEL@VERSION`: a person lets a moved tag through."""

from collections.abc import Iterator

import pytest

from tests.cli.conftest import Cli
from tests.support.hub import Hub, Repo


@pytest.fixture
def repo(cli: Cli) -> Iterator[Repo]:
    """A published pin, whose tag then moved upstream."""
    with Hub() as hub:
        repo = hub.repo("org/m")
        repo.tag("v1", repo.commit({"a.json": b"{}"}))
        origins = {"hf": {"type": "huggingface", "endpoints": [hub.endpoint]}}
        versions = [{"name": "1.0", "revision": "v1"}, {"tags": "v*"}]
        cli.write(
            {"name": "m", "repo": "org/m", "versions": versions},
            origins=origins,
            defaults={"origin": "hf"},
        )
        assert cli("run-once").code == 0
        repo.tag("v1", repo.commit({"a.json": b'{"moved": 1}'}))
        yield repo


def test_a_moved_tag_is_refused_with_the_command_that_accepts_it(cli: Cli, repo: Repo) -> None:
    """I3: the pin does not change by itself."""
    before = (cli.store / "models/m/1.0/current.json").read_bytes()
    ran = cli("run-once")
    assert ran.code == 1
    assert "sync-daemon accept m@1.0" in ran.out
    assert (cli.store / "models/m/1.0/current.json").read_bytes() == before
    assert cli("plan").code == 1


def test_accepting_publishes_what_the_origin_has_now_and_touches_no_other(
    cli: Cli, repo: Repo
) -> None:
    ran = cli("accept", "m@1.0", "--json")
    assert ran.code == 0, ran.err
    assert set(ran.versions()) == {"m@1.0"}
    assert ran.versions()["m@1.0"]["commit"] == repo.head("v1")
    assert cli("run-once", "--version", "1.0").code == 0
    assert cli("run-once", "--version", "v1").code == 1, "the tag's own version still waits"
    assert "published" in cli("accept", "m@v1").out
    assert cli("run-once").code == 0


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("m", "MODEL@VERSION"),
        ("m@2.0", "no such version"),
        ("n@1.0", "no such model"),
        ("m@a b", "a b"),
    ],
)
def test_a_wrong_target_is_2(cli: Cli, repo: Repo, target: str, words: str) -> None:
    before = cli.snapshot()
    ran = cli("accept", target)
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.err
    assert cli.snapshot() == before


def test_a_tag_that_is_not_there_fails(cli: Cli, repo: Repo) -> None:
    ran = cli("accept", "m@v7")
    assert ran.code == 1
    assert "no tag gives version v7" in ran.err


def test_that_there_was_nothing_to_accept_is_said(cli: Cli, repo: Repo) -> None:
    first, again = cli("accept", "m@1.0"), cli("accept", "m@1.0")
    assert (first.code, again.code) == (0, 0)
    assert "nothing to accept" not in first.out
    assert again.out.endswith("nothing to accept: m@1.0 was as the origin and the YAML have it\n")
    assert cli("accept", "m@1.0", "--json").versions()["m@1.0"]["status"] == "unchanged"
