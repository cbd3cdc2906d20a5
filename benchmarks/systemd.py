"""The shipped unit under a real systemd: start, status, reload, watchdog, stop, restart.

    sudo python benchmarks/systemd.py

systemd runs as process 1 of namespaces of its own, on an overlay of this machine's files that
is thrown away, with a cgroup of its own: nothing outside changes, and nothing is installed.
The units, sysusers and tmpfiles are those of `systemd/`; a drop-in makes the watchdog and the
restart quick, and nothing else. The origin is a double of the Hub in this process. Needs root,
cgroup2, overlayfs, and the programs unshare, nsenter and setpriv (Debian: util-linux). About
half a minute. It ends with 1 at the first thing that is not as it should be.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from tests.support.hub import Hub, Repo, Synthetic  # noqa: E402 - the root first

MIB = 1024**2
UNIT = "sync-daemon"
PREFIX = f"/opt/{UNIT}"
WATCHDOG = 4
DROP_IN = f"[Service]\nWatchdogSec={WATCHDOG}\nRestartSec=1\n"
TARGET = "[Unit]\nWants=systemd-journald.service\nAfter=systemd-journald.service\n"
FILES = (
    "sync-daemon.service",
    "sync-daemon-run.service",
    "sync-daemon-run.timer",
    "sysusers.d/sync-daemon.conf",
    "tmpfiles.d/sync-daemon.conf",
)
COMMAND = f"""#!{PREFIX}/bin/python
import sys
from sync_daemon.cli.main import main
sys.exit(main())
"""
MORE = [{"name": name, "repo": "org/m"} for name in ("m", "n")]
MASKED = ("systemd-sysctl", "systemd-timesyncd", "systemd-udevd", "systemd-udev-trigger")

SETUP = r"""
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$BASE"
mkdir "$BASE/upper" "$BASE/work" "$BASE/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$BASE/upper,workdir=$BASE/work" "$BASE/root"
cd "$BASE/root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,ro,bind proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
for place in run tmp dev; do mount -t tmpfs -o mode=1777 tmpfs "$place"; done
chmod 755 run dev
mkdir dev/shm dev/pts
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
for node in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0"; do
    set -- $node; mknod -m 666 "dev/$1" c "$2" "$3"
done
mkdir -p opt/python opt/site opt/src
mount --bind "$PYTHON" opt/python
mount --bind "$SITE" opt/site
mount --bind "$SOURCE" opt/src
mkdir -p etc/systemd/system opt/sync-daemon/bin mnt
for name in $MASKED; do ln -sf /dev/null "etc/systemd/system/$name.service"; done
printf "%s" "$TARGET" > etc/systemd/system/check.target
pivot_root . mnt
umount -l /mnt
exec setpriv --bounding-set -sys_time,-sys_module,-sys_boot,-sys_rawio \
    env -i container=check PATH=/usr/sbin:/usr/bin /lib/systemd/systemd --unit=check.target
"""


class Machine:
    """A systemd that runs; `call` runs a command beside it."""

    def __init__(self, pid: int) -> None:
        self._enter = ["nsenter", "--target", str(pid), "--mount", "--pid", "--cgroup", "--ipc"]

    def call(self, *command: str, code: int | None = 0, show: bool = True) -> str:
        """Run a command, show it and what it said, and return that."""
        print("$", *command, flush=True)
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_COLORS": "0", "LC_ALL": "C.UTF-8"}
        ran = subprocess.run(
            [*self._enter, *command], capture_output=True, text=True, check=False, env=env
        )
        said = ran.stdout + ran.stderr
        if show:
            print(said, end="", flush=True)
        if code is not None:
            expect(ran.returncode == code, f"it ended with {ran.returncode}")
        return said

    def write(self, path: str, text: str, mode: str = "644") -> None:
        """Write a file inside."""
        command = f'mkdir -p "$(dirname {path})" && cat > {path} && chmod {mode} {path}'
        subprocess.run([*self._enter, "sh", "-c", command], input=text, text=True, check=True)

    def show(self, name: str) -> str:
        """Return a property of the unit."""
        command = [*self._enter, "systemctl", "show", UNIT, "--value", "-p", name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def journal(self, *options: str) -> str:
        """Return the messages of the unit."""
        command = [*self._enter, "journalctl", "-u", UNIT, "-o", "cat", "--no-pager", *options]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def expect(good: object, what: str) -> None:
    """End the script unless something is as it should be."""
    if not good:
        sys.exit(f"NOT AS IT SHOULD BE: {what}")


def wait(what: Callable[[], object], name: str, seconds: float = 20) -> float:
    """Wait until it is so; return for how long."""
    began = time.monotonic()
    while not what():
        expect(time.monotonic() - began < seconds, f"{name}: not within {seconds} s")
        time.sleep(0.1)
    return time.monotonic() - began


def cgroup2() -> Path:
    """Return where the unified hierarchy is mounted."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        if right.startswith("cgroup2 "):
            return Path(left.split()[4])
    sys.exit("there is no cgroup2 mount")


