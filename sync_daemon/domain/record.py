"""A run's report as it is read back from the store.

Reports of older releases lack newer fields, and fields are only ever added: what is absent
has its default, what is unknown is passed over. What is there must be of the right kind.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite
from typing import Any, cast

from sync_daemon.domain.digests import CommitId
from sync_daemon.domain.names import ModelName
from sync_daemon.domain.report import (
    EVERYTHING,
    Bytes,
    EndpointTally,
    Failure,
    Files,
    MovedFile,
    Selected,
    Status,
    VersionReport,
    parse_tally,
)
from sync_daemon.domain.words import parse_moment

_WRONG = (LookupError, TypeError, AttributeError, ValueError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What a run did. `unchanged` counts the versions it does not name.

    `selected` is None in reports of releases that did not keep it.
    """

    run_id: str
    mode: str
    status: str
    started: datetime
    seconds: float
    unchanged: int
    versions: tuple[VersionReport, ...]
    endpoints: tuple[EndpointTally, ...] = ()
    selected: Selected | None = None

    @property
    def fetched(self) -> int:
        """Bytes read from origins, repeats included."""
        return sum(version.bytes.fetched for version in self.versions)

    @property
    def rate(self) -> int | None:
        """Bytes per second, over the whole run; None where nothing was read."""
        return rate(self.fetched, self.seconds)

    @property
    def ended(self) -> datetime:
        """When it was over."""
        return self.started + timedelta(seconds=self.seconds)

    @property
    def results(self) -> dict[tuple[str, str], VersionReport]:
        """The versions that it names, by model and version."""
        return {(version.model, version.version): version for version in self.versions}

    def covers(self, model: str, version: str) -> bool:
        """Tell whether a version was meant; all were, where the report does not say."""
        return (self.selected or EVERYTHING).covers(model, version)

    @property
    def interrupted(self) -> bool:
        """Whether a signal ended it before all was done."""
        return any(version.status == "interrupted" for version in self.versions)

    def count(self) -> Counter[str]:
        """Return how many versions ended in each status."""
        counts = Counter[str](version.status for version in self.versions)
        counts["unchanged"] += self.unchanged
        return counts

    def head(self) -> dict[str, Any]:
        """Return which run it was, and how it ended."""
        return {
            "run_id": self.run_id,
            "mode": self.mode,
            "status": self.status,
            "interrupted": self.interrupted,
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 3),
        }

    def to_json(self) -> dict[str, Any]:
        """Return the run without its versions' own reports."""
        counts = self.count()
        return {
            **self.head(),
            "selected": self.selected.to_json() if self.selected else None,
            "versions": {name: counts[name] for name in sorted({*counts, *_ALWAYS})},
            "bytes": {
                "fetched": self.fetched,
                "uploaded": sum(version.bytes.uploaded for version in self.versions),
            },
            "rate": self.rate,
        }


_ALWAYS = ("published", "unchanged", "failed", "refused")


def rate(size: int, seconds: float) -> int | None:
    """Return bytes per second, None where there were none."""
    return round(size / seconds) if size and seconds > 0 else None


def parse_record(data: bytes) -> RunRecord:
    """Read a run's report. Raises ValueError for what is none."""
    try:
        return _record(json.loads(data))
    except _WRONG as error:
        message = f"this is no run report: {error!r}"
        raise ValueError(message) from error


def _record(raw: dict[str, Any]) -> RunRecord:
    selected = raw.get("selected")
    return RunRecord(
        run_id=_text(raw["run_id"]),
        mode=_text(raw["mode"]),
        status=_text(raw["status"]),
        started=parse_moment(raw["started"]),
        seconds=_seconds(raw["seconds"]),
        unchanged=_number(raw["unchanged"]),
        versions=tuple(_version(one) for one in raw["models"]),
        endpoints=tuple(parse_tally(one) for one in raw.get("endpoints", ())),
        selected=_selected(selected) if selected is not None else None,
    )


def _version(raw: dict[str, Any]) -> VersionReport:
    commit, manifest, error = raw.get("commit"), raw.get("manifest"), raw.get("error")
    tree = raw.get("tree")
    files, sizes, requests = (raw.get(key) or {} for key in ("files", "bytes", "requests"))
    return VersionReport(
        model=ModelName(raw["model"]),
        version=_text(raw["version"]),
        status=cast("Status", _text(raw["status"])),
        commit=CommitId(commit) if commit is not None else None,
        manifest=_text(manifest) if manifest is not None else None,
        tree=_text(tree) if tree is not None else None,
        files=Files(*(_number(files.get(key, 0)) for key in Files.__slots__)),
        bytes=Bytes(*(_number(sizes.get(key, 0)) for key in Bytes.__slots__)),
        origin_requests=_number(requests.get("origin", 0)),
        store_requests=_number(requests.get("store", 0)),
        seconds=_seconds(raw.get("seconds", 0)),
        reasons=_texts(raw.get("reasons", [])),
        warnings=_texts(raw.get("warnings", [])),
        error=_failure(error) if error is not None else None,
        moved=tuple(_moved(one) for one in raw.get("moved", ())),
    )


def _moved(raw: dict[str, Any]) -> MovedFile:
    error = raw.get("error")
    return MovedFile(
        path=_text(raw["path"]),
        size=_number(raw["size"]),
        seconds=_seconds(raw["seconds"]),
        error=_text(error) if error is not None else None,
    )


def _failure(raw: dict[str, Any]) -> Failure:
    hint = raw.get("hint")
    return Failure(
        _text(raw["kind"]), _text(raw["message"]), _text(hint) if hint is not None else None
    )


def _selected(raw: dict[str, Any]) -> Selected:
    return Selected(_texts(raw["models"]), _texts(raw["versions"]))


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        message = f"{value!r} is no list"
        raise TypeError(message)
    return tuple(_text(one) for one in value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        message = f"{value!r} is no text"
        raise TypeError(message)
    return value


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        message = f"{value!r} is no number of anything"
        raise ValueError(message)
    return value


def _seconds(value: Any) -> float:
    if type(value) not in {int, float} or not isfinite(value) or value < 0:
        message = f"{value!r} is no duration"
        raise ValueError(message)
    return float(value)
