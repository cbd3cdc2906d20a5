"""`verify` and `doctor` as a person calls them: exit codes, tables and JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sync_daemon.cli.main import main
from sync_daemon.stores.minio_admin import ServerFacts, ask_server
from sync_daemon.stores.s3_sign import SigningKeys
from tests.support.certificates import make_certificate
from tests.support.servers import (
    ACCESS_KEY,
    BUCKET,
    SECRET_KEY,
    S3Server,
    keep_uploads_for_a_day,
)
from tests.support.webroot import Page, WebRoot

WEIGHTS = b"0123456789" * 1000
SECRET = "correct-horse-battery"


class Mirror:
    """A directory that is mirrored into another one, and the commands on it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.source, self.store = folder / "source", folder / "store"
        self.config = folder / "mirror.yaml"
        self._capsys = capsys
        (self.source / "tiny").mkdir(parents=True)
        (self.source / "tiny" / "model.safetensors").write_bytes(WEIGHTS)
        (self.source / "tiny" / "config.json").write_bytes(b"{}")
        self.configure(f"file://{self.store}")

    def configure(self, url: str, store: str = "", more: str = "") -> None:
        self.config.write_text(
            f"version: 1\nstore:\n  url: {url}\n{store}"
            f"origins:\n  disk: {{type: directory, path: {self.source}}}\n"
            f"models:\n  - {{name: tiny, repo: tiny}}\n{more}"
        )

    def __call__(self, *words: str, environ: Mapping[str, str] | None = None) -> tuple[int, str]:
        code = main(["--config", str(self.config), *words], environ=environ or {})
        captured = self._capsys.readouterr()
        self.talk = captured.err
        return code, captured.out

    def json(self, *words: str) -> tuple[int, dict[str, Any]]:
        code, out = self(*words, "--json")
        document: dict[str, Any] = json.loads(out)
        return code, document

    @property
    def blob(self) -> Path:
        """The stored weights."""
        digest = hashlib.sha256(WEIGHTS).hexdigest()
        return self.store / "blobs" / "sha256" / digest[:2] / digest

    def files(self) -> dict[str, tuple[bytes, int]]:
        """Everything in the store, with content and time."""
        return {
            str(path.relative_to(self.store)): (path.read_bytes(), path.stat().st_mtime_ns)
            for path in self.store.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def mirror(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Mirror:
    return Mirror(tmp_path, capsys)


@pytest.fixture
def published(mirror: Mirror) -> Mirror:
    assert mirror("run-once")[0] == 0
    return mirror


def rewrite(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


DAMAGES: dict[str, tuple[Callable[[Path], None], bool]] = {
    "missing": (Path.unlink, False),
    "wrong_size": (lambda path: rewrite(path, WEIGHTS[:-1]), False),
    "corrupt": (lambda path: rewrite(path, b"X" + WEIGHTS[1:]), True),
}
"""How a blob is damaged, and whether only `--deep` finds it."""


def test_a_sound_mirror_is_verified_without_a_write(published: Mirror) -> None:
    before = published.files()
    for words in (("verify",), ("verify", "--deep"), ("verify", "--model", "tiny")):
        code, out = published(*words)
        assert code == 0
        assert out.endswith("no damage\n")
    assert published.files() == before


def test_the_json_of_a_sound_mirror_has_these_fields(published: Mirror) -> None:
    code, document = published.json("verify", "--deep")
    assert (code, document.pop("seconds") >= 0) == (0, True)
    size = len(WEIGHTS) + 2
    assert document == {
        "status": "ok",
        "deep": True,
        "versions": 1,
        "manifests": 1,
        "blobs": 2,
        "bytes": size,
        "hashed_bytes": size,
        "damage": [],
        "damaged_versions": [],
        "unreferenced": {"blobs": 0, "bytes": 0},
    }


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_exits_4_and_names_the_file(published: Mirror, kind: str) -> None:
    damage, deep_only = DAMAGES[kind]
    damage(published.blob)
    code, out = published("verify", "--deep")
    assert code == 4
    row = next(line for line in out.splitlines() if line.startswith(kind))
    assert "tiny@main" in row
    assert "model.safetensors" in row
    assert published.blob.name in row
    assert "hint: " in out
    logged = [json.loads(line) for line in published.talk.splitlines()]
    told = next(line for line in logged if line["event"] == "damage.found")
    assert (told["level"], Path(told["key"]).name) == ("error", published.blob.name)
    assert told["problem"].startswith(f"{kind}: ")
    assert published("verify")[0] == (0 if deep_only else 4)


@pytest.mark.parametrize("kind", DAMAGES)
def test_the_json_of_damage_has_these_fields(published: Mirror, kind: str) -> None:
    DAMAGES[kind][0](published.blob)
    code, document = published.json("verify", "--deep")
    found = document["damage"][0]
    assert (code, document["status"], document["damaged_versions"]) == (
        4,
        "damaged",
        ["tiny@main"],
    )
    assert found.keys() == {"kind", "key", "message", "size", "found", "uses"}
    assert (found["kind"], found["size"]) == (kind, len(WEIGHTS))
    assert found["uses"][0].keys() == {"model", "version", "manifest", "path"}


@pytest.mark.parametrize("kind", DAMAGES)
def test_the_hint_repairs_a_blob(published: Mirror, kind: str) -> None:
    """What the hint says: delete the damaged blob, then run with --full."""
    DAMAGES[kind][0](published.blob)
    published.blob.unlink(missing_ok=True)
    assert published("run-once", "--full")[0] == 0
    assert published("verify", "--deep")[0] == 0


def test_the_hint_repairs_a_manifest(published: Mirror) -> None:
    """What the hint says: delete the manifest and its pointer, then run."""
    folder = published.store / "models" / "tiny" / "main"
    manifest = next((folder / "manifests").iterdir())
    rewrite(manifest, b"{}")
    code, out = published("verify")
    assert (code, "current.json" in out) == (4, True)
    manifest.unlink()
    (folder / "current.json").unlink()
    assert published("run-once")[0] == 0
    assert published("verify", "--deep")[0] == 0


def test_an_unknown_model_exits_2(published: Mirror) -> None:
    assert published("verify", "--model", "tinny") == (2, "")
    assert "tinny" in published.talk


def test_a_model_that_left_the_yaml_is_verified_too(published: Mirror) -> None:
    published.config.write_text(published.config.read_text().replace("name: tiny", "name: other"))
    published.blob.unlink()
    assert published("verify")[0] == 4
    assert published("verify", "--model", "tiny")[0] == 4
    assert published("verify", "--model", "other")[0] == 0


def test_a_store_that_is_not_there_exits_3_and_is_not_called_sound(mirror: Mirror) -> None:
    code, out = mirror("verify")
    assert (code, out) == (3, "")
    assert not mirror.store.exists()


def test_deep_says_on_stderr_how_much_it_reads(published: Mirror) -> None:
    published("verify", "--deep")
    lines = [json.loads(line) for line in published.talk.splitlines()]
    told = [line["message"] for line in lines if line["event"] == "verify.progress"]
    assert told == ["reading 2 objects, 9.8 KiB"]


def test_damage_that_a_person_finds_is_an_alert_until_all_is_read_again(published: Mirror) -> None:
    sound = published.blob.read_bytes()
    rewrite(published.blob, b"X" + sound[1:])
    assert published("verify", "--deep")[0] == 4
    assert alerts(published) == [("corrupt_blob", "firing", "critical")]
    assert published("verify", "--deep")[0] == 4
    assert alerts(published) == [], "it was told, and alerts.json knows it"
    rewrite(published.blob, sound)
    for words in (("verify",), ("verify", "--deep", "--model", "tiny")):
        assert published(*words)[0] == 0
        assert alerts(published) == [], "this is not all of it"
    assert published("verify", "--deep")[0] == 0
    assert alerts(published) == [("corrupt_blob", "resolved", "critical")]


def alerts(mirror: Mirror) -> list[tuple[str, str, str]]:
    """Name, state and severity of the alerts that the last command told."""
    lines = [json.loads(line) for line in mirror.talk.splitlines()]
    return [(x["alert"], x["state"], x["severity"]) for x in lines if x["event"] == "alert"]


def test_doctor_finds_nothing_wrong_with_a_good_mirror(published: Mirror) -> None:
    before = published.files()
    code, document = published.json("doctor")
    assert code == 0
    states = {check["name"]: check["status"] for check in document["checks"]}
    names = (
        "configuration memory proxies certificates store format write checksum conditional_put"
        " clock space origin:disk"
    )
    assert list(states) == names.split()
    assert {name: state for name, state in states.items() if name != "space"} == dict.fromkeys(
        (name for name in names.split() if name != "space"), "ok"
    )
    assert document["checks"][0].keys() == {"name", "status", "message", "hint"}
    assert published.files() == before


def test_doctor_makes_nothing_before_the_first_run(mirror: Mirror) -> None:
    code, out = mirror("doctor")
    assert code == 0
    assert "the first run makes it" in out
    assert not mirror.store.exists()


def test_doctor_exits_3_when_the_store_cannot_be_used(mirror: Mirror) -> None:
    mirror.configure(f"file://{mirror.store}/deeper")
    code, out = mirror("doctor")
    assert code == 3
    assert "hint: mount it" in out


def test_doctor_exits_3_when_the_store_holds_something_else(mirror: Mirror) -> None:
    mirror.store.mkdir()
    (mirror.store / "notes.txt").write_text("mine")
    code, out = mirror("doctor")
    assert (code, "notes.txt" in out) == (3, True)


def test_doctor_exits_1_when_an_origin_fails_and_still_checks_the_rest(published: Mirror) -> None:
    published.config.write_text(
        published.config.read_text().replace(str(published.source), "/nonexistent")
    )
    code, document = published.json("doctor")
    assert (code, document["status"]) == (1, "fail")
    failed = [check["name"] for check in document["checks"] if check["status"] == "fail"]
    assert failed == ["origin:disk"]


def test_doctor_repeats_the_warnings_of_the_configuration(published: Mirror) -> None:
    published.configure(f"file://{published.store}", more="transfer: {connections: 100}\n")
    text = published.config.read_text()
    published.config.write_text(text.replace("repo: tiny}", "repo: tiny, group: nlp}"))
    code, out = published("doctor")
    assert code == 0
    lines = [line for line in out.splitlines() if line.startswith("warn")]
    assert [line.split()[1] for line in lines if "space" not in line] == ["configuration", "memory"]
    assert "group" in lines[0]
    assert "64 of 100 connections" in lines[1]


def test_a_wrong_configuration_exits_2(mirror: Mirror) -> None:
    mirror.config.write_text("version: 1\nstore: {url: file:///x, sped: 1}\n")
    for verb in ("doctor", "verify"):
        assert mirror(verb) == (2, "")
        assert "sped" in mirror.talk


def test_doctor_never_shows_a_proxys_password(published: Mirror) -> None:
    environ = {"https_proxy": f"http://me:{SECRET}@proxy.example:3128"}
    _, out = published("doctor", environ=environ)
    assert "proxy.example:3128" in out
    assert SECRET not in out + published.talk


def use_server(mirror: Mirror, endpoint: str, *, bucket: str = BUCKET, secret: str = "") -> None:
    keys = f"{{access_key: {ACCESS_KEY}, secret_key: {secret or SECRET_KEY}}}"
    mirror.configure(f"s3://{bucket}/doctor", f"  endpoint: {endpoint}\n  credentials: {keys}\n")


def test_doctor_says_when_a_variable_names_no_certificates(published: Mirror) -> None:
    _, out = published("doctor", environ={"SSL_CERT_FILE": "/no/such.pem"})
    (line,) = [line for line in out.splitlines() if " certificates " in line]
    assert line.startswith("fail")
    assert "SSL_CERT_FILE: cannot read certificates from /no/such.pem: No such file" in line


def test_doctor_looks_at_the_certificate_of_the_gateway(published: Mirror, tmp_path: Path) -> None:
    assert " gateway " not in published("doctor")[1]
    pem = make_certificate(tmp_path)

    def line() -> str:
        tls = f"gateway: {{tls: {{cert_file: {pem}, key_file: {pem}}}}}\n"
        published.configure(f"file://{published.store}", more=tls)
        (found,) = [one for one in published("doctor")[1].splitlines() if " gateway " in one]
        return found

    assert line().startswith("ok")
    pem.write_text("-----BEGIN NOTHING-----\n")
    assert line().startswith("fail")


def test_doctor_tells_everything_of_a_minio(mirror: Mirror, minio_server: S3Server) -> None:
    keep_uploads_for_a_day(minio_server)
    use_server(mirror, minio_server.endpoint)
    code, document = mirror.json("doctor")
    assert code == 0
    checks = {check["name"]: check for check in document["checks"]}
    assert checks["checksum"]["message"].startswith("the store checks crc32c")
    assert checks["conditional_put"]["message"] == "a second writer is refused"
    assert checks["space"]["message"].endswith("GiB free")
    assert "24 h" in checks["uploads"]["message"]
    assert checks["credentials"]["message"] == "from the configuration"
    assert SECRET_KEY not in json.dumps(document)


@pytest.mark.parametrize("keys", [SigningKeys(ACCESS_KEY, "wrong"), SigningKeys("nobody", "wrong")])
def test_keys_without_administration_rights_learn_nothing(
    minio_server: S3Server, keys: SigningKeys
) -> None:
    assert ask_server(minio_server.endpoint, keys) == ServerFacts()


def test_a_minio_tells_space_and_the_life_of_uploads(minio_server: S3Server) -> None:
    keep_uploads_for_a_day(minio_server)
    facts = ask_server(minio_server.endpoint, SigningKeys(ACCESS_KEY, SECRET_KEY))
    assert facts.uploads_expire == timedelta(hours=24)
    assert facts.free_bytes


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://127.0.0.1:9/below"])
def test_a_server_that_is_not_there_tells_nothing(endpoint: str) -> None:
    assert ask_server(endpoint, SigningKeys(ACCESS_KEY, SECRET_KEY)) == ServerFacts()


def test_a_server_that_is_no_minio_is_fine(mirror: Mirror, moto_server: S3Server) -> None:
    use_server(mirror, moto_server.endpoint)
    code, document = mirror.json("doctor")
    checks = {check["name"]: check for check in document["checks"]}
    assert code == 0
    assert checks["space"]["message"] == "the store does not say how much space is free"
    assert checks["checksum"]["status"] == "warn"
    assert "uploads" not in checks


def test_doctor_explains_a_bucket_that_cannot_be_used(
    mirror: Mirror, minio_server: S3Server
) -> None:
    use_server(mirror, minio_server.endpoint, bucket="nowhere")
    code, out = mirror("doctor")
    assert (code, "there is no such bucket" in out) == (3, True)
    use_server(mirror, minio_server.endpoint, secret=SECRET)
    code, out = mirror("doctor")
    assert (code, "the secret key is wrong" in out) == (3, True)
    assert SECRET not in out + mirror.talk


def test_verify_finds_damage_in_a_bucket(mirror: Mirror, minio_server: S3Server) -> None:
    from tests.support.servers import make_client  # noqa: PLC0415 - needs boto3

    use_server(mirror, minio_server.endpoint)
    assert mirror("run-once")[0] == 0
    assert mirror("verify", "--deep")[0] == 0
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    key = f"doctor/blobs/sha256/{digest[:2]}/{digest}"
    make_client(minio_server).put_object(Bucket=BUCKET, Key=key, Body=b"X" + WEIGHTS[1:])
    assert mirror("verify")[0] == 0
    code, document = mirror.json("verify", "--deep")
    assert (code, document["damage"][0]["kind"]) == (4, "corrupt")


def test_verify_exits_3_when_the_store_does_not_answer(mirror: Mirror) -> None:
    use_server(mirror, "http://127.0.0.1:9")
    with mirror.config.open("a") as config:
        config.write("transfer: {attempts: 1}\n")
    assert mirror("verify") == (3, "")
    assert mirror("doctor")[0] == 3


@pytest.mark.parametrize(
    ("folder", "file", "state", "said"),
    [
        (200, 200, "ok", "answers (status 200)"),
        (404, 200, "ok", "answers (status 404)"),
        (401, 200, "fail", "status 401"),
        (403, 200, "ok", "answers (status 403), and has x.bin"),
        (403, 403, "fail", "x.bin: "),
    ],
    ids=["fine", "no index", "wrong token", "forbidden index", "forbidden"],
)
def test_doctor_finds_out_whether_a_web_server_refuses_its_token(
    mirror: Mirror, folder: int, file: int, state: str, said: str
) -> None:
    """Many servers forbid to look at a folder without an index, whatever the token is."""
    pages = {"/w": Page(status=folder), "/w/x.bin": Page(b"x", status=file)}
    with WebRoot(pages) as web:
        mirror.config.write_text(
            f"version: 1\nstore: {{url: 'file://{mirror.store}'}}\n"
            f"origins:\n  web: {{type: http, url: '{web.url}/w', headers: {{X-Token: wrong}}}}\n"
            "models:\n  - {name: m, files: [{path: x.bin}]}\n"
        )
        code, document = mirror.json("doctor")
    (check,) = (one for one in document["checks"] if one["name"] == "origin:web")
    assert (check["status"], said in check["message"]) == (state, True)
    assert code == (state == "fail")
    if state == "fail":
        assert check["hint"] == "does it need a token? see origins.web.headers"


@pytest.mark.parametrize(
    ("variables", "said", "hint"),
    [
        ({}, "no credentials were found", "set AWS_ACCESS_KEY_ID"),
        ({"AWS_ACCESS_KEY_ID": "somebody"}, "AWS_SECRET_ACCESS_KEY", "set AWS_ACCESS_KEY_ID"),
        ({"AWS_PROFILE": "nope"}, "nope", "check the profile that AWS_PROFILE names"),
    ],
    ids=["none", "half", "profile"],
)
def test_doctor_says_once_why_there_are_no_credentials(
    mirror: Mirror,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    said: str,
    hint: str,
) -> None:
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
    ):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    mirror.configure("s3://bucket/doctor", "  endpoint: http://127.0.0.1:9\n")
    code, out = mirror("doctor", environ=variables)
    assert code == 3, "the store cannot be used"
    lines = [line for line in out.splitlines() if line.startswith("fail")]
    assert [line.split()[1] for line in lines] == ["credentials"]
    assert said in lines[0]
    assert f"hint: {hint}" in out


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ("[{name: tiny, repo: tiny}]", "valid; 1 model, 1 version or tag pattern declared"),
        (
            "[{name: a, repo: tiny}, {name: b, repo: .}]",
            "valid; 2 models, 2 versions or tag patterns declared",
        ),
    ],
)
def test_doctor_counts_in_the_singular_too(mirror: Mirror, models: str, said: str) -> None:
    mirror.config.write_text(
        f"version: 1\nstore: {{url: 'file://{mirror.store}'}}\n"
        f"origins:\n  disk: {{type: directory, path: {mirror.source}}}\nmodels: {models}\n"
    )
    out = mirror("doctor")[1]
    assert said in out
    assert f"{mirror.source}: readable, 1 folder\n" in out