@contextmanager
def booted() -> Iterator[Machine]:
    """Run a systemd, until the block ends."""
    group = cgroup2() / f"sync-daemon-check-{os.getpid()}"
    group.mkdir()
    with tempfile.TemporaryDirectory(prefix="sync-daemon-systemd-") as base:
        env = os.environ | {
            "BASE": base,
            "PYTHON": sys.base_prefix,
            "SITE": sysconfig.get_path("purelib"),
            "SOURCE": str(PROJECT),
            "SETUP": SETUP,
            "MASKED": " ".join(MASKED),
            "TARGET": TARGET,
        }
        spaces = "--mount --pid --fork --cgroup --ipc --uts --kill-child"
        command = f'echo $$ > {group}/cgroup.procs; exec unshare {spaces} sh -c "$SETUP"'
        outer = subprocess.Popen(["sh", "-c", command], env=env)
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
        try:
            wait(lambda: children.read_text().split(), "a first process")
            machine = Machine(int(children.read_text().split()[0]))
            time.sleep(2)
            yield machine
        except SystemExit:
            print(machine.journal("-n", "40"))
            raise
        finally:
            (group / "cgroup.kill").write_text("1")
            outer.wait()
            wait(lambda: "populated 0" in (group / "cgroup.events").read_text(), "the end")
            for folder in sorted((g for g in group.rglob("*") if g.is_dir()), reverse=True):
                folder.rmdir()
            group.rmdir()


