"""What a command loads: each start pays for it, and most runs find nothing to do."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.daemon import COMMAND
from tests.support.servers import BUCKET, S3Server

PROGRAM = shlex.join(COMMAND)

YAML = """
version: 1
store: {%s}
origins: {shelf: {type: directory, path: "%s"}}
models: [{name: m, origin: shelf, repo: m}]
"""
TELL = """
import sys
from sync_daemon.cli.main import main
code = main(sys.argv[1:])
print(code, *sorted({name.partition(".")[0] for name in sys.modules}))
"""
NEEDED_BY_FEW = {
    "apscheduler",
    "asyncio",
    "huggingface_hub",
    "minio",
    "prometheus_client",
    "rich",
    "starlette",
    "structlog",
    "uvicorn",
}


def write_yaml(folder: Path, store: str) -> Path:
    """Write a configuration, and the one model that it names."""
    (folder / "shelf" / "m").mkdir(parents=True)
    (folder / "shelf" / "m" / "config.json").write_text("{}")
    yaml = folder / "mirror.yaml"
    yaml.write_text(YAML % (store, folder / "shelf"))
    return yaml


def loaded_by(
    folder: Path, verb: str, store: str, variables: Mapping[str, str] | None = None
) -> set[str]:
    yaml = write_yaml(folder, store)
    command = [sys.executable, "-c", TELL, "--config", str(yaml), verb]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=os.environ | (variables or {}),
    )
    code, *names = done.stdout.splitlines()[-1].split()
    assert code == "0", done.stderr
    return set(names)


@pytest.mark.parametrize("verb", ["run-once", "version"])
def test_what_few_commands_need_is_not_loaded_by_others(tmp_path: Path, verb: str) -> None:
    loaded = loaded_by(tmp_path, verb, f"url: 'file://{tmp_path}/store'")
    assert not loaded & NEEDED_BY_FEW
    assert "boto3" not in loaded


def test_a_run_into_a_bucket_does_without_boto3_and_the_sdk_of_administration(
    tmp_path: Path, minio_server: S3Server
) -> None:
    """Where the endpoint and the keys are named: together they take as long as the rest."""
    store = f"url: 's3://{BUCKET}/{tmp_path.name}', endpoint: '{minio_server.endpoint}'"
    keys = {
        "AWS_ACCESS_KEY_ID": minio_server.access_key,
        "AWS_SECRET_ACCESS_KEY": minio_server.secret_key,
    }
    loaded = loaded_by(tmp_path, "run-once", store, keys)
    assert not loaded & {"boto3", "botocore", "minio", "urllib3"}


@pytest.mark.parametrize("closed", ["2>&-", ">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_streams_that_the_caller_closed_change_nothing(tmp_path: Path, closed: str) -> None:
    """Some supervisors start programs so; a blob must not get the number of standard error."""
    yaml = write_yaml(tmp_path, f"url: 'file://{tmp_path}/store'")
    command = f"exec {PROGRAM} --config {yaml} run-once {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0
    (blob,) = (tmp_path / "store" / "blobs" / "sha256").rglob("44136fa3*")
    assert blob.read_text() == "{}"


def test_a_configuration_from_a_closed_standard_input_is_empty() -> None:
    command = ["sh", "-c", f"exec {PROGRAM} --config - config validate <&-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "is empty" in done.stderr) == (2, True)


def test_a_full_disk_behind_standard_output_is_said_to_be_one() -> None:
    command = ["sh", "-c", f"exec {PROGRAM} version >/dev/full"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert "fault of sync-daemon" not in done.stderr


@pytest.mark.parametrize("name", ["", "."])
def test_a_configuration_that_is_no_file_is_not_replaced_by_another(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "config").mkdir()
    shelf = tmp_path / "shelf"
    (tmp_path / "config" / "mirror.yaml").write_text(
        YAML % (f"url: 'file://{tmp_path}/store'", shelf)
    )
    done = subprocess.run(
        [*COMMAND, "--config", name, "config", "validate"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "--config" in done.stderr
