"""The command `pull`: what it prints, its exit codes, and where it finds mirrors and tokens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_daemon.cli.main import main
from tests.support.daemon import Ran
from tests.support.hub import Hub, Synthetic

MIB = 1024**2


class Shell:
    """A user's shell: `environ` is all that the command sees of one."""

    def __init__(self, home: Path, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self.hub, self._capsys = home, hub, capsys
        self.environ = {"HOME": str(home), "SYNC_DAEMON_MIRRORS": hub.endpoint}

    def __call__(self, *argv: str) -> Ran:
        self._capsys.readouterr()
        code = main(["pull", *argv], environ=self.environ)
        out, err = self._capsys.readouterr()
        return Ran(code, out, err)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as found:
        repo = found.repo("org/m")
        commit = repo.commit({"config.json": b"{}", "w.safetensors": Synthetic(6 * MIB)})
        repo.tag("v1", commit)
        yield found


@pytest.fixture
def shell(
    tmp_path: Path, hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(tmp_path, hub, capsys)


def test_people_are_told_what_came_from_where(shell: Shell, hub: Hub) -> None:
    ran = shell("org/m@v1", "--output", "out")
    assert ran.code == 0, ran.err
    assert f"{hub.endpoint} in" in ran.out
    assert "2 files, 6.0 MiB (6,291,458 bytes): 2 linked" in ran.out
    assert (shell.home / "out/config.json").read_bytes() == b"{}"
    assert (shell.home / ".cache/sync-daemon/mirror.json").is_file()


def test_json_is_one_object_whose_fields_are_stable(shell: Shell, hub: Hub) -> None:
    document = shell("org/m@v1", "-o", "out", "--json").json
    assert set(document) == {
        *("model", "version", "repo_type", "commit", "status", "output", "hf_cache", "files"),
        *("bytes", "seconds", "site", "sites", "warnings", "errors"),
    }
    assert set(document["files"]) == {"total", "fetched", "linked", "copied", "kept", "removed"}
    assert document["bytes"] == {"total": 6291458, "fetched": 6291458, "reused": 0}
    assert document["output"] == str(shell.home / "out")
    again = shell("org/m@v1", "-o", "out", "--json").json
    assert again["bytes"] == {"total": 6291458, "fetched": 0, "reused": 6291458}


def test_a_dry_run_tells_and_writes_nothing(shell: Shell, hub: Hub) -> None:
    document = shell("org/m", "--dry-run", "--json").json
    assert document["status"] == "planned"
    assert [one["path"] for one in document["plan"]] == ["config.json", "w.safetensors"]
    assert "+ w.safetensors  6.0 MiB" in shell("org/m", "-o", "out", "--dry-run", "-v").out
    assert list(shell.home.iterdir()) == []
    assert hub.count("resolve") == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("org/m",), 2, "nothing says where to"),
        ((), 2, "no model is named"),
        (("org/m", "-o", "out", "--connections", "0"), 2, "0 connections"),
        (("org/none", "-o", "out"), 1, "no such repository"),
        (("org/m@none", "-o", "out"), 1, "no such revision"),
        (("org/m", "-o", "out", "--mirror", "http://127.0.0.1:9"), 3, "--offline takes what"),
        (("org/m", "-o", "out", "--offline"), 3, "does not hold it"),
        (("org/m", "-o", "out", "--include", "nothing"), 1, "none of the 2 files"),
    ],
)
def test_each_failure_has_its_code_and_says_what_to_do(
    shell: Shell, arguments: tuple[str, ...], code: int, words: str
) -> None:
    ran = shell(*arguments)
    assert ran.code == code, ran.err
    assert words in ran.out + ran.err
    assert not (shell.home / "out").exists()


def test_a_failure_is_in_the_json_too(shell: Shell) -> None:
    (error,) = shell("org/none", "-o", "out", "--json").json["errors"]
    assert error["kind"] == "repository_not_found"
    assert "--token-file" in error["hint"]


