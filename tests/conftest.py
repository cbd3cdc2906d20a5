"""What all tests share: S3 servers that run as long as the session."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.servers import (
    S3Server,
    find_minio,
    run_minio,
    run_moto,
    run_seaweedfs,
    use_named,
)

NO_MINIO = "there is no MinIO server"


@pytest.fixture(scope="session")
def moto_server() -> Iterator[S3Server]:
    with run_moto() as server:
        yield server


@pytest.fixture(scope="session")
def minio_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    binary = find_minio()
    if binary is None and os.environ.get("SYNC_DAEMON_REQUIRE_MINIO") == "1":
        pytest.fail(f"{NO_MINIO}, but SYNC_DAEMON_REQUIRE_MINIO=1 asks for it: make minio")
    if binary is None:
        pytest.skip(NO_MINIO)
    with run_minio(binary, tmp_path_factory.mktemp("minio")) as server:
        yield server


@pytest.fixture(scope="session")
def seaweedfs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with run_seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture(scope="session")
def named_server() -> Iterator[S3Server]:
    with use_named() as server:
        yield server


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    count = sum(NO_MINIO in str(report.longrepr) for report in skipped)
    if count:
        terminalreporter.write_line(
            f"{count} tests against a real MinIO were LEFT OUT: {NO_MINIO}. Get it: make minio",
            red=True,
            bold=True,
        )
