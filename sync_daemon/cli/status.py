"""`status`: what is declared, what is stored, and what the newest run said."""

from __future__ import annotations

from datetime import datetime

from sync_daemon import bootstrap
from sync_daemon.cli.command import Command, add_json
from sync_daemon.cli.output import STYLES, Column, Output
from sync_daemon.cli.reading import browsing
from sync_daemon.cli.session import Session
from sync_daemon.daemon.jobs import NextRun, next_runs
from sync_daemon.domain.words import exact_size, human_age, human_size, plural
from sync_daemon.engine.clock import SystemClock
from sync_daemon.engine.standing import Row, Standing, take_stock

_COLUMNS: tuple[Column, ...] = (
    ("MODEL", "left"),
    ("VERSION", "left"),
    ("STATE", "left"),
    ("COMMIT", "left"),
    ("PUBLISHED", "left"),
    ("FILES", "right"),
    ("SIZE", "right"),
    ("LAST RUN", "left"),
)


def run(session: Session) -> int:
    """Read the store and print how it stands."""
    settings = session.settings()
    url = str(settings.store.url)
    now = SystemClock(session.stop).now()
    with browsing(session, settings) as browser:
        standing = take_stock(browser, bootstrap.entries(settings), now)
    if session.arguments.json:
        coming = [run.to_json() for run in next_runs(settings, now)]
        session.out.json({"store": url} | standing.to_json() | {"next_runs": coming})
    else:
        _show(standing, url, now, session.out)
        _show_next(next_runs(settings, now), session.out)
    return 0


def _show(standing: Standing, url: str, now: datetime, out: Output) -> None:
    out.table(_COLUMNS, (_cells(row, now) for row in standing.rows))
    for row in standing.rows:
        _show_trouble(row, out)
    tally = standing.tally
    distinct = tally.distinct
    out.line(
        f"{plural(tally.versions, 'version')} in {url}: {exact_size(tally.size)};"
        f" each content once: {exact_size(distinct)}, saved {human_size(tally.size - distinct)}"
    )
    if run := standing.run:
        out.line(f"newest run {run.run_id}: {run.status}, {human_age(run.started, now)}")
    else:
        out.line("no run is on record")


def _show_next(runs: tuple[NextRun, ...], out: Output) -> None:
    """Tell what the daemon does next by the YAML, be there one or not."""
    shown = (f"{run.planned.job} {run.at:%Y-%m-%d %H:%M %Z}" for run in runs)
    out.line(f"the schedule's next runs: {', '.join(shown) or 'none'}")


def _cells(row: Row, now: datetime) -> tuple[str, ...]:
    stored, pointer = row.stored, row.stored.pointer if row.stored else None
    readable = stored is not None and stored.problem is None
    return (
        row.model,
        row.version,
        row.state,
        pointer.commit[:12] if pointer else "",
        human_age(pointer.published_at, now) if pointer else "",
        f"{stored.files:,}" if stored and readable else "",
        human_size(stored.size) if stored and readable else "",
        row.last["status"] if row.last else "",
    )


def _show_trouble(row: Row, out: Output) -> None:
    problem = row.stored.problem if row.stored else None
    last = row.last or {}
    error = last.get("error") or {}
    texts = [*([problem] if problem else []), *last.get("reasons", ())]
    if (message := error.get("message")) and message not in texts:
        texts.append(message)
    if not texts:
        return
    state = row.state if problem else str(last.get("status"))
    out.line(f"{row.model}@{row.version}: {state}", STYLES.get(state, "bold"))
    for text in texts:
        out.line(f"  {text}")
    hint = "run `sync-daemon verify` to see what is damaged" if problem else error.get("hint")
    if hint:
        out.line(f"  hint: {hint}")


COMMAND = Command(
    name="status",
    description=(
        "Show every version that is declared or stored: published, missing (declared, not\n"
        "stored), held (by a rollback), undeclared (stored, not in the YAML) or damaged. Only\n"
        "the store is asked, no origin. Sizes are those of the current manifests."
    ),
    exits=(0, 2, 3, 130),
    run=run,
    configure=add_json,
)
