"""Everything that is written anywhere, searched for every secret there is.

The real command, told to log all that it and its libraries can say, is led through success
and failure: a Hub with a token behind a proxy with a password, an HTTP origin with a secret
header, a bucket with keys, alert URLs with passwords and tokens, addresses that are signed.
"""

from __future__ import annotations

import base64
import json
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import pytest

from sync_daemon.cli.main import main
from tests.support.daemon import Daemon, Ran
from tests.support.hub import Corrupt, Fault, Hub, RedirectTo, ReplaceBody, Status, Synthetic
from tests.support.proxy import ForwardProxy
from tests.support.rehash import Bucket
from tests.support.running import Running
from tests.support.servers import BUCKET, S3Server, make_client
from tests.support.sinks import AlertSink, alert_sink
from tests.support.waiting import wait_until

MIB = 1024**2
TOKEN = "hf_tokenOFtheHUB0123456789"
PROXY = "pr0xy/p@ss word"
HEADER = "header-s3cret-of-the-server"
ACCESS, SECRET = "AKIAACCESSOFTHESTORE", "s3cretKEY/of+the=store0123456789"
PROFILE = f"[default]\naws_access_key_id = {ACCESS}\naws_secret_access_key = {SECRET}\n"
WEBHOOK = "webhook-s3cret-0123"
ALERT_USER, ALERT_TOKEN = "al3rt-p@ssword", "T0KEN0ftheCHATservice"
MANAGER, MANAGER_PATH = "manag3r-passw0rd", "pathTOKEN0987654321"
FROM_FILE = "t0ken-out-of-a-file-42"
SIGNED = re.compile(rb"(?i)(?:X-Amz-Signature|Signature|X-Amz-Credential)=(?!\*\*\*)[^\s\"&]+")
LOUD = ("botocore", "boto3", "urllib3", "httpx", "httpcore", "huggingface_hub", "apprise")


def forms(secret: str) -> Iterator[bytes]:
    """A secret as it is, in a URL, and inside JSON."""
    for text in (secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1]):
        yield text.encode()


def basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


SECRETS = (
    *(TOKEN, PROXY, HEADER, ACCESS, SECRET, WEBHOOK, ALERT_USER, ALERT_TOKEN, MANAGER),
    *(MANAGER_PATH, FROM_FILE, basic("user", PROXY), basic("am", MANAGER)),
    *(basic("me", ALERT_USER),),
)


@dataclass
class Stage:
    """Servers with secrets, the command, and all that it wrote."""

    folder: Path
    hub: Hub
    proxy: ForwardProxy
    sink: AlertSink
    s3: S3Server
    capsys: pytest.CaptureFixture[str]
    written: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        profiles = self.folder / "profiles"
        profiles.write_text(PROFILE)
        variables = {
            "S3_SECRET": SECRET,
            "HF_TOKEN": TOKEN,
            "PROXY_PASSWORD": quote(PROXY, safe=""),
            "AWS_SHARED_CREDENTIALS_FILE": str(profiles),
        }
        self.daemon = Daemon(self.folder / "mirror.yaml", variables)
        (self.folder / "token").write_text(FROM_FILE + "\n")
        self.place = Bucket(
            make_client(S3Server("s3", self.s3.endpoint, ACCESS, SECRET)), BUCKET, "secrets/"
        )

    def document(self, *models: dict[str, Any], **sections: Any) -> dict[str, Any]:
        proxy = f"http://user:${{PROXY_PASSWORD}}@{self.proxy.authority}"
        hub = {"type": "huggingface", "endpoints": [self.hub.endpoint], "proxy": proxy}
        return {
            "version": 1,
            "store": {
                "url": f"s3://{BUCKET}/secrets",
                "endpoint": self.s3.endpoint,
                "credentials": {"access_key": ACCESS, "secret_key": "${S3_SECRET}"},
            },
            "origins": {
                "hf": hub | {"token": "${HF_TOKEN}"},
                "other": hub | {"token_file": str(self.folder / "token")},
                "web": {
                    "type": "http",
                    "url": self.hub.endpoint,
                    "headers": {"X-Api-Key": HEADER, "Authorization": f"Bearer {HEADER}"},
                },
            },
            "defaults": {"origin": "hf"},
            "models": models,
            "schedule": {"webhook_secret": WEBHOOK},
            "metrics": {"listen": "off"},
            "transfer": {"attempts": 1, "part_size": "5MiB", "connections": 2, "memory": "64MiB"},
            "alerts": {
                "urls": [f"json://me:{quote(ALERT_USER, safe='')}@{self.sink.place}/{ALERT_TOKEN}"],
                "alertmanager": f"http://am:{MANAGER}@{self.sink.place}/{MANAGER_PATH}",
            },
            "log": {
                "level": "debug",
                "levels": dict.fromkeys(LOUD, "debug"),
                "file": str(self.folder / "sync.log"),
                "rotate": {"size": "64KiB", "keep": 1000},
            },
        } | sections

    def write(self, *models: dict[str, Any], **sections: Any) -> None:
        self.daemon.write(json.dumps(self.document(*models, **sections)))

    def run(self, *argv: str, code: int | None = None) -> Ran:
        ran = self.daemon.run(*argv)
        self.keep(" ".join(argv), ran.out, ran.err)
        assert code in (None, ran.code), ran.err[-2000:]
        return ran

    def look(self, *argv: str) -> None:
        """Run a command in this process: many of them would take long to start."""
        self.capsys.readouterr()
        main(["--config", str(self.daemon.config), *argv], environ=self.daemon.environment())
        self.keep(" ".join(argv), *self.capsys.readouterr())

    def keep(self, name: str, *texts: str) -> None:
        self.written[f"{len(self.written)}: {name}"] = "\n".join(texts).encode()

    def everything(self) -> dict[str, bytes]:
        """What was printed, the log files, and all objects of the store."""
        logs = {path.name: path.read_bytes() for path in self.folder.glob("sync.log*")}
        objects = {f"store/{key}": self.place.read(key) for key in self.place.keys("")}
        return self.written | logs | objects

    def signatures(self) -> set[str]:
        """What the Hub put into the addresses that it signed."""
        queries = (parse_qs(one.query) for one in self.hub.seen("cdn"))
        return {value for query in queries for value in query.get("Signature", ())}


