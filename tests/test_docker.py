"""What docker/ names exists, fits together and is hardened; no engine is needed for that.

docs/docker.md tells what was tried with an engine.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.daemon import COMMAND
from tests.support.nginx import find_nginx
from tests.support.servers import BUCKET, S3Server

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
MINIO_DOCKERFILE = (DOCKER / "minio.Dockerfile").read_text()
COMPOSE_TEXT = (DOCKER / "compose.yaml").read_text()
COMPOSE = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
MIRROR = DOCKER / "mirror.yaml"
ENVIRONMENT = (DOCKER / ".env.example").read_text()
PASSWORDS = {"MINIO_ROOT_PASSWORD", "GRAFANA_PASSWORD"}
REQUIRED = {"MINIO_ROOT_USER", *PASSWORDS}
BY_SERVICE = pytest.mark.parametrize("name", SERVICES)
HEALTHCHECK = DOCKER / "healthcheck.py"
HADOLINT = str(Path(sys.executable).with_name("hadolint"))  # of the group `dev`


def promtool() -> str:
    """A program of Debian's package `prometheus`; where CI asks for it, it has to be there."""
    found = shutil.which("promtool")
    if found is None and os.environ.get("SYNC_DAEMON_REQUIRE_PROMETHEUS"):
        pytest.fail("promtool is missing: install the package prometheus")
    return found or pytest.skip("promtool is not installed (Debian's package prometheus)")


def call(*command: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **(environ or {})},
    )


