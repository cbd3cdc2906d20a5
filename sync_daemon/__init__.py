"""sync-daemon: scheduled, verified, versioned mirrors of AI models in an object store."""

__version__ = "0.1.0"
