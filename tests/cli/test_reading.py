"""status, ls, show and diff, as a person and as a script call them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sync_daemon.cli.main import main
from tests.support.daemon import Ran

CONFIG = b'{"architectures": ["LlamaForCausalLM"]}'
WEIGHTS = b"w" * 5000
LONG = "deep/" * 30 + "a file whose name is long.bin"
STORED = frozenset(
    (
        "version",
        "commit",
        "manifest",
        "published_at",
        "pin",
        "hold",
        "tree",
        "files",
        "bytes",
        "problem",
    )
)
"""What `ls`, `show` and `status` tell of a version."""


@dataclass(frozen=True)
class Mirror:
    """A configuration, its origin and its store, all below one directory."""

    root: Path
    capture: pytest.CaptureFixture[str]

    @property
    def store(self) -> Path:
        return self.root / "store"

    def write(self, *models: str, store: str | None = None) -> None:
        """Declare `model` or `model@version`; each version has a folder of its own."""
        versions: dict[str, list[dict[str, str]]] = {}
        for name in models:
            model, _, version = name.partition("@")
            versions.setdefault(model, []).append({"name": version or "main", "revision": "main"})
        document = {
            "version": 1,
            "store": {"url": store or f"file://{self.store}"},
            "origins": {"disk": {"type": "directory", "path": str(self.root / "origin")}},
            "models": [
                {"name": model, "repo": model, "versions": found}
                for model, found in versions.items()
            ],
        }
        (self.root / "mirror.yaml").write_text(json.dumps(document))

    def put(self, model: str, files: dict[str, bytes]) -> None:
        """Make the origin's folder hold these files and no others."""
        folder = self.root / "origin" / model
        for old in sorted(folder.rglob("*"), reverse=True):
            old.rmdir() if old.is_dir() else old.unlink()
        for path, data in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)

    def run(self, *argv: str) -> Ran:
        self.capture.readouterr()
        code = main(["--config", str(self.root / "mirror.yaml"), *argv], environ={})
        out, err = self.capture.readouterr()
        return Ran(code, out, err)

    def sync(self, *argv: str, code: int = 0) -> None:
        ran = self.run("run-once", *argv)
        assert ran.code == code, ran.err + ran.out

    def snapshot(self) -> dict[str, bytes]:
        files = (path for path in self.store.rglob("*") if path.is_file())
        return {str(path.relative_to(self.store)): path.read_bytes() for path in files}


