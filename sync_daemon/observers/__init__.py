"""Listeners on the one stream of events: log lines and progress bars."""
