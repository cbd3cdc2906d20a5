"""What may start a run from outside: secrets, payloads, floods, and what the main loop gets."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from sync_daemon.config import Settings
from sync_daemon.daemon.asked import AskedRuns
from sync_daemon.daemon.flood import BETWEEN_LINES, PER_MINUTE, Bucket, Tally
from sync_daemon.daemon.hooks import RUNS, WEBHOOK, Hooks
from sync_daemon.daemon.hub_event import HubEvent, models_of
from sync_daemon.daemon.jobs import Asked, Job
from sync_daemon.daemon.requests import MOST, Requests
from sync_daemon.daemon.web import Answer, Request
from sync_daemon.domain.names import ModelName
from sync_daemon.domain.report import Failure, RunReport, VersionReport
from tests.daemon.conftest import Configure
from tests.support.fakes import FakeClock, Recorder

SECRET, TOKEN = "the-secret-of-the-webhook", "the-token-of-the-api-000"
SECRETS = {"webhook_secret": SECRET, "api_token": TOKEN}
HUB: dict[str, Any] = {
    "origins": {"hf": {"type": "huggingface"}, "disk": {"type": "directory", "path": "/nowhere"}},
    "models": [
        {"name": "llama", "repo": "Org/Llama"},
        {"name": "twin", "repo": "Org/Llama", "versions": [{"name": "v1", "revision": "v1"}]},
        {"name": "data", "repo": "Org/Llama", "repo_type": "dataset"},
        {"name": "local", "repo": "Org/Llama", "origin": "disk"},
    ],
}


class Bench:
    """The handlers, their clock, and what became of what they took."""

    def __init__(self, settings: Settings) -> None:
        self.clock, self.told = FakeClock(), Recorder()
        self.requests = Requests(self.clock.monotonic)
        self.hooks = Hooks(settings, self.requests, self.clock.monotonic, self.told)

    def post(self, path: str, body: bytes = b"", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        handler = self.hooks.routes()["POST", path]
        return handler(Request("POST", path, "", named, body, "192.0.2.7"))

    def hook(self, secret: str = SECRET, **payload: Any) -> Answer:
        return self.post(WEBHOOK, event_of(**payload), x_webhook_secret=secret)

    def ask(self, body: Any = None, token: str = TOKEN) -> Answer:
        content = b"" if body is None else json.dumps(body).encode()
        return self.post(RUNS, content, authorization=f"Bearer {token}")


def event_of(
    repo: str = "Org/Llama", kind: str = "model", scope: str = "repo.content", **more: Any
) -> bytes:
    """A payload as the Hub sends it."""
    document = {
        "event": {"action": "update", "scope": scope},
        "repo": {"type": kind, "name": repo, "id": "1", "private": False, "headSha": "0" * 40},
        "webhook": {"id": "2", "version": 3},
    }
    return json.dumps(document | more).encode()


@pytest.fixture
def bench(configure: Configure) -> Bench:
    return Bench(configure(**HUB, schedule=SECRETS))


def said(answer: Answer) -> Any:
    assert answer.type == "application/json"
    return json.loads(answer.body)


# -- secrets -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [WEBHOOK, RUNS])
def test_without_a_secret_in_the_yaml_there_is_nothing(configure: Configure, path: str) -> None:
    bench = Bench(configure(**HUB))
    answer = bench.post(path, event_of(), x_webhook_secret="", authorization="Bearer ")
    assert (answer.status, answer.body) == (404, b"not found\n")
    assert bench.told.events == []


@pytest.mark.parametrize("given", ["", "wrong", SECRET[:-1], SECRET + "x", "ä", "\udcff", TOKEN])
def test_a_missing_secret_and_a_wrong_one_are_refused_alike(bench: Bench, given: str) -> None:
    answers = [
        bench.post(WEBHOOK, event_of()),
        bench.hook(secret=given),
        bench.post(WEBHOOK, b"no JSON", x_webhook_secret=given),
        bench.hook(secret=given, repo="un/known"),
    ]
    assert {(one.status, one.body) for one in answers} == {(401, b'{"error": "unauthorized"}\n')}
    assert bench.requests.due() == ()


@pytest.mark.parametrize("header", ["", TOKEN, f"Basic {TOKEN}", "Bearer", f"Bearer {SECRET}"])
def test_a_run_by_hand_needs_the_token(bench: Bench, header: str) -> None:
    answer = bench.post(RUNS, b"{}", authorization=header)
    assert (answer.status, answer.headers) == (401, {"WWW-Authenticate": "Bearer"})


def test_a_secret_beyond_ascii_is_compared_by_its_bytes(configure: Configure) -> None:
    bench = Bench(configure(**HUB, schedule={"webhook_secret": "schlüssel-schlüssel"}))
    assert bench.hook(secret="schlüssel-schlüssel".encode().decode("latin-1")).status == 202


def test_a_reload_brings_other_secrets(bench: Bench, configure: Configure) -> None:
    bench.hooks.configure(configure(**HUB, schedule={"webhook_secret": "another-secret-000"}))
    assert bench.hook().status == 401
    assert bench.hook(secret="another-secret-000").status == 202
    assert bench.ask().status == 404


def test_no_event_holds_a_secret(bench: Bench) -> None:
    bench.hook()
    bench.ask()
    bench.hook(secret="a wrong one")
    bench.ask(token="a wrong token")
    text = repr([event.fields() for event in bench.told.events])
    assert len(bench.told.events) == 4
    assert not [one for one in (SECRET, TOKEN, "a wrong") if one in text]


# -- what a webhook means ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "models"),
    [
        ({}, ["llama", "twin"]),
        ({"repo": "org/llama"}, ["llama", "twin"]),
        ({"kind": "dataset"}, ["data"]),
        ({"kind": "space"}, []),
        ({"repo": "Org/Other"}, []),
        ({"repo": "Llama"}, []),
        ({"repo": "Org/Other", "movedTo": {"name": "Org/Llama"}}, ["llama", "twin"]),
        ({"scope": "repo"}, ["llama", "twin"]),
        ({"scope": "repo.something.new"}, ["llama", "twin"]),
        ({"scope": "repo.config"}, []),
        ({"scope": "repo.config.gated"}, []),
        ({"scope": "discussion"}, []),
        ({"scope": "discussion.comment"}, []),
        ({"updatedRefs": []}, ["llama", "twin"]),
        ({"updatedRefs": [{"ref": "refs/heads/main"}]}, ["llama", "twin"]),
        ({"updatedRefs": [{"ref": "refs/pr/1"}]}, []),
        ({"updatedRefs": [{"ref": "refs/pr/1"}, {"ref": "refs/tags/v2"}]}, ["llama", "twin"]),
    ],
)
def test_a_webhook_is_for_the_models_that_mirror_the_repository(
    bench: Bench, payload: dict[str, Any], models: list[str]
) -> None:
    answer = bench.hook(**payload)
    content = said(answer)
    assert (answer.status, content["accepted"], content["model"]) == (202, bool(models), models)
    bench.clock.wait(5)
    assert bench.requests.due() == tuple(Job("webhook", name) for name in models)
    assert len(bench.told.named("trigger.ignored")) == (not models)


def test_a_pull_request_counts_where_it_is_what_is_mirrored(configure: Configure) -> None:
    versions = [{"name": "next", "revision": "refs/pr/1"}]
    settings = configure(
        origins=HUB["origins"], models=[{"name": "a", "repo": "o/a", "versions": versions}],
        defaults={"origin": "hf"},
    )  # fmt: skip
    assert models_of(HubEvent("model", ("o/a",), "repo.content", ("refs/pr/1",)), settings)
    assert not models_of(HubEvent("model", ("o/a",), "repo.content", ("refs/pr/2",)), settings)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b"9" * 5000, b"{}"),
        b'{"event": {"scope": "repo"}}',
        b'{"event": {}, "repo": {"type": "model", "name": "Org/Llama"}}',
        event_of(repo=""),
        event_of(repo=["Org/Llama"]),  # type: ignore[arg-type]
        event_of(updatedRefs={"ref": "x"}),
        event_of(updatedRefs=["refs/heads/main"]),
        event_of(movedTo="x"),
    ],
)
def test_what_is_no_payload_is_400(bench: Bench, body: bytes) -> None:
    answer = bench.post(WEBHOOK, body, x_webhook_secret=SECRET)
    assert (answer.status, list(said(answer))) == (400, ["error"])
    (refused,) = bench.told.named("trigger.refused")
    assert refused.fields() == {
        "by": "webhook", "status": 400, "reason": "payload", "client": "192.0.2.7", "count": 1,
    }  # fmt: skip


# -- debouncing ----------------------------------------------------------------------------


def test_webhooks_that_follow_one_another_are_one_job(bench: Bench) -> None:
    """Five seconds from the first, so that a stream of them cannot put it off for ever."""
    for _ in range(4):
        bench.hook(kind="dataset")
        bench.clock.wait(1)
    assert bench.requests.due() == ()
    bench.clock.wait(1)
    assert bench.requests.due() == (Job("webhook", "data"),)
    assert bench.requests.due() == ()


def test_a_webhook_during_the_run_leads_to_one_more(bench: Bench) -> None:
    job = Job("webhook", "data")
    for _ in range(2):
        bench.hook(kind="dataset")
        bench.clock.wait(5)
        bench.requests.due()
        bench.hook(kind="dataset")  # it waits for its turn still: that run sees it
        bench.clock.wait(5)
        assert bench.requests.due() == ()
        bench.requests.begin(job)
    bench.hook(kind="dataset")
    bench.clock.wait(5)
    assert bench.requests.due() == (job,)


def test_the_time_is_what_the_yaml_says(configure: Configure) -> None:
    bench = Bench(configure(**HUB, schedule={**SECRETS, "webhook_debounce": "1m"}))
    bench.hook(kind="dataset")
    bench.clock.wait(59)
    assert bench.requests.due() == ()
    bench.clock.wait(1)
    assert len(bench.requests.due()) == 1


# -- runs by hand --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "models", "full"),
    [
        (None, (), False),
        ({}, (), False),
        ({"full": True}, (), True),
        ({"models": ["data", "llama", "data"]}, ("llama", "data"), False),
    ],
)
def test_a_run_by_hand_is_due_at_once_and_has_an_id(
    bench: Bench, body: Any, models: tuple[str, ...], *, full: bool
) -> None:
    answer = bench.ask(body)
    run = said(answer)["run"]
    assert (answer.status, len(run)) == (202, 8)
    (job,) = bench.requests.due()
    assert job == Job("request", asked=Asked(models, full, run))
    assert str(job) == f"request {run}"
    (accepted,) = bench.told.named("trigger.accepted")
    expected = {"by": "api", "run": run, "full": full, "debounced": False} | (
        {"models": models} if models else {}
    )
    assert accepted.fields() == expected


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "the body is no object"),
        ({"models": "llama"}, "models is no list of names"),
        ({"models": [1]}, "models is no list of names"),
        ({"models": []}, "models is empty: leave it out to mean all of them"),
        ({"models": ["llama", "nope"]}, "unknown model: nope"),
        ({"models": [f"n{i}" for i in range(9)]}, "unknown model: n0, n1, n2, n3, n4 and 4 more"),
        ({"full": 1}, "full is neither true nor false"),
        ({"ful": True}, "unknown key: ful; known are: models, full"),
    ],
)
def test_a_wrong_body_is_400_and_says_why(bench: Bench, body: Any, words: str) -> None:
    answer = bench.ask(body)
    assert (answer.status, said(answer)) == (400, {"error": words})
    assert bench.requests.due() == ()


def test_the_same_run_is_not_asked_for_twice(bench: Bench) -> None:
    """Until it begins: then another one may wait."""
    run = said(bench.ask({"models": ["llama", "data"]}))["run"]
    (job,) = bench.requests.due()
    answer = bench.ask({"models": ["data", "llama"]})
    assert (answer.status, said(answer)["run"]) == (409, run)
    assert bench.ask({"models": ["data", "llama"], "full": True}).status == 202
    bench.requests.begin(job)
    assert bench.ask({"models": ["data", "llama"]}).status == 202


def test_no_more_runs_wait_than_are_allowed(configure: Configure) -> None:
    models = [{"name": f"m{i}", "repo": "m"} for i in range(MOST + 1)]
    bench = Bench(configure(models=models, schedule=SECRETS))
    answers = [bench.ask({"models": [f"m{i}"]}) for i in range(MOST + 1)]
    assert [one.status for one in answers] == [202] * MOST + [429]
    assert answers[-1].headers["Retry-After"] == "60"
    assert len(bench.requests.due()) == MOST


def test_a_daemon_that_ends_takes_nothing(bench: Bench) -> None:
    bench.requests.close()
    assert (bench.hook().status, bench.ask().status) == (503, 503)


# -- floods --------------------------------------------------------------------------------


@pytest.mark.parametrize("send", [Bench.hook, Bench.ask], ids=["webhook", "api"])
def test_more_than_so_many_a_minute_are_told_to_come_later(
    bench: Bench, send: Callable[[Bench], Answer]
) -> None:
    statuses = [send(bench).status for _ in range(PER_MINUTE + 5)]
    assert 429 not in statuses[:PER_MINUTE]
    assert statuses[PER_MINUTE:] == [429] * 5
    assert send(bench).headers["Retry-After"] == "2"
    bench.clock.wait(2)
    assert send(bench).status != 429
    assert send(bench).status == 429


def test_wrong_secrets_are_counted_and_shut_out_nobody_else(bench: Bench) -> None:
    statuses = [bench.hook(secret="wrong").status for _ in range(PER_MINUTE + 5)]
    assert statuses == [401] * PER_MINUTE + [429] * 5
    assert bench.hook().status == 202
    assert bench.ask().status == 202


def test_a_flood_of_refusals_is_a_line_now_and_then(bench: Bench) -> None:
    for _ in range(100):
        bench.hook(secret="wrong")
    bench.clock.wait(BETWEEN_LINES)
    bench.hook(secret="wrong")
    told = [event.fields() for event in bench.told.named("trigger.refused")]
    lines = [(one["reason"], one["count"]) for one in told]
    assert lines == [("secret", 1), ("flood", 1), ("secret", PER_MINUTE)]


def test_a_bucket_fills_up_to_its_brim_and_no_further() -> None:
    clock = FakeClock()
    bucket = Bucket(clock.monotonic, per_minute=2)
    clock.wait(3600)
    assert [bucket.take(), bucket.take(), bucket.take()] == [0, 0, 30]
    clock.wait(15)
    assert bucket.take() == 15


def test_a_tally_forgets_nothing_between_two_lines() -> None:
    clock = FakeClock()
    tally = Tally(clock.monotonic, seconds=10)
    assert [tally.count(), tally.count(), tally.count()] == [1, 0, 0]
    clock.wait(10)
    assert tally.count() == 3


# -- what became of a run by hand --------------------------------------------------------------


def look(bench: Bench, run: str, token: str = TOKEN) -> Answer:
    handler = bench.hooks.routes()["GET", f"{RUNS}/"]
    named = {"authorization": f"Bearer {token}"}
    return handler(Request("GET", f"{RUNS}/{run}", "", named, b"", "192.0.2.7"))


def report(run_id: str) -> RunReport:
    versions = (VersionReport(ModelName("llama"), "main", "published"),)
    return RunReport(run_id, "full", datetime(2026, 1, 1, tzinfo=UTC), 1.0, versions)


def test_a_run_by_hand_can_be_followed_from_its_id_to_its_report(bench: Bench) -> None:
    run = said(bench.ask({"models": ["llama"], "full": True}))["run"]
    queued = said(look(bench, run))
    assert queued == {
        "run": run,
        "state": "queued",
        "models": ["llama"],
        "full": True,
        "report": None,
        "error": None,
    }
    (job,) = bench.requests.due()
    assert said(look(bench, run))["state"] == "queued", "it waits for another run"
    bench.requests.begin(job)
    assert said(look(bench, run))["state"] == "running"
    bench.requests.end(job, report(f"20260101T000000.000Z-{run}"))
    found = said(look(bench, f"20260101T000000.000Z-{run}"))
    assert found["state"] == "finished"
    assert found["report"]["status"] == "ok"
    assert found["report"]["models"][0]["status"] == "published"


def test_a_run_that_could_not_be_made_says_why(bench: Bench) -> None:
    run = said(bench.ask())["run"]
    (job,) = bench.requests.due()
    bench.requests.begin(job)
    bench.requests.end(job, Failure("store_unavailable", "no answer", "is it running?"))
    found = said(look(bench, run))
    assert (found["state"], found["report"]) == ("finished", None)
    assert found["error"] == {
        "kind": "store_unavailable",
        "message": "no answer",
        "hint": "is it running?",
    }


def test_an_unknown_run_is_404_and_only_for_those_with_the_token(bench: Bench) -> None:
    assert look(bench, "63c0ffee").status == 404
    assert look(bench, "").status == 404
    wrong = look(bench, said(bench.ask())["run"], token="wrong")
    assert (wrong.status, wrong.headers) == (401, {"WWW-Authenticate": "Bearer"})
    assert wrong.body == look(bench, "63c0ffee", token="wrong").body, "nobody learns what is there"


def test_without_a_token_in_the_yaml_no_run_can_be_looked_at(configure: Configure) -> None:
    assert look(Bench(configure(**HUB)), "63c0ffee").body == b"not found\n"


def test_looking_does_not_use_up_the_requests_for_runs(bench: Bench) -> None:
    answers = [look(bench, "63c0ffee").status for _ in range(PER_MINUTE + 1)]
    assert answers == [404] * PER_MINUTE + [429]
    assert bench.ask().status == 202


def test_only_the_newest_finished_runs_are_remembered() -> None:
    runs = AskedRuns(most=3)
    asked = [Asked((), full=False, run=f"0000000{n}") for n in range(5)]
    for one in asked[:4]:
        runs.queue(one)
    assert all(runs.find(one.run) for one in asked[:4]), "what waits is never forgotten"
    for one in asked[:4]:
        runs.begin(one)
        runs.finish(one, None)
    runs.queue(asked[4])
    assert [one.run for one in asked if runs.find(one.run)] == ["00000002", "00000003", "00000004"]


def test_a_webhook_for_what_waits_already_is_told_as_debounced(bench: Bench) -> None:
    bench.hook()
    bench.hook()
    first, second = (event.fields() for event in bench.told.named("trigger.accepted"))
    assert (first["debounced"], second["debounced"]) == (False, True)


def test_refusals_are_counted_by_their_reason(bench: Bench) -> None:
    bench.hook(secret="wrong")
    bench.post(WEBHOOK, b"no JSON", x_webhook_secret=SECRET)
    bench.hook(secret="wrong")
    told = [event.fields() for event in bench.told.named("trigger.refused")]
    assert [(one["reason"], one["count"]) for one in told] == [("secret", 1), ("payload", 1)]
    bench.clock.wait(BETWEEN_LINES)
    bench.hook(secret="wrong")
    assert bench.told.named("trigger.refused")[-1].fields()["count"] == 2