@pytest.fixture
def mirror(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Mirror:
    """A mirror of `org/a` in two versions, of which the second changed, and of `b`."""
    found = Mirror(tmp_path, capsys)
    found.put("org/a", {"config.json": CONFIG, "w.bin": WEIGHTS, "old.txt": b"old"})
    found.put("b", {LONG: WEIGHTS})
    found.write("org/a@1.0", "b")
    found.sync()
    found.put("org/a", {"config.json": CONFIG + b"\n", "w.bin": WEIGHTS, "new.txt": b"news"})
    found.write("org/a@1.0", "org/a@2.0", "b")
    found.sync("--version", "2.0")
    return found


def pointer(mirror: Mirror, model: str, version: str) -> Path:
    return mirror.store / f"models/{model}/{version}/current.json"


# -- status ----------------------------------------------------------------------------------


def test_status_shows_what_is_declared_and_what_is_stored(mirror: Mirror) -> None:
    mirror.write("org/a@2.0", "new")
    ran = mirror.run("status")
    assert ran.code == 0
    rows = {tuple(line.split()[:3]) for line in ran.out.splitlines()}
    assert ("MODEL", "VERSION", "STATE") in rows
    assert ("b", "main", "undeclared") in rows
    assert ("new", "main", "missing") in rows
    assert ("org/a", "1.0", "undeclared") in rows
    assert ("org/a", "2.0", "published") in rows
    assert "3 versions in file://" in ran.out
    assert "newest run " in ran.out


def test_status_as_json_has_exactly_the_documented_fields(mirror: Mirror) -> None:
    found = mirror.run("status", "--json").json
    assert set(found) == {"store", "last_run", "versions", "totals", "next_runs"}
    assert set(found["last_run"]) == {
        "run_id",
        "mode",
        "status",
        "interrupted",
        "started",
        "seconds",
    }
    sizes = {f"{one['model']}@{one['version']}": one["bytes"] for one in found["versions"]}
    assert sizes == {"b@main": 5000, "org/a@2.0": 5044, "org/a@1.0": 5042}
    for one in found["versions"]:
        assert set(one) == STORED | {"model", "state", "last"}
    assert found["totals"] == {
        "versions": 3,
        "files": 7,
        "bytes": 15_086,
        "distinct_bytes": 5086,
        "saved_bytes": 10_000,
    }


def test_status_tells_when_the_daemon_works_next(mirror: Mirror) -> None:
    """By the YAML alone: no daemon is asked."""
    runs = mirror.run("status", "--json").json["next_runs"]
    assert [run["job"] for run in runs] in (["incremental", "full"], ["full", "incremental"])
    for run in runs:
        assert set(run) == {"job", "at"}
        assert datetime.fromisoformat(run["at"]) > datetime.now(UTC) - timedelta(minutes=1)
    assert "the schedule's next runs: " in mirror.run("status").out


def test_status_before_the_first_run_finds_everything_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And makes nothing."""
    mirror = Mirror(tmp_path, capsys)
    mirror.write("a", "b")
    found = mirror.run("status", "--json")
    assert found.code == 0
    assert [one["state"] for one in found.json["versions"]] == ["missing", "missing"]
    assert found.json["store"] == f"file://{mirror.store}"
    assert found.json["last_run"] is None
    assert "no run is on record" in mirror.run("status").out
    assert not mirror.store.exists()


def test_status_tells_why_the_newest_run_failed_and_what_to_do(mirror: Mirror) -> None:
    mirror.write("org/a@1.0", "gone")
    mirror.sync(code=1)
    ran = mirror.run("status")
    assert "gone@main: failed" in ran.out
    assert "there is no folder" in ran.out
    assert "hint: " in ran.out
    last = {
        f"{one['model']}": one["last"] for one in mirror.run("status", "--json").json["versions"]
    }
    assert last["gone"]["error"]["kind"] == "repository_not_found"


def test_status_shows_a_damaged_version_and_all_others(mirror: Mirror) -> None:
    path = pointer(mirror, "org/a", "1.0")
    path.chmod(0o600)
    path.write_text("{")
    ran = mirror.run("status")
    assert ran.code == 0
    assert "org/a@1.0: damaged" in ran.out
    assert "sync-daemon verify" in ran.out
    states = {
        one["version"]: one["state"] for one in mirror.run("status", "--json").json["versions"]
    }
    assert states == {"1.0": "damaged", "2.0": "published", "main": "published"}


# -- ls --------------------------------------------------------------------------------------


def test_ls_lists_models(mirror: Mirror) -> None:
    ran = mirror.run("ls")
    assert ran.code == 0
    lines = [line.split() for line in ran.out.splitlines()]
    assert lines[0] == ["MODEL", "VERSIONS", "NEWEST", "PUBLISHED", "SIZE", "DISTINCT"]
    assert [(line[0], line[1]) for line in lines[1:]] == [("b", "1"), ("org/a", "2")]


def test_ls_of_a_model_lists_its_versions_newest_first(mirror: Mirror) -> None:
    ran = mirror.run("ls", "org/a")
    assert [line.split()[0] for line in ran.out.splitlines()] == ["VERSION", "2.0", "1.0"]


def test_ls_as_json_has_one_shape_for_one_model_and_for_all(mirror: Mirror) -> None:
    everything, one = mirror.run("ls", "--json").json, mirror.run("ls", "org/a", "--json").json
    assert set(everything) == {"store", "models"}
    assert [model["model"] for model in everything["models"]] == ["b", "org/a"]
    assert one["models"] == everything["models"][1:]
    model = one["models"][0]
    assert set(model) == {"model", "versions", "totals"}
    assert model["totals"]["distinct_bytes"] == 5086
    assert [version["version"] for version in model["versions"]] == ["2.0", "1.0"]
    assert set(model["versions"][0]) == STORED


def test_ls_of_an_empty_store_is_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mirror = Mirror(tmp_path, capsys)
    mirror.write("a")
    assert mirror.run("ls", "--json").json["models"] == []
    assert mirror.run("ls").code == 0


def test_ls_tells_of_a_damaged_version(mirror: Mirror) -> None:
    path = pointer(mirror, "org/a", "1.0")
    path.chmod(0o600)
    path.write_text("{")
    assert "1.0: damaged: " in mirror.run("ls", "org/a").out
    assert mirror.run("ls").code == 0


# -- show ------------------------------------------------------------------------------------


def test_show_of_a_version_tells_its_origin_and_every_file(mirror: Mirror) -> None:
    ran = mirror.run("show", "org/a@1.0")
    assert ran.code == 0
    assert "directory model org/a" in ran.out
    assert "LlamaForCausalLM" in ran.out
    assert "(5,042 bytes)" in ran.out
    lines = [line.split() for line in ran.out.splitlines()]
    assert [hashlib.sha256(WEIGHTS).hexdigest(), "5,000", "w.bin"] in lines
    assert [hashlib.sha256(b"old").hexdigest(), "3", "old.txt"] in lines


def test_show_of_a_model_shows_all_versions_and_files_only_when_asked(mirror: Mirror) -> None:
    brief, whole = mirror.run("show", "org/a").out, mirror.run("show", "org/a", "--files").out
    assert brief.index("org/a@2.0") < brief.index("org/a@1.0")
    assert "w.bin" not in brief
    assert whole.count("w.bin") == 2


def test_show_as_json_has_exactly_the_documented_fields(mirror: Mirror) -> None:
    found = mirror.run("show", "org/a@1.0", "--json").json
    assert set(found) == {"store", "model", "versions"}
    (version,) = found["versions"]
    assert set(version) == STORED | {
        "previous",
        "selection",
        "origin",
        "licence",
        "facts",
        "requires",
        "entries",
    }
    assert set(version["origin"]) == {"type", "repo", "repo_type", "revision", "commit"}
    assert version["facts"]["architecture"] == "LlamaForCausalLM"
    assert version["entries"][2] == {
        "path": "w.bin",
        "size": 5000,
        "sha256": hashlib.sha256(WEIGHTS).hexdigest(),
        "git_oid": None,
        "lfs": False,
    }
    assert mirror.run("show", "org/a", "--json").json["versions"][0]["entries"] is None


def test_a_file_name_cannot_drive_the_terminal(mirror: Mirror) -> None:
    """U+202E would turn the rest of the line around."""
    mirror.put("b", {"safe\u202egnp.exe": b"x"})
    mirror.sync("--model", "b")
    out = mirror.run("show", "b@main").out
    assert "\u202e" not in out
    assert "\\u202e" in out


def test_show_of_a_damaged_version_says_what_to_do(mirror: Mirror) -> None:
    (manifest,) = (mirror.store / "models/org/a/1.0/manifests").iterdir()
    manifest.unlink()
    ran = mirror.run("show", "org/a@1.0")
    assert ran.code == 3
    assert "manifest that is missing" in ran.err
    assert "sync-daemon verify" in ran.err
    whole = mirror.run("show", "org/a")
    assert whole.code == 0
    assert "org/a@2.0" in whole.out
    assert "damaged" in whole.out


# -- diff ------------------------------------------------------------------------------------


def test_diff_shows_what_was_added_changed_and_removed(mirror: Mirror) -> None:
    ran = mirror.run("diff", "org/a@1.0", "org/a@2.0")
    assert ran.code == 0
    lines = [line.strip() for line in ran.out.splitlines()]
    assert "+ new.txt  4 B" in lines
    assert "~ config.json  39 B -> 40 B" in lines
    assert "- old.txt  3 B" in lines
    assert "= 1 file the same, 4.9 KiB" in lines
    assert lines[-1] == "1 added, 1 changed, 1 removed; new content: 44 B"


def test_diff_of_equal_versions_shows_no_file(mirror: Mirror) -> None:
    ran = mirror.run("diff", "b@main", "b@main")
    assert ran.code == 0
    assert ran.out.splitlines()[-1] == "0 added, 0 changed, 0 removed; new content: 0 B"


def test_diff_as_json_has_exactly_the_documented_fields(mirror: Mirror) -> None:
    found = mirror.run("diff", "org/a@1.0", "b@main", "--json").json
    assert set(found) == {
        "store",
        "from",
        "to",
        "added",
        "changed",
        "removed",
        "same",
        "new_bytes",
    }
    assert (found["from"]["model"], found["to"]["model"]) == ("org/a", "b")
    assert [one["path"] for one in found["added"]] == [LONG]
    assert [one["path"] for one in found["removed"]] == ["config.json", "old.txt", "w.bin"]
    assert found["same"] == {"files": 0, "bytes": 0}
    assert found["new_bytes"] == 0
    changed = mirror.run("diff", "org/a@1.0", "org/a@2.0", "--json").json["changed"]
    assert [(one["path"], one["from"]["size"], one["to"]["size"]) for one in changed] == [
        ("config.json", 39, 40)
    ]


# -- all of them -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv",
    [
        ("ls", "nope"),
        ("ls", "b@main"),
        ("ls", "not a name"),
        ("show", "nope"),
        ("show", "b@nope"),
        ("show", "../b"),
        ("diff", "b@main", "b@nope"),
        ("diff", "b", "b@main"),
    ],
    ids=" ".join,
)
def test_an_unknown_or_impossible_name_is_a_usage_error(
    mirror: Mirror, argv: tuple[str, ...]
) -> None:
    ran = mirror.run(*argv)
    assert ran.code == 2
    assert ran.out == ""
    assert "hint: " in ran.err


VERBS = [
    ("status",),
    ("ls",),
    ("ls", "b"),
    ("show", "b"),
    ("show", "b@main"),
    ("diff", "org/a@1.0", "org/a@2.0"),
]


@pytest.mark.parametrize("argv", VERBS, ids=" ".join)
def test_reading_changes_nothing(mirror: Mirror, argv: tuple[str, ...]) -> None:
    before = mirror.snapshot()
    assert mirror.run(*argv).code == 0
    assert mirror.run(*argv, "--json").code == 0
    assert mirror.snapshot() == before


@pytest.mark.parametrize("argv", VERBS, ids=" ".join)
def test_a_store_that_cannot_be_used_is_exit_code_3(mirror: Mirror, argv: tuple[str, ...]) -> None:
    mirror.write("b", store=f"file://{mirror.root}/not/there")
    ran = mirror.run(*argv)
    assert (ran.code, ran.out) == (3, "")
    assert "not/there" in ran.err


@pytest.mark.parametrize("argv", VERBS, ids=" ".join)
def test_a_wrong_configuration_is_exit_code_2(mirror: Mirror, argv: tuple[str, ...]) -> None:
    (mirror.root / "mirror.yaml").write_text("version: 1\nmodles: []\n")
    ran = mirror.run(*argv)
    assert (ran.code, ran.out) == (2, "")
    assert "modles" in ran.err


def test_nothing_is_cut_when_nobody_is_looking(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A narrow terminal of the caller is no reason to lose a part of a name in a pipe."""
    monkeypatch.setenv("COLUMNS", "20")
    model = "organisation-" + "x" * 80 + "/model-" + "y" * 80
    mirror.put(model, {"f": b"x"})
    mirror.write(model)
    mirror.sync()
    for argv in (("status",), ("ls",)):
        assert any(line.startswith(f"{model} ") for line in mirror.run(*argv).out.splitlines())
    assert LONG in mirror.run("show", "b@main").out
