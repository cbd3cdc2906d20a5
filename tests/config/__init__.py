"""Tests of sync_daemon.config."""
