"""What the machines behind the firewall run: verified downloads from a mirror.

from sync_daemon.client import ModelLoader
"""

from sync_daemon.client.loader import ModelLoader

__all__ = ["ModelLoader"]
