"""Pulls from Python: the same as `sync-daemon pull`, for scripts.

    loader = ModelLoader("pull.yaml", model="llama-7b", version="1.0")
    loader.download_and_verify()
    model = AutoModel.from_pretrained(loader.get_model_path())

Importing this costs nothing to speak of: what does the work is imported when there is some.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sync_daemon.client.report import PullReport
    from sync_daemon.client.request import Request
    from sync_daemon.client.sites import Sites
    from sync_daemon.config import Settings
    from sync_daemon.domain.events import Event

Config = "str | os.PathLike[str] | Mapping[str, Any] | Settings | None"


def _ignore(event: Event) -> None:
    """Nobody listens."""
    del event


class ModelLoader:
    """One version of one model.

    `config` is a YAML file, a mapping of the same keys, or Settings; without one, what
    `pull` would find. Everything else stands above it. `emit` hears the engine's events.
    A bare text as `include`, `exclude` or `mirrors` is one entry. `hf_cache` and `torch_home`
    may be True: where those libraries look by themselves.
    Raises ConfigurationError for what is wrong or missing in all that.
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | Mapping[str, Any] | Settings | None = None,
        *,
        model: str | None = None,
        version: str | None = None,
        output: str | os.PathLike[str] | None = None,
        repo_type: str | None = None,
        include: str | Sequence[str] = (),
        exclude: str | Sequence[str] = (),
        mirrors: str | Sequence[str] = (),
        token: str | None = None,
        cache: str | os.PathLike[str] | None = None,
        hf_cache: str | os.PathLike[str] | bool | None = None,
        torch_home: str | os.PathLike[str] | bool | None = None,
        connections: int | None = None,
        bandwidth: str | None = None,
        offline_mode: bool = False,
        verify: bool = False,
        copy: bool = False,
        force: bool = False,
        unpack: bool = False,
        environ: Mapping[str, str] | None = None,
        emit: Callable[[Event], None] = _ignore,
    ) -> None:
        from sync_daemon.client import arguments as given  # noqa: PLC0415 - imports take 0.5 s
        from sync_daemon.client.hub_cache import default_hub_cache  # noqa: PLC0415
        from sync_daemon.client.options import Options  # noqa: PLC0415
        from sync_daemon.client.sites import Flags  # noqa: PLC0415
        from sync_daemon.client.torch_home import default_torch_home  # noqa: PLC0415
        from sync_daemon.config import Secret  # noqa: PLC0415

        named = {"model": model, "version": version, "repo_type": repo_type}
        given.check_texts(named | {"token": token, "bandwidth": bandwidth})
        given.check_number("connections", connections)
        self._environ = os.environ if environ is None else environ
        self._settings = _read(config, self._environ)
        self._options = Options(
            model=model,
            version=version,
            repo_type=repo_type,
            include=given.texts("include", include),
            exclude=given.texts("exclude", exclude),
            output=given.path("output", output),
            hub_cache=given.path_or_usual(
                "hf_cache", hf_cache, lambda: default_hub_cache(self._environ)
            ),
            torch_home=given.path_or_usual(
                "torch_home", torch_home, lambda: default_torch_home(self._environ)
            ),
            verify=verify,
            copy=copy,
            force=force,
            unpack=unpack,
        )
        self._flags = Flags(
            mirrors=given.texts("mirrors", mirrors),
            token=Secret(token) if token else None,
            cache=given.path("cache", cache),
            connections=connections,
            bandwidth=bandwidth,
        )
        self._emit = emit
        self.offline_mode = offline_mode
        self._request()  # what is wrong is told now

    def download_and_verify(self) -> PullReport:
        """Bring the version here, every byte proven, and return what was done.

        Raises SyncError; with KeyboardInterrupt what has come is kept for the next time.
        """
        from sync_daemon.client.pull import pull  # noqa: PLC0415

        request, sites = self._request(), self._sites()
        stop = threading.Event()
        with ThreadPoolExecutor(1, "pull") as pool:
            future = pool.submit(pull, request, sites, self._emit, stop)
            try:
                report = future.result()
            except KeyboardInterrupt:
                stop.set()
                raise
        report.raise_for_error()
        return report

    def get_model_path(self) -> Path:
        """Return the directory that holds the files; raises NotInCache if they are not there."""
        from sync_daemon.client.options import model_path  # noqa: PLC0415

        return model_path(self._request())

    def _request(self) -> Request:
        from sync_daemon.client.options import default_output, make_request  # noqa: PLC0415

        request = make_request(self._options, self._settings, offline=self.offline_mode)
        places = (request.output, request.hub_cache, request.torch_home)
        if places == (None, None, None):
            return default_output(request, self._sites())
        return request

    def _sites(self) -> Sites:
        from sync_daemon.client.sites import choose_sites  # noqa: PLC0415

        return choose_sites(self._settings, self._flags, self._environ, offline=self.offline_mode)


def _read(
    config: str | os.PathLike[str] | Mapping[str, Any] | Settings | None,
    environ: Mapping[str, str],
) -> Settings | None:
    from sync_daemon.client import arguments as given  # noqa: PLC0415
    from sync_daemon.client.options import find_settings, load_settings  # noqa: PLC0415
    from sync_daemon.config import Settings  # noqa: PLC0415

    if isinstance(config, Settings):
        return config
    if isinstance(config, Mapping):
        text = json.dumps({"version": 1, **config}, default=str).encode()
        return load_settings(text, environ, "config")
    if config is None:
        return find_settings(None, environ, Path.cwd())
    file = given.path("config", config)
    return find_settings(str(file), environ, Path.cwd())
