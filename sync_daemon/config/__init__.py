"""mirror.yaml -> frozen settings, strictly.

    text --nodes--> nodes with positions --document--> plain values, variables put in
         --secret_files, checks, model--> Settings, or a ConfigError with every problem

The environment is passed in; nothing here reads it from the process.
"""

from sync_daemon.config.alerts import Alerts, FailureRate
from sync_daemon.config.client import MirrorSite, Pull
from sync_daemon.config.gateway import Gateway
from sync_daemon.config.load import STANDARD_INPUT, find_config, load
from sync_daemon.config.log import Log
from sync_daemon.config.model import (
    Credentials,
    Defaults,
    DirectoryOrigin,
    EndpointEntry,
    HttpOrigin,
    HuggingFaceOrigin,
    Metrics,
    Origin,
    Retention,
    Schedule,
    Settings,
    Store,
    Transfer,
)
from sync_daemon.config.models import HttpFile, ModelEntry, ModelSchedule, NamedEntry, TagsEntry
from sync_daemon.config.places import DirectoryPlace, S3Place
from sync_daemon.config.problems import ConfigError, Problem
from sync_daemon.config.resolve import ResolvedModel, resolve_models
from sync_daemon.config.secret import Secret
from sync_daemon.config.show import effective, effective_values, json_schema
from sync_daemon.config.timetable import Slot, Timetable
from sync_daemon.config.timing import Timing

__all__ = [
    "STANDARD_INPUT",
    "Alerts",
    "ConfigError",
    "Credentials",
    "Defaults",
    "DirectoryOrigin",
    "DirectoryPlace",
    "EndpointEntry",
    "FailureRate",
    "Gateway",
    "HttpFile",
    "HttpOrigin",
    "HuggingFaceOrigin",
    "Log",
    "Metrics",
    "MirrorSite",
    "ModelEntry",
    "ModelSchedule",
    "NamedEntry",
    "Origin",
    "Problem",
    "Pull",
    "ResolvedModel",
    "Retention",
    "S3Place",
    "Schedule",
    "Secret",
    "Settings",
    "Slot",
    "Store",
    "TagsEntry",
    "Timetable",
    "Timing",
    "Transfer",
    "effective",
    "effective_values",
    "find_config",
    "json_schema",
    "load",
    "resolve_models",
]
