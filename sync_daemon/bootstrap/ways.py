"""Settings of the network as the adapters take them."""

from __future__ import annotations

from pathlib import Path

from sync_daemon.config import Secret


def path_text(path: Path | None) -> str | None:
    """Return the path of a certificate file."""
    return str(path) if path is not None else None


def proxy_text(setting: str | Secret | None) -> str | None:
    """Return a proxy's URL with its password, or `off`."""
    return setting.reveal() if isinstance(setting, Secret) else setting