@pytest.fixture
def stage(
    tmp_path: Path, moto_server: S3Server, capsys: pytest.CaptureFixture[str]
) -> Iterator[Stage]:
    with ExitStack() as stack:
        hub = stack.enter_context(Hub(tokens={TOKEN}))
        proxy = stack.enter_context(ForwardProxy(wants=f"Basic {basic('user', PROXY)}"))
        sink = stack.enter_context(alert_sink())
        yield Stage(tmp_path, hub, proxy, sink, moto_server, capsys)


def model(name: str, repo: str, **extra: Any) -> dict[str, Any]:
    return {"name": name, "repo": repo, **extra}


def succeed(stage: Stage) -> None:
    """A run that publishes a private model, and all that looks at it afterwards."""
    stage.hub.repo("org/good", private=True).commit(
        {"config.json": b"{}", "w.safetensors": Synthetic(6 * MIB, seed=1)}
    )
    stage.write(model("good", "org/good"))
    stage.run("run-once", "--json", code=0)
    stage.run("run-once", "--full", "--log-format", "text", code=0)
    for verb in ("plan", "status", "ls", "show good", "verify --deep", "history"):
        stage.look(*verb.split())
        stage.look(*verb.split(), "--json")
    for verb in ("config show", "config show --json", "config validate", "doctor", "alerts test"):
        stage.look(*verb.split())


def fail_at_the_origin(stage: Stage) -> None:
    """Refusals, a server that repeats what it was sent, wrong bytes, addresses that lead away."""
    for seed, name in enumerate(("gone", "corrupt", "refused", "away", "echo")):
        stage.hub.repo(f"org/{name}").commit({"w.safetensors": Synthetic(6 * MIB, seed=100 + seed)})
    stage.hub.repo("org/gated", gated="manual").commit({"a.bin": b"x"})
    echo = f"you sent {TOKEN} {HEADER} {SECRET}".encode()
    with socket.create_server(("127.0.0.1", 0)) as server:
        nowhere = f"http://127.0.0.1:{server.getsockname()[1]}/x?Signature=abcdef0123&X=1"
    for name, fault in {
        "corrupt": Fault("cdn", Corrupt(100), times=None),
        "refused": Fault("cdn", Status(403), times=None),
        "away": Fault("resolve", RedirectTo(nowhere), times=None),
        "echo": Fault("info", ReplaceBody(echo), times=None),
    }.items():
        stage.hub.faults.add(fault)
        stage.write(model(name, f"org/{name}"))
        stage.run("run-once", "--json", code=1 if name != "away" else None)
        stage.hub.faults.clear()
    web = model("web", "", origin="web", files=[{"path": "no/such"}])
    del web["repo"]
    stage.write(
        *(model(name, f"org/{name}") for name in ("missing", "gated")),
        web,
        model("other", "org/gone", origin="other"),
    )
    stage.run("run-once", code=1)
    stage.look("plan", "--log-format", "text")


