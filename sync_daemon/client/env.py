"""Whether this machine has the CUDA and cuDNN that a model wants. Looks, and installs nothing.

    env.check_cuda("11.8")          # Check(name="CUDA", wanted="11.8", found="12.2", ok=True, ...)
    env.check_cudnn("8.9").demand() # raises EnvironmentLacking with the command that would help

Versions count as NVIDIA's do: within a major version newer ones run what was built for older
ones (minor version compatibility, since CUDA 11); another major version does not, except that a
driver runs all older ones. What is found is, in this order, the toolkit's or cuDNN's Python
packages (what `pip install torch` brings), the runtime libraries that the loader finds, `nvcc`,
and at last what the driver could run.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distributions, version

from packaging.version import InvalidVersion, Version

from sync_daemon.domain.errors import ConfigurationError, SyncError

_SECONDS = 10.0
_CUDNN_9 = 90_000
"""From cuDNN 9 on a version is 10000 x major + 100 x minor + patch; before, 1000 x major."""


class EnvironmentLacking(SyncError):
    """The machine has not what is wanted; the hint is a command that would install it."""


@dataclass(frozen=True, slots=True)
class Found:
    """A version, and what said so. `drives`: it is a driver's newest, which runs all older ones."""

    version: str
    where: str
    drives: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """What a check found. `install` is a command for a person to run, or not."""

    name: str
    wanted: str
    ok: bool
    reason: str
    found: Found | None
    install: str

    def demand(self) -> None:
        """Raise EnvironmentLacking unless the check passed."""
        if not self.ok:
            raise EnvironmentLacking(self.reason, hint=self.install)


Probe = Callable[[], Found | None]


def check_cuda(wanted: str) -> Check:
    """Check for a CUDA runtime that runs what was built for `wanted`, e.g. "11.8".

    Raises ConfigurationError where `wanted` is no version.
    """
    major = _parse(wanted).major
    install = f"pip install nvidia-cuda-runtime-cu{major}"
    if major >= 13:  # noqa: PLR2004 - from CUDA 13 on the packages have no suffix
        install = f"pip install 'nvidia-cuda-runtime>={wanted}'"
    return check("CUDA", wanted, CUDA_PROBES, install)


def check_cudnn(wanted: str, *, cuda: str = "12") -> Check:
    """Check for a cuDNN that runs what was built for `wanted`, e.g. "8.9".

    `cuda` is the CUDA it has to go with, for the command. Raises ConfigurationError.
    """
    major = _parse(wanted).major
    install = f"pip install 'nvidia-cudnn-cu{_parse(cuda).major}>={wanted},<{major + 1}'"
    return check("cuDNN", wanted, CUDNN_PROBES, install)


def check_requirements(requires: Mapping[str, str]) -> tuple[Check, ...]:
    """Check what a manifest's `requires` names, `{"cuda": "11.8", "cudnn": "8.9"}`.

    Raises ConfigurationError for what cannot be checked here.
    """
    if unknown := sorted(requires.keys() - {"cuda", "cudnn"}):
        message = f"this release cannot check {', '.join(unknown)}"
        raise ConfigurationError(message, hint="upgrade sync-daemon, or look for it yourself")
    found = [check_cuda(requires["cuda"])] if "cuda" in requires else []
    if "cudnn" in requires:
        found.append(check_cudnn(requires["cudnn"], cuda=requires.get("cuda", "12")))
    return tuple(found)


def check(name: str, wanted: str, probes: tuple[Probe, ...], install: str) -> Check:
    """Compare `wanted` with what the probes find. The first that fits decides, else the first."""
    asked = _parse(wanted)
    seen = [one for one in (probe() for probe in probes) if one is not None]
    best = next((one for one in seen if _fits(one, asked)), None)
    if best is not None:
        reason = f"{name} {best.version} ({best.where}) runs what wants {wanted}"
        return Check(name, wanted, ok=True, reason=reason, found=best, install=install)
    if not seen:
        reason = f"no {name} was found; {wanted} is wanted"
        return Check(name, wanted, ok=False, reason=reason, found=None, install=install)
    reason = f"{name} {seen[0].version} ({seen[0].where}) was found; {wanted} is wanted"
    return Check(name, wanted, ok=False, reason=reason, found=seen[0], install=install)


def _fits(found: Found, wanted: Version) -> bool:
    try:
        has = Version(found.version)
    except InvalidVersion:
        return False
    return has.release >= wanted.release and (found.drives or has.major == wanted.major)


def _parse(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:
        message = f"{text!r} is no version"
        raise ConfigurationError(message, hint='write for example "11.8"') from None


def _package(beginning: str) -> Found | None:
    """Look for the newest installed Python package of NVIDIA's, `nvidia-cudnn-cu12` and so on."""
    found = {
        one.name: one.version
        for one in distributions()
        if one.name and one.name.lower().startswith(beginning)
    }
    newest = max(found.items(), key=lambda item: _rank(item[1]), default=None)
    return Found(newest[1], f"Python package {newest[0]}") if newest else None


def _rank(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:
        return Version("0")


def _torch() -> Found | None:
    """Read `+cu118` of an installed torch, without importing it."""
    with suppress(PackageNotFoundError):
        if local := re.search(r"\+cu(\d+)(\d)$", version("torch")):
            return Found(f"{local[1]}.{local[2]}", "Python package torch")
    return None


def _library(name: str, function: str) -> Iterator[int]:
    """Ask a library for its version; yields nothing where it is not there."""
    if (path := ctypes.util.find_library(name)) is not None:
        with suppress(OSError, AttributeError):
            yield from _ask(ctypes.CDLL(path), function)


def _ask(library: ctypes.CDLL, function: str) -> Iterator[int]:
    if function == "cudnnGetVersion":
        library.cudnnGetVersion.restype = ctypes.c_size_t
        yield int(library.cudnnGetVersion())
        return
    number = ctypes.c_int()
    if getattr(library, function)(ctypes.byref(number)) == 0:
        yield number.value


def _runtime() -> Found | None:
    for number in _library("cudart", "cudaRuntimeGetVersion"):
        return Found(_dotted_cuda(number), "libcudart")
    return None


def _driver() -> Found | None:
    """The driver's own limit: it runs any runtime up to it."""
    for number in _library("cuda", "cuDriverGetVersion"):
        return Found(_dotted_cuda(number), "the driver's newest", drives=True)
    return None


def _cudnn() -> Found | None:
    for number in _library("cudnn", "cudnnGetVersion"):
        return Found(_dotted_cudnn(number), "libcudnn")
    return None


def _dotted_cuda(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _dotted_cudnn(number: int) -> str:
    thousand = 10_000 if number >= _CUDNN_9 else 1000
    return f"{number // thousand}.{number % thousand // 100}.{number % 100}"


def _nvcc() -> Found | None:
    program = shutil.which("nvcc")
    if program is None:
        return None
    with suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run(  # noqa: S603 - the program that the path names, no shell
            [program, "--version"], capture_output=True, text=True, timeout=_SECONDS, check=True
        ).stdout
        if found := re.search(r"release (\d+\.\d+)", said):
            return Found(found[1], "nvcc")
    return None


CUDA_PROBES: tuple[Probe, ...] = (
    lambda: _package("nvidia-cuda-runtime"),
    _torch,
    _runtime,
    _nvcc,
    _driver,
)
CUDNN_PROBES: tuple[Probe, ...] = (lambda: _package("nvidia-cudnn"), _cudnn)