def install(machine: Machine, config: str) -> None:
    """Do what docs/daemon.md says under "systemd", and add the drop-in."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    machine.call("ln", "-s", f"/opt/python/bin/python{version}", f"{PREFIX}/bin/python")
    machine.write(f"{PREFIX}/pyvenv.cfg", "home = /opt/python/bin\n")
    packages = f"{PREFIX}/lib/python{version}/site-packages"
    machine.write(f"{packages}/here.pth", "/opt/src\n/opt/site\n")
    machine.write(f"{PREFIX}/bin/sync-daemon", COMMAND, "755")
    for name in FILES:
        target = f"/etc/{name}" if "/" in name else f"/etc/systemd/system/{name}"
        machine.call("install", "-D", "-m", "644", f"/opt/src/systemd/{name}", target)
    machine.call("systemd-sysusers")
    machine.call("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/sync-daemon.conf")
    machine.write("/etc/sync-daemon/mirror.yaml", config)
    machine.write("/etc/sync-daemon/environment", "LD_LIBRARY_PATH=/opt/python/lib\n", "600")
    machine.write(f"/etc/systemd/system/{UNIT}.service.d/quick.conf", DROP_IN)
    machine.call("systemctl", "daemon-reload")


def document(hub: Hub, **more: object) -> str:
    """Return a YAML; JSON is YAML."""
    content = {
        "version": 1,
        "store": {"url": f"file:///var/lib/{UNIT}/store"},
        "origins": {"hf": {"type": "huggingface", "endpoints": [hub.endpoint]}},
        "models": [{"name": "m", "repo": "org/m"}],
        "schedule": {"incremental": "10m"},
        "transfer": {"part_size": "5MiB", "connections": 4},
        "metrics": {"listen": "off"},
    }
    return json.dumps(content | more)


def main() -> None:
    """Show it."""
    with Hub() as hub, booted() as machine:
        repo = hub.repo("org/m")
        repo.commit({"big.bin": Synthetic(16 * MIB, seed=1)})
        expect("running" in machine.call("systemctl", "is-system-running", "--wait"), "systemd")
        install(machine, document(hub))
        machine.call("systemctl", "start", UNIT)
        expect(machine.show("ActiveState") == "active", "active after READY=1")
        wait(lambda: "next: " in machine.show("StatusText"), "STATUS=")
        wait(lambda: "version.published" in machine.journal(), "the first run")
        machine.call("systemctl", "status", "-n", "4", "--no-pager", UNIT)
        reload(machine, hub)
        hang(machine)
        stop_in_mid_transfer(machine, hub, repo)
        run_once(machine)
        said = machine.call("systemd-analyze", "security", "--no-pager", UNIT, show=False)
        print(said.splitlines()[-1])


def reload(machine: Machine, hub: Hub) -> None:
    """A good file, and a bad one."""
    pid = machine.show("MainPID")
    machine.write("/etc/sync-daemon/mirror.yaml", document(hub, schedule={"incremental": "1h"}))
    machine.call("systemctl", "reload", UNIT)
    wait(lambda: "config.reloaded" in machine.journal(), "the new configuration")
    machine.write("/etc/sync-daemon/mirror.yaml", document(hub, unknown=1))
    machine.call("systemctl", "reload", UNIT)
    wait(lambda: "config.invalid" in machine.journal(), "what is wrong with it")
    wait(lambda: machine.show("ActiveState") == "active", "active again")
    expect(machine.show("MainPID") == pid, "the same process")
    machine.write("/etc/sync-daemon/mirror.yaml", document(hub))
    machine.call("systemctl", "reload", UNIT)


def hang(machine: Machine) -> None:
    """A process that hangs is found by the watchdog, and started again."""
    time.sleep(2 * WATCHDOG)
    pid = machine.show("MainPID")
    expect(machine.show("NRestarts") == "0", "fed, it lives")
    machine.call("kill", "-STOP", pid)
    seconds = wait(lambda: machine.show("NRestarts") == "1", "the watchdog", 40)
    print(f"-> started again {seconds:.1f} s after it was stopped")
    wait(lambda: machine.show("ActiveState") == "active", "active again")
    expect(machine.show("MainPID") != pid, "another process")
    print("\n".join(x for x in machine.journal("-p", "warning").splitlines() if UNIT + "." in x))


def run_once(machine: Machine) -> None:
    """The one-shot unit and its timer, beside the daemon."""
    machine.call("systemctl", "start", "sync-daemon-run.service")
    machine.call("systemctl", "start", "sync-daemon-run.timer")
    said = machine.call("systemctl", "list-timers", "--no-pager", "sync-daemon-run.timer")
    expect("sync-daemon-run.service" in said, "a timer that waits")


def stop_in_mid_transfer(machine: Machine, hub: Hub, repo: Repo) -> None:
    """SIGTERM by systemd while a file moves; the next start goes on with it."""
    hub.rate_total = 4 * MIB
    repo.commit({"big.bin": Synthetic(64 * MIB, seed=2)})
    hub.clear()
    machine.call("systemctl", "restart", UNIT)
    machine.write("/etc/sync-daemon/mirror.yaml", document(hub, models=MORE))
    machine.call("systemctl", "reload", UNIT)
    wait(lambda: hub.bytes_sent() > 12 * MIB, "a file on its way")
    machine.call("systemctl", "status", "-n", "0", "--no-pager", UNIT)
    began = time.monotonic()
    machine.call("systemctl", "stop", UNIT)
    print(f"-> stopped within {time.monotonic() - began:.1f} s")
    expect(machine.show("Result") == "success", machine.show("Result"))
    expect(machine.show("ExecMainStatus") == "0", "exit code 0")
    hub.rate_total = None
    machine.call("systemctl", "start", UNIT)
    wait(lambda: "blob.resumed" in machine.journal("--since=-20s"), "it goes on")


if __name__ == "__main__":
    main()