def fail_around_it(stage: Stage) -> None:
    """No proxy, wrong proxy, no store, wrong keys, nobody who takes alerts, wrong files."""
    good = model("good", "org/good")
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = f"127.0.0.1:{server.getsockname()[1]}"
    document = stage.document(good)
    store, hub = document["store"], document["origins"]["hf"]
    origins = document["origins"]
    for proxy in (
        f"http://user:${{PROXY_PASSWORD}}@{nobody}",
        f"http://w:w@{stage.proxy.authority}",
    ):
        stage.write(good, origins=origins | {"hf": hub | {"proxy": proxy}})
        stage.run("run-once", "--full", code=3)
        stage.look("doctor")
    for wrong in ({"endpoint": f"http://{nobody}"}, {"url": "s3://no-such-bucket"}):
        stage.write(good, store=store | wrong)
        stage.look("run-once")
        stage.look("doctor")
    stage.write(good, store={name: store[name] for name in ("url", "endpoint")})
    stage.run("doctor")  # with the keys that boto3 finds
    alerts = {
        "urls": [f"json://me:{quote(ALERT_USER, safe='')}@{nobody}/{ALERT_TOKEN}"],
        "alertmanager": f"http://am:{MANAGER}@{nobody}/{MANAGER_PATH}",
    }
    stage.write(good, alerts=alerts)
    stage.look("alerts", "test")
    stage.sink.status = 500
    stage.write(good)
    stage.look("alerts", "test")
    stage.write(
        good, store=store | {"checksum": "${S3_SECRET}"}, transfer={"attempts": "${HF_TOKEN}"}
    )
    stage.look("config", "validate")
    stage.run("run-once", code=2)


def interrupt(stage: Stage) -> None:
    """The daemon, stopped with a file half way: its journal stays in the store."""
    stage.hub.repo("org/big").commit({"big.bin": Synthetic(40 * MIB, seed=7)})
    stage.hub.rate_total = 8 * MIB
    stage.write(
        model("big", "org/big"), model("missing", "org/missing"), schedule={"incremental": "off"}
    )
    running = Running(stage.daemon.start("run"))
    wait_until(lambda: stage.hub.bytes_sent("cdn", path="big.bin") > 16 * MIB)
    running.send(signal.SIGHUP)
    running.wait_for("config.reloaded")
    code, _ = running.end()
    assert running.process.stdout is not None
    stage.keep("run", running.process.stdout.read(), *map(json.dumps, running.lines))
    assert code == 0
    running.process.stdout.close()
    assert list(stage.place.keys("uploads/")), "there is a journal"


def test_no_secret_is_written_anywhere(stage: Stage) -> None:
    succeed(stage)
    fail_at_the_origin(stage)
    fail_around_it(stage)
    interrupt(stage)
    everything = stage.everything()
    signatures = stage.signatures()

    secrets = {form for secret in (*SECRETS, *signatures) for form in forms(secret)}
    found = {
        (name, secret) for name, text in everything.items() for secret in secrets if secret in text
    }
    assert found == set()
    signed = {name: match[0] for name, text in everything.items() if (match := SIGNED.search(text))}
    assert signed == {}
    must_have_been_there(stage, everything, signatures)


def must_have_been_there(stage: Stage, everything: dict[str, bytes], signatures: set[str]) -> None:
    """The search is worth something only if every secret was used, and libraries were loud."""
    log = b"".join(text for name, text in everything.items() if name.startswith("sync.log"))
    for logger in ("botocore", "urllib3"):
        assert b'"logger": "%s' % logger.encode() in log, logger
    assert len(signatures) > 3
    assert stage.hub.authorized("api")
    assert stage.proxy.passed
    assert stage.proxy.denied
    assert {post[0] for post in stage.sink.posts} >= {f"/{ALERT_TOKEN}"}
    assert any(MANAGER_PATH in post[0] for post in stage.sink.posts)
    kinds = {name.split("/")[1] for name in everything if name.startswith("store/")}
    assert kinds >= {"blobs", "models", "runs"}, kinds


def test_the_search_would_find_a_secret(stage: Stage) -> None:
    """A search that finds nothing in what does hold a secret would prove nothing."""
    stage.keep("x", f"a {PROXY} in the text")
    secrets = {form for secret in SECRETS for form in forms(secret)}
    assert any(secret in text for text in stage.everything().values() for secret in secrets)