def test_a_yaml_for_clients_needs_no_store_and_is_strict(shell: Shell, hub: Hub) -> None:
    del shell.environ["SYNC_DAEMON_MIRRORS"]
    config = shell.home / "pull.yaml"
    text = f"""
version: 1
mirror_sites: [{{name: office, url: "{hub.endpoint}"}}]
pull: {{model: org/m, version: v1, output: {shell.home}/out, cache: {shell.home}/c}}
"""
    config.write_text(text)
    assert shell("--config", str(config), "--json").json["site"] == "office"
    assert (shell.home / "c/mirror.json").is_file()
    config.write_text(text.replace("mirror_sites", "mirror_site"))
    ran = shell("--config", str(config))
    assert ran.code == 2
    assert "did you mean 'mirror_sites'?" in ran.err


def test_a_mirror_yaml_that_says_nothing_of_pull_is_not_read(shell: Shell) -> None:
    """On the mirror's own host it lies in a usual place, with variables of the daemon."""
    (shell.home / "config").mkdir()
    place = shell.home / "config/mirror.yaml"
    place.write_text('version: 1\nstore: {url: "${NOT_SET}"}\n')
    assert shell("org/m", "-o", "out").code == 0
    place.write_text('version: 1\npull: {cache: "${NOT_SET}"}\n')
    assert shell("org/m", "-o", "out").code == 2


def test_flags_stand_above_the_environment_and_that_above_hf_endpoint(
    shell: Shell, hub: Hub
) -> None:
    shell.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"
    assert shell("org/m", "-o", "out").code == 0
    shell.environ["SYNC_DAEMON_MIRRORS"] = "http://127.0.0.1:9"
    assert shell("org/m", "-o", "out", "--mirror", hub.endpoint).code == 0
    del shell.environ["SYNC_DAEMON_MIRRORS"]
    shell.environ["HF_ENDPOINT"] = hub.endpoint
    assert shell("org/m", "-o", "out").code == 0


def test_tokens_reach_the_mirror_and_no_output(shell: Shell, hub: Hub) -> None:
    hub.tokens = {"file-token-1", "our-token-2", "their-token-3"}
    (shell.home / "token").write_text("file-token-1\n")
    shell.environ |= {"SYNC_DAEMON_TOKEN": "our-token-2", "HF_TOKEN": "their-token-3"}
    ran = [shell("org/m", "-o", "out", "--token-file", "token", "--log-level", "debug")]
    ran.append(shell("org/m", "-o", "out", "--log-level", "debug"))
    del shell.environ["SYNC_DAEMON_TOKEN"]
    ran.append(shell("org/m", "-o", "out", "--log-level", "debug"))
    sent = [one.authorization for one in hub.authorized("info")]
    assert list(dict.fromkeys(sent)) == [f"Bearer {token}" for token in sorted(hub.tokens)]
    for one in ran:
        assert one.code == 0
        assert not any(token in one.out + one.err for token in hub.tokens)


def test_a_token_file_that_cannot_be_read_is_told(shell: Shell) -> None:
    ran = shell("org/m", "-o", "out", "--token-file", "nothing")
    assert ran.code == 2
    assert "nothing: the token cannot be read" in ran.err


def test_usual_places_of_other_libraries_come_from_the_environment(shell: Shell, hub: Hub) -> None:
    shell.environ |= {"HF_HOME": str(shell.home / "hf"), "TORCH_HOME": str(shell.home / "torch")}
    hub.repo("org/net").commit({"net.pth": b"weights"})
    assert shell("org/net", "--hf-cache", "--torch-home").code == 0
    assert (shell.home / "hf/hub/models--org--net/refs/main").is_file()
    assert (shell.home / "torch/hub/checkpoints/net.pth").is_file()


def test_archives_are_unpacked_on_request(shell: Shell, hub: Hub) -> None:
    import io  # noqa: PLC0415
    import zipfile  # noqa: PLC0415

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("inner/a.txt", "a")
    repo = hub.repo("org/zip")
    repo.commit({"data.zip": packed.getvalue()})
    assert shell("org/zip", "-o", "out").code == 0
    assert not (shell.home / "out/data").exists()
    assert shell("org/zip", "-o", "out", "--unpack").code == 0
    assert (shell.home / "out/data/inner/a.txt").read_text() == "a"
    repo.commit({"data/inner/b.txt": b"b"})
    ran = shell("org/zip", "-o", "other", "--unpack")
    assert ran.code == 1
    assert "is a file of the version" in ran.out
