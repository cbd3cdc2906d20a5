"""What a command loads: each start pays for it, and most runs find nothing to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

YAML = """
version: 1
store: {url: "%s"}
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


def loaded_by(folder: Path, verb: str, store: str) -> set[str]:
    (folder / "shelf" / "m").mkdir(parents=True)
    (folder / "shelf" / "m" / "config.json").write_text("{}")
    yaml = folder / "mirror.yaml"
    yaml.write_text(YAML % (store, folder / "shelf"))
    command = [sys.executable, "-c", TELL, "--config", str(yaml), verb]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    code, *names = done.stdout.splitlines()[-1].split()
    assert code == "0", done.stderr
    return set(names)


@pytest.mark.parametrize("verb", ["run-once", "version"])
def test_what_few_commands_need_is_not_loaded_by_others(tmp_path: Path, verb: str) -> None:
    loaded = loaded_by(tmp_path, verb, f"file://{tmp_path}/store")
    assert not loaded & NEEDED_BY_FEW
    assert "boto3" not in loaded


def test_a_run_into_a_bucket_does_without_the_sdk_of_administration() -> None:
    code = (
        "import sys, sync_daemon.stores.s3, sync_daemon.stores.minio_space;"
        "print('minio' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
