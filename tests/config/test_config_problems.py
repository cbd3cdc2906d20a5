"""What a wrong file says: line, column, path and words."""

from pathlib import Path

import pytest

from sync_daemon.config import ConfigError, Problem, load
from sync_daemon.domain.errors import ConfigurationError

TOP = "version: 1\nstore: {url: s3://ai-mirror}\n"
HUB = TOP + "origins: {hf: {type: huggingface, endpoints: [%s]}}"
MODEL = TOP + "models:\n- {name: a, repo: o/a, versions: [%s]}\n"


def problems_of(text: str | bytes, **environ: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        load(text if isinstance(text, bytes) else text.encode(), environ=environ)
    return caught.value.problems


WRONG = [
    # keys
    (TOP + "modles: []", 3, "modles", "unknown key", "did you mean 'models'?"),
    (TOP + "transfer: {}\ntransfer: {}", 4, "transfer", "given twice", "line 3"),
    (MODEL % "{name: b, name: c, revision: m}", 4, "models[0].versions[0].name", "twice", ""),
    (
        MODEL % "{name: b, revision: m, incude: []}",
        4,
        "models[0].versions[0].incude",
        "",
        "'include'",
    ),
    (MODEL % "{tags: v*, lastest: 3}", 4, "models[0].versions[0].lastest", "", "'latest'"),
    (
        TOP + "origins: {http: {type: directory, path: /x, pth: /x}}",
        3,
        "origins.http.pth",
        "",
        "'path'",
    ),
    ("version: 1", 1, "store", "is missing", ""),
    (TOP + "transfer:\n", 3, "transfer", "has no value", ""),
    (TOP + "? [a]\n: b", 3, "", "key must be a word", ""),
    # types
    (MODEL % "{name: 1.0, revision: m}", 4, "models[0].versions[0].name", "number", 'it: "1.0"'),
    (MODEL % "{name: on, revision: m}", 4, "models[0].versions[0].name", "true or", '"on"'),
    (TOP + "transfer: {attempts: '3'}", 3, "transfer.attempts", "whole number", "quotes"),
    (TOP + "gateway: {anonymous: 'yes'}", 3, "gateway.anonymous", "true or false", ""),
    (TOP + "gateway: {anonymous: 1}", 3, "gateway.anonymous", "true or false", ""),
    (TOP + "defaults: {include: '*.json'}", 3, "defaults.include", "must be a list", "[a, b]"),
    (TOP + "models: [text]", 3, "models[0]", "must be keys and values", ""),
    ("version: 2\nstore: {url: s3://abc}", 1, "version", "no format", "version: 1"),
    ("version: true\nstore: {url: s3://abc}", 1, "version", "no format", ""),
    # log
    (TOP + "log: {level: loud}", 3, "log.level", "must be 'debug', 'info'", ""),
    (TOP + "log: {fiel: x}", 3, "log.fiel", "unknown key", "'file'"),
    (TOP + "log: {levels: {boto3: off}}", 3, "log.levels.boto3", "must be 'debug'", ""),
    (TOP + "log: {levels: {a b: debug}}", 3, "log.levels['a b']", "is no name of a logger", "boto"),
    (
        TOP + "log: {levels: {request.retryed: debug}}",
        3,
        "log.levels['request.retryed']",
        "is no event",
        "'request.retried'",
    ),
    (TOP + "log: {rotate: {size: 1KiB}}", 3, "log.rotate.size", "is below 4KiB", "50MiB"),
    (TOP + "log: {rotate: {keep: 0}}", 3, "log.rotate.keep", "at least 1", ""),
    # proxies and certificates
    (
        TOP + "origins: {a: {type: http, url: 'http://h', proxy: 'socks5://u:pw@h'}}",
        3,
        "origins.a.proxy",
        "is no http proxy, and no other kind is supported",
        "http://HOST:PORT",
    ),
    (
        TOP + "origins: {a: {type: http, url: 'http://h', proxy: 'http://u:***@h:1'}}",
        3,
        "origins.a.proxy",
        "mask of a secret",
        "",
    ),
    (
        TOP + "origins: {a: {type: http, url: 'http://h', ca_file: /no/such.pem}}",
        3,
        "origins.a.ca_file",
        "cannot be read: No such file",
        "name a PEM file",
    ),
    (
        f"version: 1\nstore: {{url: s3://ai-mirror, ca_file: {__file__}}}",
        2,
        "store.ca_file",
        "no certificates in PEM format",
        "",
    ),
    ("version: 1\nstore: {url: 'file:/x', proxy: off}", 2, "store.proxy", "only for an s3://", ""),
    ("version: 1\nstore: {url: 'file:/x', quota: 1TiB}", 2, "store.quota", "only for an s3://", ""),
    (
        "version: 1\nstore: {url: s3://abc, capacity: 0B}",
        2,
        "store.capacity",
        "more than nothing",
        "",
    ),
    # limits
    (
        TOP + "transfer: {memory: 100MiB}",
        3,
        "transfer.memory",
        "100MiB of memory do not hold 4 parts of 32MiB",
        "memory to 128MiB",
    ),
    (TOP + "transfer: {total_timeout: 900}", 3, "transfer.total_timeout", "not a duration", "15m"),
    # units
    (TOP + "transfer: {part_size: 8M}", 3, "transfer.part_size", "not a size: '8M'", "8MiB"),
    (TOP + "transfer: {memory: 0.1B}", 3, "transfer.memory", "not a size", ""),
    (TOP + "transfer: {read_timeout: 30}", 3, "transfer.read_timeout", "duration: 30", "30s"),
    (TOP + "transfer: {min_speed: fast}", 3, "transfer.min_speed", "not a rate", ""),
    (TOP + "retention: {max_delete: 0.1}", 3, "retention.max_delete", "percentage", "10%"),
    (TOP + "retention: {max_delete: 101%}", 3, "retention.max_delete", "percentage", ""),
    (TOP + "transfer: {connections: 0}", 3, "transfer.connections", "at least 1", ""),
    (TOP + "transfer: {connections: 257}", 3, "transfer.connections", "at most 256", ""),
    (TOP + "transfer: {bandwidth: on}", 3, "transfer.bandwidth", "bandwidth", "off"),
    (TOP + "transfer: {bandwidth: '25:00,1MiB'}", 3, "transfer.bandwidth", "wrong time", ""),
    (TOP + "transfer: {bandwidth: 'Foo-08:00,1MiB'}", 3, "transfer.bandwidth", "weekday", ""),
    (TOP + "transfer: {bandwidth: '08:00,off 08:00,1M'}", 3, "transfer.bandwidth", "twice", ""),
    # times
    (TOP + "schedule: {full: '30 3 * *'}", 3, "schedule.full", "has 4 fields", "five fields"),
    (TOP + "schedule: {incremental: daily}", 3, "schedule.incremental", "neither", "or off"),
    (TOP + "schedule: {incremental: 15}", 3, "schedule.incremental", "neither", "15m"),
    (TOP + "schedule: {incremental: 0s}", 3, "schedule.incremental", "neither", "15m"),
    (TOP + "schedule: {jitter: 0.5}", 3, "schedule.jitter", "not a duration", "30s"),
    (TOP + "schedule: {any_time: much}", 3, "schedule.any_time", "not a size", "8MiB"),
    (TOP + "schedule: {full: '61 3 * * sun'}", 3, "schedule.full", "not a cron line", ""),
    (TOP + "schedule: {full: '0 3 * * 0'}", 3, "schedule.full", "number for a weekday", "sun"),
    (TOP + "schedule: {full: '0 3 31 feb *'}", 3, "schedule.full", "never comes", ""),
    (TOP + "schedule: {timezone: Asia/Shangai}", 3, "schedule.timezone", "", "Asia/Shanghai"),
    (TOP + "schedule: {timezone: ../../etc}", 3, "schedule.timezone", "time zone", ""),
    (TOP + "schedule: {window: 22-06}", 3, "schedule.window", "not a window", "22:00-06:00"),
    # store, origins
    ("version: 1\nstore: {url: /srv/x}", 2, "store.url", "address of a store", "file:///"),
    ("version: 1\nstore: {url: file://host/x}", 2, "store.url", "names a host", ""),
    ("version: 1\nstore: {url: s3://a/b}", 2, "store.url", "bucket name", ""),
    ("version: 1\nstore: {url: s3://abc/x/../y}", 2, "store.url", "'..' segment", ""),
    ("version: 1\nstore: {url: file:///x, region: r}", 2, "store.region", "only for an s3", ""),
    (
        "version: 1\nstore: {url: s3://abc, credentials: {access_key: x}}",
        2,
        "store.credentials.secret_key",
        "is missing",
        "goes with access_key",
    ),
    (
        "version: 1\nstore: {url: s3://abc, addressing: pth}",
        2,
        "store.addressing",
        "must be 'auto', 'path' or 'virtual': 'pth'",
        "",
    ),
    (TOP + "origins: {hf: {}}", 3, "origins.hf", "has no type", "huggingface, http or dir"),
    (TOP + "origins: {hf: {type: hgf}}", 3, "origins.hf", "unknown type", ""),
    (TOP + "origins: {'a b': {type: huggingface}}", 3, "origins['a b']", "no name", ""),
    (TOP + "origins: {w: {type: http, url: ftp://x}}", 3, "origins.w.url", "http or https", ""),
    (
        TOP + "origins: {w: {type: http, url: 'https://u:pw@x'}}",
        3,
        "origins.w.url",
        "user name or password",
        "",
    ),
    (HUB % "https://a.example, https://a.example/", 3, "origins.hf.endpoints[1]", "twice", ""),
    (
        HUB % "https://a.example, {url: https://a.example}",
        3,
        "origins.hf.endpoints[1]",
        "is listed twice",
        "",
    ),
    (HUB % "{priority: 1}", 3, "origins.hf.endpoints[0].url", "is missing", "URL of the server"),
    (
        HUB % "{url: https://a.example, priority: 0}",
        3,
        "origins.hf.endpoints[0].priority",
        "at least 1",
        "",
    ),
    (
        HUB % "{url: https://a.example, priorty: 2}",
        3,
        "origins.hf.endpoints[0].priorty",
        "unknown key",
        "'priority'",
    ),
    (HUB % "{url: a.example}", 3, "origins.hf.endpoints[0].url", "http or https", ""),
    (HUB % "ftp://a.example", 3, "origins.hf.endpoints[0]", "http or https", ""),
    (HUB % "5", 3, "origins.hf.endpoints[0]", "is not a URL", ""),
    (HUB % "", 3, "origins.hf.endpoints", "at least one item", ""),
    # models
    (TOP + "models: [{name: a/b/c, repo: o/a}]", 3, "models[0].name", "no name", "one or two"),
    (TOP + "models: [{name: A, repo: o/a}, {name: a, repo: o/b}]", 3, "models[1].name", "'A'", ""),
    (TOP + "models: [{name: a, repo: o/b/c}]", 3, "models[0].repo", "no repository id", ""),
    (TOP + "models: [{name: a, origin: hg, repo: o/b}]", 3, "models[0].origin", "'hg'", "known"),
    (
        TOP + "defaults: {origin: hff}\nmodels: [{name: a, repo: o/b}]",
        3,
        "defaults.origin",
        "",
        "'hf'",
    ),
    (
        MODEL % "{name: v, revision: m}, {name: V, revision: n}",
        4,
        "models[0].versions[1].name",
        "",
        "",
    ),
    (MODEL % "{name: v/1, revision: m}", 4, "models[0].versions[0].name", "no name", ""),
    (MODEL % "{name: v}", 4, "models[0].versions[0].revision", "is missing", "branch"),
    (MODEL % "{name: v, revision: 'a b'}", 4, "models[0].versions[0].revision", "revision", ""),
    (MODEL % "{tags: v*}, {tags: v*}", 4, "models[0].versions[1].tags", "used twice", ""),
    (MODEL % "{name: v1, revision: v1}, {tags: v*}", 4, "models[0].versions[1].tags", "'v1'", ""),
    (MODEL % "{tags: v*, latest: 0}", 4, "models[0].versions[0].latest", "at least 1", ""),
    (MODEL % "", 4, "models[0].versions", "at least one item", ""),
    (
        TOP + "origins: {w: {type: http, url: https://x}}\nmodels: [{name: a}]",
        4,
        "models[0].files",
        "is missing",
        "name the files",
    ),
    (
        TOP + "origins: {w: {type: http, url: https://x}}\n"
        "models: [{name: a, files: [{path: ../x}]}]",
        4,
        "models[0].files[0].path",
        "no path",
        "",
    ),
    (
        TOP + "models:\n- {name: a/b, repo: o/a}\n- {name: a, repo: o/c, versions:\n"
        "  [{name: b, revision: m}]}",
        6,
        "models[1].versions[0].name",
        "share its folder",
        "",
    ),
    # limits
    (TOP + "transfer: {memory: 100MiB}", 3, "transfer.memory", "4 parts", "part_size to 25MiB"),
    (TOP + "transfer: {part_size: 1GiB}", 3, "transfer.part_size", "", "memory to 4GiB"),
    (TOP + "transfer: {part_size: 1MiB}", 3, "transfer.part_size", "below 5MiB", ""),
    (TOP + "policy: {pickle: deny}", 3, "policy", "not enforced", "remove"),
    (TOP + "gateway: {networks: [10.0.0.1/8]}", 3, "gateway.networks[0]", "", "10.0.0.0/8"),
    (TOP + "metrics: {listen: 9464}", 3, "metrics.listen", "not an address", "HOST:PORT"),
    # variables
    (TOP + "defaults: {include: ['${NOPE}']}", 3, "defaults.include[0]", "NOPE", ":-default"),
    (TOP + "defaults: {include: ['${a b}']}", 3, "defaults.include[0]", "no variable", "$${"),
    (TOP + "defaults: {include: [${X}]}", 3, "", "not YAML", "in quotes"),
    # YAML itself
    ("", 1, "", "empty", "example"),
    ("# nothing\n", 1, "", "empty", ""),
    ("---\n...\n", 2, "", "empty", ""),
    ("- a", 1, "", "keys and values", ""),
    (TOP + "---\nversion: 1", 3, "", "second document", ""),
    (TOP + "models: !!python/object:os.system []", 3, "", "tags", ""),
    (TOP + "models: !x []", 3, "", "tags", ""),
    (TOP + "models: *nobody", 3, "", "alias", ""),
    (TOP + "models: &a [*a]", 3, "", "alias", ""),
    (TOP + "models: " + "[" * 40 + "]" * 40, 3, "", "nested", ""),
    (TOP + "models: [", 4, "", "not YAML", ""),
    ("version: 1\n\tstore: x", 2, "", "not YAML", "tabs"),
    (TOP.encode() + b"models: [\xff]", 3, "", "not UTF-8", ""),
    (TOP + "models: [\x00]", 3, "", "U+0000", ""),
    (b"#" * (4 * 1024**2 + 1), 1, "", "larger than 4 MiB", ""),
]


@pytest.mark.parametrize(("text", "line", "path", "message", "hint"), WRONG)
def test_one_mistake_gives_one_problem_at_its_place(
    text: str | bytes, line: int, path: str, message: str, hint: str
) -> None:
    (problem,) = problems_of(text)
    assert (problem.line, problem.path) == (line, path)
    assert message in problem.message
    assert hint in problem.hint or hint in problem.message


def test_all_mistakes_of_a_file_are_told_at_once() -> None:
    found = problems_of("""version: 1
store:
  url: s3:/abc
  adressing: path
origins:
  hf: {type: huggingface, endpoints: https://x.example}
models:
  - name: llama
    repo: a/b
    repo: a/c
    versions:
      - {name: 1.0, revison: main}
      - {name: two, revision: "${NOPE}", origin: hg}
  - just text
schedule: {incremental: "* * * * 0"}
transfer: {memory: 64MiB, attempts: x}
policy: {pickle: deny}
""")
    assert [(p.line, p.path) for p in found] == [
        (3, "store.url"),
        (4, "store.adressing"),
        (6, "origins.hf.endpoints"),
        (10, "models[0].repo"),
        (12, "models[0].versions[0].revision"),
        (12, "models[0].versions[0].name"),
        (12, "models[0].versions[0].revison"),
        (13, "models[0].versions[1].revision"),
        (13, "models[0].versions[1].origin"),
        (14, "models[1]"),
        (15, "schedule.incremental"),
        (16, "transfer.memory"),
        (16, "transfer.attempts"),
        (17, "policy"),
    ]


def test_a_problem_prints_as_one_line_with_its_place() -> None:
    text = "version: 1\nstore:\n  url: s3://ai-mirror\n  regoin: x\n"
    with pytest.raises(ConfigError) as caught:
        load(text.encode(), environ={}, source="my.yaml")
    assert str(caught.value) == ("my.yaml:4:3: store.regoin: unknown key, did you mean 'region'?")
    assert isinstance(caught.value, ConfigurationError)


@pytest.mark.parametrize(
    "text",
    [
        "origins: {hf: {type: huggingface, token: 918273645}}",
        "origins: {hf: {type: huggingface, token: [918273645]}}",
        "origins: {hf: {type: huggingface, endpoints: ['https://u:918273645@h']}}",
        "origins: {hf: {type: huggingface, endpoints: ['${S}']}}",
        "origins: {hf: 918273645}",
        "transfer: {read_timeout: '${S}'}",
        "schedule: {full: '${S}', timezone: '${S}'}",
        "store: {addressing: '${S}'}",
        "defaults: {origin: '${S}'}\nmodels: [{name: a, repo: o/a}]",
        "models: [{name: '${S}/a/b', repo: '${S}/a/b'}]",
    ],
)
def test_no_message_repeats_what_may_be_secret(text: str) -> None:
    found = problems_of("version: 1\n" + text, S="918273645")
    assert "918273645" not in "".join(map(str, found))


def test_a_variable_that_is_not_utf8_is_a_problem() -> None:
    (problem,) = problems_of("version: 1\nstore: {url: 's3://abc/${S}'}", S="\udcff")
    assert "not UTF-8" in problem.message


def test_a_secret_and_its_file_together_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("x")
    text = f"origins: {{hf: {{type: huggingface, token: x, token_file: {file}}}}}"
    (problem,) = problems_of(TOP + text)
    assert problem.path == "origins.hf.token_file"
    assert "beside token" in problem.message


@pytest.mark.parametrize("content", [None, b"", b"\n", b"a\nb\n", b"\xff", b"x" * 70_000])
def test_a_secret_file_that_cannot_be_used_is_a_problem(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    (problem,) = problems_of(TOP + f"origins: {{hf: {{type: huggingface, token_file: {file}}}}}")
    assert problem.path == "origins.hf.token_file"


@pytest.mark.parametrize("name", ["/dev/zero", "/", "a\\0b"])
def test_only_regular_files_are_read_for_secrets(name: str) -> None:
    text = f'origins: {{hf: {{type: huggingface, token_file: "{name}"}}}}'
    (problem,) = problems_of(TOP + text)
    assert problem.path == "origins.hf.token_file"


def test_aliases_cannot_blow_up_the_file() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)]
    (problem,) = problems_of("\n".join(lines))
    assert "aliases repeat" in problem.message


def test_merge_keys_cannot_blow_up_the_file() -> None:
    lines = ["a0: &a0 {k: v}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 20)]
    (problem,) = problems_of("\n".join(lines))
    assert "aliases repeat" in problem.message


def test_a_huge_flat_file_is_refused_in_bounded_time() -> None:
    (problem,) = problems_of("models: [" + "a," * 300_000 + "]")
    assert "200,000 values" in problem.message


def test_a_wrong_proxy_is_never_repeated() -> None:
    (problem,) = problems_of(
        TOP + "origins: {a: {type: http, url: 'http://h', proxy: 'socks5://me:hush@h:1'}}"
    )
    assert "hush" not in str(problem)
