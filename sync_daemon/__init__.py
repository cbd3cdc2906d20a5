"""sync-daemon: scheduled, verified, versioned mirrors of AI models in an object store."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("sync-daemon")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
