"""CUDA and cuDNN are looked for, compared as NVIDIA does, and never installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sync_daemon.client import env
from sync_daemon.client.env import Check, EnvironmentLacking, Found, Probe, check
from sync_daemon.domain.errors import ConfigurationError


def finds(version: str, *, drives: bool = False) -> Probe:
    return lambda: Found(version, "a test", drives=drives)


def compare(found: str, wanted: str, *, drives: bool = False) -> bool:
    return check("CUDA", wanted, (finds(found, drives=drives),), "pip install it").ok


@pytest.mark.parametrize(
    ("found", "wanted", "ok"),
    [
        ("11.8", "11.8", True),
        ("11.8.89", "11.8", True),
        ("11.9", "11.8", True),
        ("11.7", "11.8", False),
        ("12.1", "11.8", False),
        ("12.1", "12", True),
        ("8.9.7", "8.9", True),
        ("garbage", "8.9", False),
    ],
)
def test_newer_within_a_major_version_runs_what_is_older(found: str, wanted: str, ok: bool) -> None:  # noqa: FBT001
    assert compare(found, wanted) is ok


def test_a_driver_runs_older_major_versions_as_well() -> None:
    assert compare("12.2", "11.8", drives=True)
    assert not compare("11.4", "11.8", drives=True)


def test_the_first_that_fits_decides() -> None:
    found = check("CUDA", "11.8", (finds("12.1"), lambda: None, finds("11.8")), "x")
    assert (found.ok, found.found) == (True, Found("11.8", "a test"))


def test_nothing_found_says_so_and_names_the_command() -> None:
    missing = check("cuDNN", "8.9", (lambda: None,), "pip install cudnn")
    assert not missing.ok
    assert missing.found is None
    with pytest.raises(EnvironmentLacking, match="no cuDNN was found") as caught:
        missing.demand()
    assert caught.value.hint == "pip install cudnn"


def test_a_check_that_passed_demands_nothing() -> None:
    Check("CUDA", "1", ok=True, reason="", found=None, install="").demand()


@pytest.mark.parametrize("wanted", ["", "eleven", "11,8"])
def test_what_is_no_version_is_refused(wanted: str) -> None:
    with pytest.raises(ConfigurationError, match="is no version"):
        env.check_cuda(wanted)


def test_commands_name_the_packages_of_the_major_version() -> None:
    assert env.check_cuda("11.8").install == "pip install nvidia-cuda-runtime-cu11"
    assert "nvidia-cudnn-cu12>=8.9,<9" in env.check_cudnn("8.9").install


def test_what_a_manifest_requires_is_checked_as_one() -> None:
    cuda, cudnn = env.check_requirements({"cudnn": "8.9", "cuda": "11.8"})
    assert (cuda.name, cudnn.name) == ("CUDA", "cuDNN")
    assert "nvidia-cudnn-cu11>=8.9" in cudnn.install
    assert env.check_requirements({}) == ()
    with pytest.raises(ConfigurationError, match="cannot check rocm"):
        env.check_requirements({"rocm": "6"})


def in_process(code: str, *, path: Path, programs: Path | None = None) -> str:
    """Run code that sees packages in `path` besides its own, and programs only in `programs`."""
    environ = {"PYTHONPATH": f"{path}{os.pathsep}{Path.cwd()}", "PATH": str(programs or path)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    ).stdout.strip()


SHOW = "from sync_daemon.client import env; c = env.{}; print(c.ok, c.found.version, c.found.where)"


def test_installed_packages_of_nvidia_are_found(tmp_path: Path) -> None:
    for name, version in {
        "nvidia_cuda_runtime_cu11": "11.8.89",
        "nvidia_cudnn_cu12": "9.1.0",
    }.items():
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n"
        )
    cuda = in_process(SHOW.format('check_cuda("11.8")'), path=tmp_path)
    cudnn = in_process(SHOW.format('check_cudnn("9.0")'), path=tmp_path)
    assert cuda == "True 11.8.89 Python package nvidia-cuda-runtime-cu11"
    assert cudnn == "True 9.1.0 Python package nvidia-cudnn-cu12"


def test_an_installed_torch_tells_its_cuda_without_being_imported(tmp_path: Path) -> None:
    folder = tmp_path / "torch-2.1.0+cu118.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.1.0+cu118\n")
    assert in_process(SHOW.format('check_cuda("11.8")'), path=tmp_path).startswith("True 11.8 ")


def test_nvcc_is_asked(tmp_path: Path) -> None:
    nvcc = tmp_path / "nvcc"
    nvcc.write_text("#!/bin/sh\necho 'Cuda compilation tools, release 12.4, V12.4.131'\n")
    nvcc.chmod(0o755)
    said = in_process(SHOW.format('check_cuda("12.1")'), path=tmp_path, programs=tmp_path)
    assert said == "True 12.4 nvcc"