def mounts(service: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Source, target and options of the mounts of a service."""
    found = [(*one.split(":"), "")[:3] for one in service.get("volumes", [])]
    return [(source, target, options) for source, target, options in found]


def default(dockerfile: str, argument: str) -> str:
    (found,) = re.findall(rf"^ARG {argument}=(\S+)$", dockerfile, re.MULTILINE)
    return str(found)


# ------------------------------------------------------------------ compose.yaml


@BY_SERVICE
def test_every_path_that_is_mounted_is_in_the_repository_and_read_only(name: str) -> None:
    """A path that is missing would be made by the engine, as an empty folder of root's."""
    for source, _, options in mounts(SERVICES[name]):
        if source.startswith("."):
            assert (DOCKER / source).exists(), source
            assert options == "ro"
        else:
            assert source in COMPOSE["volumes"]


@BY_SERVICE
def test_every_service_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert service.get("user") not in {"root", "0"}


@BY_SERVICE
def test_ports_are_open_to_this_machine_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@BY_SERVICE
def test_an_image_is_built_here_or_has_a_version(name: str) -> None:
    service = SERVICES[name]
    build = service.get("build")
    if build is None:
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", service["image"])
        return
    assert (DOCKER / build["context"] / build["dockerfile"]).is_file()
    text = (DOCKER / build["context"] / build["dockerfile"]).read_text()
    declared = set(re.findall(r"^ARG (\w+)", text, re.MULTILINE))
    assert set(build["args"]) == declared


def test_every_variable_is_in_the_example_of_the_environment() -> None:
    used = set(re.findall(r"\$\{(\w+)", COMPOSE_TEXT))
    assert used == REQUIRED
    built = {
        argument
        for service in SERVICES.values()
        for argument in service.get("build", {}).get("args", [])
    }
    assert set(re.findall(r"^#?(\w+)=", ENVIRONMENT, re.MULTILINE)) == used | built


def test_there_is_no_default_password() -> None:
    for name in PASSWORDS:
        assert re.search(rf"^{name}=$", ENVIRONMENT, re.MULTILINE)
        assert not re.search(rf"\${{{name}(?!:\?)", COMPOSE_TEXT)


def test_the_environment_with_passwords_is_ignored_by_git() -> None:
    assert ".env" in (DOCKER / ".gitignore").read_text().split()


def compose(*words: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run Docker Compose, plugin or program; version 1 knows another language."""
    for command in (("docker", "compose"), ("docker-compose",)):
        if shutil.which(command[0]) is None:
            continue
        version = call(*command, "version", "--short").stdout.removeprefix("v")
        if version and not version.startswith("1."):
            return call(*command, "-f", str(DOCKER / "compose.yaml"), *words, environ=environ)
    return pytest.skip("there is no Docker Compose")


def test_compose_accepts_its_file() -> None:
    """By Docker Compose itself, where it is installed."""
    ran = compose("config", "--quiet", environ=dict.fromkeys(REQUIRED, "something"))
    assert ran.returncode == 0, ran.stderr


def test_compose_refuses_to_start_without_passwords() -> None:
    ran = compose("config", "--quiet", environ=dict.fromkeys(REQUIRED, ""))
    assert ran.returncode != 0
    assert "docker/.env" in ran.stderr


# ------------------------------------------------------------------ what the services are told


def test_the_mirrors_yaml_is_valid() -> None:
    ran = call(*COMMAND, "--config", str(MIRROR), "config", "validate")
    assert ran.returncode == 0, ran.stderr
    assert "1 model" in ran.stdout


def test_the_mirrors_yaml_names_what_compose_gives() -> None:
    """Store, models, metrics: address by address."""
    mirror = yaml.safe_load(MIRROR.read_text())
    assert mirror["store"]["endpoint"] == "http://minio:9000"
    assert "minio" in SERVICES
    targets = {target for _, target, _ in mounts(SERVICES["sync-daemon"])}
    assert {mirror["origins"]["sample"]["path"], "/etc/sync-daemon/mirror.yaml"} <= targets
    (port,) = re.findall(r"0\.0\.0\.0:(\d+)", mirror["metrics"]["listen"])
    assert f"HEALTH_URL=http://127.0.0.1:{port}/healthz" in DOCKERFILE
    (door,) = re.findall(r"0\.0\.0\.0:(\d+)", mirror["gateway"]["listen"])
    assert SERVICES["sync-daemon"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert SERVICES["cache"]["ports"] == [f"127.0.0.1:{door}:{door}"]
    assert f"EXPOSE {door} {port}\n" in DOCKERFILE
    assert mirror["gateway"]["public_url"] == f"http://127.0.0.1:{door}"
    assert (
        mirror["gateway"]["store_url"]
        == "http://" + SERVICES["minio"]["ports"][0].rpartition(":")[0]
    )
    (scrape,) = yaml.safe_load((DOCKER / "prometheus.yml").read_text())["scrape_configs"]
    assert scrape["job_name"] == "sync-daemon"  # the rules select by it
    assert scrape["static_configs"] == [{"targets": [f"sync-daemon:{port}"]}]


def test_the_cache_is_the_shipped_one_over_plain_http(tmp_path: Path) -> None:
    """The command's sed, and a real nginx that reads what comes of it."""
    text = subprocess.run(
        ["sed", "-f", str(DOCKER / "nginx-plain.sed"), str(ROOT / "config/nginx/gateway.conf")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "server sync-daemon:8080;" in text
    assert "listen 8080;" in text
    assert "ssl" not in re.sub(r"#.*", "", text)
    assert text.count("EDIT") < (ROOT / "config/nginx/gateway.conf").read_text().count("EDIT")
    here = text.replace("sync-daemon:8080", "127.0.0.1:9").replace("/dev/stdout", "/dev/null")
    here = here.replace("/var/cache/nginx/", f"{tmp_path}/")
    (tmp_path / "plain.conf").write_text(here)
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; error_log stderr; events {{}}\n"
        f"http {{ include {tmp_path}/plain.conf; }}"
    )
    command = [find_nginx(), "-t", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_the_mirrors_yaml_mirrors_the_sample_model(minio_server: S3Server, tmp_path: Path) -> None:
    """The commands of compose.yaml, in its order, against a real MinIO at another address."""
    text = MIRROR.read_text()
    for there, here in (
        ("http://minio:9000", minio_server.endpoint),
        ("/srv/models", str(ROOT / "config/demo")),
        ("s3://ai-mirror/hub", f"s3://{BUCKET}/docker"),
    ):
        assert text.count(there) == 1
        text = text.replace(there, here)
    config = tmp_path / "mirror.yaml"
    config.write_text(text)
    environ = {
        "AWS_ACCESS_KEY_ID": minio_server.access_key,
        "AWS_SECRET_ACCESS_KEY": minio_server.secret_key,
    }
    for words in (SERVICES["store-init"]["command"], ["run-once"], ["verify", "--deep"]):
        ran = call(*COMMAND, "--config", str(config), *words, environ=environ)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_prometheus_accepts_its_configuration(tmp_path: Path) -> None:
    """The rules are put where they lie here."""
    program, text = promtool(), (DOCKER / "prometheus.yml").read_text()
    rules = {target: source for source, target, _ in mounts(SERVICES["prometheus"])}
    (named,) = yaml.safe_load(text)["rule_files"]
    config = tmp_path / "prometheus.yml"
    config.write_text(text.replace(named, str((DOCKER / rules[named]).resolve())))
    ran = call(program, "check", "config", str(config))
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_grafana_finds_its_data_source_and_its_dashboard() -> None:
    """At the paths and ports of the other services."""
    (source,) = yaml.safe_load((DOCKER / "grafana/datasources.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert SERVICES["prometheus"]["ports"] == ["127.0.0.1:9090:9090"]
    (provider,) = yaml.safe_load((DOCKER / "grafana/dashboards.yaml").read_text())["providers"]
    targets = [target for _, target, _ in mounts(SERVICES["grafana"])]
    (dashboard,) = [one for one in targets if one.endswith(".json")]
    assert str(Path(dashboard).parent) == provider["options"]["path"]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == dashboard


# ------------------------------------------------------------------ the images


@pytest.mark.parametrize("name", ["Dockerfile", "minio.Dockerfile"])
def test_hadolint_finds_nothing(name: str) -> None:
    ran = call(HADOLINT, "--no-color", str(DOCKER / name))
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize(("name", "context"), [("Dockerfile", ROOT), ("minio.Dockerfile", DOCKER)])
def test_what_an_image_copies_exists_and_is_not_ignored(name: str, context: Path) -> None:
    text = (DOCKER / name).read_text()
    allowed = set((DOCKER / f"{name}.dockerignore").read_text().split())
    copied = [
        source
        for words in re.findall(r"^COPY (?!--)(.+)$", text, re.MULTILINE)
        for source in words.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (context / source).exists(), source
        assert f"!{source}" in allowed
    assert len(allowed) <= len(copied) + 2, "more is sent to the engine than it needs"


@pytest.mark.parametrize("text", [DOCKERFILE, MINIO_DOCKERFILE])
def test_an_image_has_a_user_a_health_check_and_a_base_with_a_version(text: str) -> None:
    final = text.rsplit("\nFROM ", 1)[1]
    assert "USER 65532:65532" in final
    assert "HEALTHCHECK" in final
    assert "ARG" not in final, "arguments of the build belong to its own stage"
    assert default(text, "BASE") == default(DOCKERFILE, "BASE")
    assert re.fullmatch(r"python:3\.1\d-slim-\w+", default(text, "BASE"))


def test_minio_is_the_one_that_the_tests_run() -> None:
    (wanted,) = re.findall(r"^MINIO\s*:= (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert f" {wanted} " in MINIO_DOCKERFILE


def test_the_python_of_the_image_finds_a_wheel_of_every_dependency(tmp_path: Path) -> None:
    """The Dockerfile's own pip options, without installing; the slim image has no compiler."""
    (version,) = re.findall(r"python:([0-9.]+)-slim", default(DOCKERFILE, "BASE"))
    assert "--require-hashes --only-binary :all: -r requirements/alerts.txt" in DOCKERFILE
    ran = call(
        sys.executable, "-m", "pip", "install", "--quiet", "--dry-run",
        "--require-hashes", "--only-binary", ":all:",
        "--python-version", version, "--implementation", "cp",
        "--platform", "manylinux_2_28_x86_64", "--platform", "manylinux2014_x86_64",
        "--target", str(tmp_path), "-r", str(ROOT / "requirements/alerts.txt"),
    )  # fmt: skip
    if "Connection" in ran.stderr or "Max retries" in ran.stderr:
        pytest.skip("the package registry cannot be reached")
    assert ran.returncode == 0, ran.stderr


# ------------------------------------------------------------------ healthcheck.py


class Site(BaseHTTPRequestHandler):
    """Answers with the number that is the path."""

    def do_GET(self) -> None:
        self.send_response(int(self.path.strip("/")))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def site() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def probe(url: str) -> subprocess.CompletedProcess[str]:
    """Run the probe as the image does; a proxy that nobody answers at must not matter."""
    environ = {"HEALTH_URL": url, "http_proxy": "http://127.0.0.1:9"}
    return call(sys.executable, "-I", str(HEALTHCHECK), environ=environ)


def test_a_daemon_that_answers_is_healthy(site: str) -> None:
    assert probe(f"{site}/200").returncode == 0


def test_any_other_answer_is_unhealthy_and_says_so(site: str) -> None:
    ran = probe(f"{site}/503")
    assert (ran.returncode, ran.stdout) == (1, f"{site}/503: answered 503\n")


def test_nobody_there_is_unhealthy() -> None:
    ran = probe("http://127.0.0.1:9/healthz")
    assert ran.returncode == 1
    assert "no answer" in ran.stdout


def test_without_metrics_nothing_is_asked() -> None:
    assert probe("").returncode == 0


def test_an_address_that_is_none_is_told() -> None:
    ran = probe("127.0.0.1:9464")
    assert ran.returncode == 1
    assert "HEALTH_URL has to be" in ran.stdout
