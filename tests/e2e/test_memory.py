"""Memory is bounded by the YAML, not by the file."""

import re
import subprocess
import time
from pathlib import Path

from tests.e2e.conftest import Mirror
from tests.support.hub import Hub, Synthetic

MIB = 1024**2


def watch(process: subprocess.Popen[str]) -> int:
    """Return the peak resident size of a process in bytes, once it has ended."""
    status, peak = Path(f"/proc/{process.pid}/status"), 0
    while process.poll() is None:
        if found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text()):
            peak = int(found[1]) * 1024
        time.sleep(0.05)
    return peak


def test_a_two_gib_shard_passes_through_little_memory(mirror: Mirror, hub: Hub) -> None:
    """At most 300 MiB resident for a shard of 2 GiB at `memory: 128MiB`, interpreter included."""
    shard = Synthetic(2048 * MIB, seed=1)
    hub.repo("org/m").commit({"model.safetensors": shard})
    mirror.write({"name": "m", "repo": "org/m"}, transfer={"memory": "128MiB"})
    with mirror.daemon.start("run-once") as process:
        peak = watch(process)
        err = process.communicate()[1]
    assert process.returncode == 0, err
    digest = f"blobs/sha256/{shard.sha256[:2]}/{shard.sha256}"
    assert list(mirror.place.keys("blobs/")) == [digest]
    assert 0 < peak <= 300 * MIB, f"{peak // MIB} MiB"
