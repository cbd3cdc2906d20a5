"""HTTP/1.1 for bytes: a thin client that neither copies, nor redirects, nor retries."""

from sync_daemon.wire.client import Http, Response

__all__ = ["Http", "Response"]
