"""POST /webhooks/huggingface and POST /api/runs: what may start a run from outside; and
GET /api/runs/ID, which tells what became of a run by hand.

    request -> secret -> bucket -> body -> Requests -> the main loop

Both do not exist (404) until the YAML has a secret for them. A secret is compared by its
hash, so that the time of an answer tells neither where it differs nor how long it is; a
missing one and a wrong one are one and the same. Each route has two buckets: right and wrong
requests do not use up one another's, so that nobody without the secret can shut out those
who have it. Wrong ones beyond theirs are told 429 and cost a comparison.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from sync_daemon.config import Secret, Settings
from sync_daemon.daemon.flood import Bucket, Tally
from sync_daemon.daemon.hub_event import (
    HubEvent,
    WrongPayload,
    models_of,
    read_event,
    read_json,
)
from sync_daemon.daemon.jobs import Asked, Job
from sync_daemon.daemon.requests import Requests
from sync_daemon.daemon.web import Answer, Request, Routes
from sync_daemon.domain.events import (
    TRIGGER_REFUSALS,
    Event,
    TriggerAccepted,
    TriggerIgnored,
    TriggerRefused,
)

WEBHOOK = "/webhooks/huggingface"
RUNS = "/api/runs"

_SOON = 60
"""Seconds after which to ask again where too many runs wait."""

_LONGEST_NAME = 200
_MOST_NAMES = 5


class _Gate:
    """What guards one route; `by` is its name in events."""

    def __init__(
        self, by: str, monotonic: Callable[[], float], emit: Callable[[Event], None]
    ) -> None:
        self._by = by
        self._emit = emit
        self._right, self._wrong = Bucket(monotonic), Bucket(monotonic)
        self._refused = {reason: Tally(monotonic) for reason in TRIGGER_REFUSALS}

    def check(self, secret: Secret | None, given: str, client: str) -> Answer | None:
        """Return why a request is not let through, or None."""
        if not secret:
            return Answer.text("not found", 404)
        right = _is_same(secret, given)
        if wait := (self._right if right else self._wrong).take():
            answer = _error(429, "too many requests")
            headers = {"Retry-After": str(math.ceil(wait))}
            return self.refuse(Answer(429, answer.body, answer.type, headers), "flood", client)
        if not right:
            return self.refuse(_error(401, "unauthorized"), "secret", client)
        return None

    def refuse(self, answer: Answer, reason: str, client: str) -> Answer:
        """Return the answer; tell of it unless that was done a moment ago."""
        if count := self._refused[reason].count():
            self._emit(TriggerRefused(self._by, answer.status, reason, client, count))
        return answer


class Hooks:
    """The handlers. `emit` is told what was accepted and what was refused, never a secret."""

    def __init__(
        self,
        settings: Settings,
        requests: Requests,
        monotonic: Callable[[], float],
        emit: Callable[[Event], None],
    ) -> None:
        self._settings = settings
        self._requests = requests
        self._emit = emit
        self._webhook = _Gate("webhook", monotonic, emit)
        self._api = _Gate("api", monotonic, emit)
        self._look = _Gate("api", monotonic, emit)

    def routes(self) -> Routes:
        """Return the routes; they stay when the configuration changes."""
        return {
            ("POST", WEBHOOK): self.take_webhook,
            ("POST", RUNS): self.start_run,
            ("GET", f"{RUNS}/"): self.show_run,
        }

    def configure(self, settings: Settings) -> None:
        """Go by another configuration, its secrets included."""
        self._settings = settings

    # -- the Hub's webhooks --------------------------------------------------------------------

    def take_webhook(self, request: Request) -> Answer:
        """Ask for a run of the models that an event is about."""
        settings, gate = self._settings, self._webhook
        given = request.headers.get("x-webhook-secret", "")
        if answer := gate.check(settings.schedule.webhook_secret, given, request.client):
            return answer
        try:
            event = read_event(request.body)
        except WrongPayload as error:
            return gate.refuse(_error(400, str(error)), "payload", request.client)
        if self._requests.closed:
            return gate.refuse(_ending(), "ending", request.client)
        return self._follow(event, settings)

    def _follow(self, event: HubEvent, settings: Settings) -> Answer:
        models = models_of(event, settings) if event.changes_content else ()
        if not models:
            reason = "the YAML names no such repository and ref"
            if not event.changes_content:
                reason = "it changes no files"
            self._emit(TriggerIgnored("webhook", event.names[0][:_LONGEST_NAME], reason))
            return _json(202, {"accepted": False, "model": [], "reason": reason})
        after = settings.schedule.webhook_debounce.total_seconds()
        jobs = tuple(Job("webhook", model) for model in models)
        waited = [self._requests.add(job, after) is not job for job in jobs]
        self._emit(TriggerAccepted("webhook", models, debounced=all(waited)))
        return _json(202, {"accepted": True, "model": list(models)})

    # -- runs by hand --------------------------------------------------------------------------

    def start_run(self, request: Request) -> Answer:
        """Ask for a run now, and say by which id it will be found."""
        settings, gate = self._settings, self._api
        if answer := self._check_token(gate, request):
            return answer
        try:
            asked = _read_asked(request.body, tuple(model.name for model in settings.models))
        except WrongPayload as error:
            return gate.refuse(_error(400, str(error)), "payload", request.client)
        if self._requests.closed:
            return gate.refuse(_ending(), "ending", request.client)
        return self._ask(Job("request", asked=asked), asked, request.client)

    def show_run(self, request: Request) -> Answer:
        """Tell what became of a run by hand."""
        if answer := self._check_token(self._look, request):
            return answer
        run = request.path.rpartition("/")[2]
        if (known := self._requests.asked.find(run)) is None:
            return _error(404, "no such run is known here; `sync-daemon history` may know it")
        return _json(200, known.to_json())

    def _check_token(self, gate: _Gate, request: Request) -> Answer | None:
        given = _bearer(request.headers.get("authorization", ""))
        answer = gate.check(self._settings.schedule.api_token, given, request.client)
        if answer is None or answer.status != 401:  # noqa: PLR2004  unauthorized
            return answer
        return Answer(401, answer.body, answer.type, {"WWW-Authenticate": "Bearer"})

    def _ask(self, job: Job, asked: Asked, client: str) -> Answer:
        found = self._requests.add(job)
        if found is None or found.asked is None:
            answer = _error(429, "too many runs wait")
            headers = {"Retry-After": str(_SOON)}
            full = Answer(429, answer.body, answer.type, headers)
            return self._api.refuse(full, "too_many", client)
        if found is not job:
            message = {"error": "the same run waits already", "run": found.asked.run}
            return self._api.refuse(_json(409, message), "waiting", client)
        self._emit(TriggerAccepted("api", asked.models, asked.run, full=asked.full))
        return _json(202, {"run": asked.run})


def _read_asked(body: bytes, known: tuple[str, ...]) -> Asked:
    """Parse the body of a run by hand; none means everything. Raises WrongPayload."""
    found = read_json(body) if body.strip() else {}
    if not isinstance(found, dict):
        raise WrongPayload("the body is no object")
    if unknown := sorted(found.keys() - {"models", "full"}):
        raise WrongPayload(f"unknown key: {_list(unknown)}; known are: models, full")
    full = found.get("full", False)
    if not isinstance(full, bool):
        raise WrongPayload("full is neither true nor false")
    return Asked(_read_models(found["models"], known) if "models" in found else (), full, _new_id())


def _read_models(found: object, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names in the order of the YAML, each once."""
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise WrongPayload("models is no list of names")
    if not found:
        raise WrongPayload("models is empty: leave it out to mean all of them")
    names = frozenset(found)
    if unknown := sorted(names.difference(known)):
        raise WrongPayload(f"unknown model: {_list(unknown)}")
    return tuple(name for name in known if name in names)


def _list(names: list[str]) -> str:
    shown = ", ".join(name[:_LONGEST_NAME] for name in names[:_MOST_NAMES])
    return shown if len(names) <= _MOST_NAMES else f"{shown} and {len(names) - _MOST_NAMES} more"


def _new_id() -> str:
    return uuid.uuid4().hex[:8]


def _bearer(header: str) -> str:
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _is_same(secret: Secret, given: str) -> bool:
    """Compare in a time that depends on neither. Headers arrive decoded as latin-1."""
    ours = hashlib.sha256(secret.reveal().encode()).digest()
    theirs = hashlib.sha256(given.encode("latin-1", "replace")).digest()
    return hmac.compare_digest(ours, theirs)


def _json(status: int, content: Mapping[str, Any]) -> Answer:
    return Answer(status, json.dumps(content).encode() + b"\n", "application/json")


def _error(status: int, message: str) -> Answer:
    return _json(status, {"error": message})


def _ending() -> Answer:
    return _error(503, "the daemon ends")
