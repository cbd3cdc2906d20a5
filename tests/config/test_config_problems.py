"""What a wrong file says: line, column, path and words."""

from pathlib import Path

import pytest

from sync_daemon.config import ConfigError, Problem, load
from sync_daemon.domain.errors import ConfigurationError

TOP = "version: 1\nstore: {url: s3://ai-mirror}\n"
WEB = "origins: {w: {type: http, url: https://x}}\n"

Case = tuple[str | bytes, int, str, str, str]
"""A file, and the line, path, message and hint of the one problem in it."""


def problems_of(text: str | bytes, **environ: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        load(text if isinstance(text, bytes) else text.encode(), environ=environ)
    return caught.value.problems


def below(text: str, path: str, message: str = "", hint: str = "", *, line: int = 3) -> Case:
    """A mistake below what every file has."""
    return TOP + text, line, path, message, hint


def versions(items: str, path: str, message: str = "", hint: str = "") -> Case:
    """A mistake in the versions of a model."""
    text = f"models:\n- {{name: a, repo: o/a, versions: [{items}]}}\n"
    return below(text, f"models[0].versions{path}", message, hint, line=4)


def endpoints(items: str, path: str, message: str = "", hint: str = "") -> Case:
    """A mistake in the endpoints of a Hub."""
    text = f"origins: {{hf: {{type: huggingface, endpoints: [{items}]}}}}"
    return below(text, f"origins.hf.endpoints{path}", message, hint)


def http(keys: str, path: str, message: str = "", hint: str = "") -> Case:
    """A mistake in an origin that is a web server."""
    return below(f"origins: {{w: {{type: http, {keys}}}}}", f"origins.w.{path}", message, hint)


def store(keys: str, path: str, message: str = "", hint: str = "") -> Case:
    """A mistake in the section `store`."""
    return f"version: 1\nstore: {{{keys}}}", 2, f"store.{path}", message, hint


WRONG: list[Case] = [
    # keys
    below("modles: []", "modles", "unknown key", "did you mean 'models'?"),
    below("transfer: {}\ntransfer: {}", "transfer", "given twice", "line 3", line=4),
    versions("{name: b, name: c, revision: m}", "[0].name", "twice"),
    versions("{name: b, revision: m, incude: []}", "[0].incude", "", "'include'"),
    versions("{tags: v*, lastest: 3}", "[0].lastest", "", "'latest'"),
    below(
        "origins: {http: {type: directory, path: /x, pth: /x}}", "origins.http.pth", "", "'path'"
    ),
    ("version: 1", 1, "store", "is missing", ""),
    below("transfer:\n", "transfer", "has no value"),
    below("? [a]\n: b", "", "key must be a word"),
    # types
    versions("{name: 1.0, revision: m}", "[0].name", "number", 'it: "1.0"'),
    versions("{name: on, revision: m}", "[0].name", "true or", '"on"'),
    below("transfer: {attempts: '3'}", "transfer.attempts", "whole number", "quotes"),
    below("gateway: {anonymous: 'yes'}", "gateway.anonymous", "true or false"),
    below("gateway: {anonymous: 1}", "gateway.anonymous", "true or false"),
    below("defaults: {include: '*.json'}", "defaults.include", "must be a list", "[a, b]"),
    below("models: [text]", "models[0]", "must be keys and values"),
    ("version: 2\nstore: {url: s3://abc}", 1, "version", "no format", "version: 1"),
    ("version: true\nstore: {url: s3://abc}", 1, "version", "no format", ""),
    # log
    below("log: {level: loud}", "log.level", "must be 'debug', 'info'"),
    below("log: {fiel: x}", "log.fiel", "unknown key", "'file'"),
    below("log: {levels: {boto3: off}}", "log.levels.boto3", "must be 'debug'"),
    below("log: {levels: {a b: debug}}", "log.levels['a b']", "is no name of a logger", "boto"),
    below(
        "log: {levels: {request.retryed: debug}}",
        "log.levels['request.retryed']",
        "is no event",
        "'request.retried'",
    ),
    below("log: {rotate: {size: 1KiB}}", "log.rotate.size", "is below 4KiB", "50MiB"),
    below("log: {rotate: {keep: 0}}", "log.rotate.keep", "at least 1"),
    # proxies and certificates
    http(
        "url: 'http://h', proxy: 'socks5://u:pw@h'",
        "proxy",
        "is no http proxy, and no other kind is supported",
        "http://HOST:PORT",
    ),
    http("url: 'http://h', proxy: 'http://u:***@h:1'", "proxy", "mask of a secret"),
    http(
        "url: 'http://h', ca_file: /no/such.pem",
        "ca_file",
        "cannot be read: No such file",
        "name a PEM file",
    ),
    store(f"url: s3://ai-mirror, ca_file: {__file__}", "ca_file", "no certificates in PEM format"),
    store("url: 'file:/x', proxy: off", "proxy", "only for an s3://"),
    store("url: 'file:/x', quota: 1TiB", "quota", "only for an s3://"),
    store("url: s3://abc, capacity: 0B", "capacity", "more than nothing"),
    # limits
    below(
        "transfer: {memory: 100MiB}",
        "transfer.memory",
        "100MiB of memory do not hold 4 parts of 32MiB",
        "memory to 128MiB",
    ),
    below("transfer: {total_timeout: 900}", "transfer.total_timeout", "not a duration", "15m"),
    # units
    below("transfer: {part_size: 8M}", "transfer.part_size", "not a size: '8M'", "8MiB"),
    below("transfer: {memory: 0.1B}", "transfer.memory", "not a size"),
    below("transfer: {read_timeout: 30}", "transfer.read_timeout", "duration: 30", "30s"),
    below("transfer: {min_speed: fast}", "transfer.min_speed", "not a rate"),
    below("retention: {max_delete: 0.1}", "retention.max_delete", "percentage", "10%"),
    below("retention: {max_delete: 101%}", "retention.max_delete", "percentage"),
    below("transfer: {connections: 0}", "transfer.connections", "at least 1"),
    below("transfer: {connections: 257}", "transfer.connections", "at most 256"),
    below("transfer: {bandwidth: on}", "transfer.bandwidth", "bandwidth", "off"),
    below("transfer: {bandwidth: '25:00,1MiB'}", "transfer.bandwidth", "wrong time"),
    below("transfer: {bandwidth: 'Foo-08:00,1MiB'}", "transfer.bandwidth", "weekday"),
    below("transfer: {bandwidth: '08:00,off 08:00,1M'}", "transfer.bandwidth", "twice"),
    # times
    below("schedule: {full: '30 3 * *'}", "schedule.full", "has 4 fields", "five fields"),
    below("schedule: {incremental: daily}", "schedule.incremental", "neither", "or off"),
    below("schedule: {incremental: 15}", "schedule.incremental", "neither", "15m"),
    below("schedule: {incremental: 0s}", "schedule.incremental", "neither", "15m"),
    below("schedule: {jitter: 0.5}", "schedule.jitter", "not a duration", "30s"),
    below("schedule: {any_time: much}", "schedule.any_time", "not a size", "8MiB"),
    below("schedule: {full: '61 3 * * sun'}", "schedule.full", "not a cron line"),
    below("schedule: {full: '0 3 * * 0'}", "schedule.full", "number for a weekday", "sun"),
    below("schedule: {full: '0 3 31 feb *'}", "schedule.full", "never comes"),
    below("schedule: {timezone: Asia/Shangai}", "schedule.timezone", "", "Asia/Shanghai"),
    below("schedule: {timezone: ../../etc}", "schedule.timezone", "time zone"),
    below("schedule: {window: 22-06}", "schedule.window", "not a window", "22:00-06:00"),
    # store, origins
    store("url: /srv/x", "url", "address of a store", "file:///"),
    store("url: file://host/x", "url", "names a host"),
    store("url: file:///", "url", "is the root directory", "file:///srv/mirror"),
    store("url: file:/srv/../", "url", "is the root directory"),
    store("url: file:relative", "url", "begins with neither / nor ./", "file:./relative"),
    store("url: s3://a/b", "url", "bucket name"),
    store("url: s3://abc/x/../y", "url", "'..' segment"),
    store("url: file:///x, region: r", "region", "only for an s3"),
    store(
        "url: s3://abc, credentials: {access_key: x}",
        "credentials.secret_key",
        "is missing",
        "goes with access_key",
    ),
    store(
        "url: s3://abc, addressing: pth", "addressing", "must be 'auto', 'path' or 'virtual': 'pth'"
    ),
    below("origins: {hf: {}}", "origins.hf", "has no type", "huggingface, http or dir"),
    below("origins: {hf: {type: hgf}}", "origins.hf", "unknown type"),
    below("origins: {'a b': {type: huggingface}}", "origins['a b']", "no name"),
    http("url: ftp://x", "url", "http or https"),
    http("url: 'https://u:pw@x'", "url", "user name or password"),
    endpoints("https://a.example, https://a.example/", "[1]", "twice"),
    endpoints("https://a.example, {url: https://a.example}", "[1]", "is listed twice"),
    endpoints("{priority: 1}", "[0].url", "is missing", "URL of the server"),
    endpoints("{url: https://a.example, priority: 0}", "[0].priority", "at least 1"),
    endpoints("{url: https://a.example, priorty: 2}", "[0].priorty", "unknown key", "'priority'"),
    endpoints("{url: a.example}", "[0].url", "http or https"),
    endpoints("ftp://a.example", "[0]", "http or https"),
    endpoints("5", "[0]", "is not a URL"),
    endpoints("", "", "at least one item"),
    # models
    below("models: [{name: a/b/c, repo: o/a}]", "models[0].name", "no name", "one or two"),
    below("models: [{name: A, repo: o/a}, {name: a, repo: o/b}]", "models[1].name", "'A'"),
    below("models: [{name: a, repo: o/b/c}]", "models[0].repo", "no repository id"),
    below("models: [{name: a, origin: hg, repo: o/b}]", "models[0].origin", "'hg'", "known"),
    below("defaults: {origin: hff}\nmodels: [{name: a, repo: o/b}]", "defaults.origin", "", "'hf'"),
    versions("{name: v, revision: m}, {name: V, revision: n}", "[1].name"),
    versions("{name: v/1, revision: m}", "[0].name", "no name"),
    versions("{name: v}", "[0].revision", "is missing", "branch"),
    versions("{name: v, revision: 'a b'}", "[0].revision", "revision"),
    versions("{tags: v*}, {tags: v*}", "[1].tags", "used twice"),
    versions("{name: v1, revision: v1}, {tags: v*}", "[1].tags", "'v1'"),
    versions("{tags: v*, latest: 0}", "[0].latest", "at least 1"),
    versions("", "", "at least one item"),
    below(WEB + "models: [{name: a}]", "models[0].files", "is missing", "name the files", line=4),
    *(
        below(
            f"origins: {{o: {{{origin}}}}}\n"
            f"models: [{{name: a, repo: r, {more}versions: [{{name: v, revision: {revision}}}]}}]",
            "models[0].versions[0].revision",
            "has only main",
            "remove revision",
            line=4,
        )
        for origin, more, revision in (
            ("type: http, url: 'http://h'", "files: [{path: x}], ", "v9"),
            ("type: directory, path: /d", "", "v9"),
            ("type: directory, path: /d", "", "d" * 40),
        )
    ),
    below(
        WEB + "models: [{name: a, files: [{path: ../x}]}]",
        "models[0].files[0].path",
        "no path",
        line=4,
    ),
    below(
        "models:\n- {name: a/b, repo: o/a}\n- {name: a, repo: o/c, versions:\n"
        "  [{name: b, revision: m}]}",
        "models[1].versions[0].name",
        "share its folder",
        line=6,
    ),
    # limits
    below("transfer: {memory: 100MiB}", "transfer.memory", "4 parts", "part_size to 25MiB"),
    below("transfer: {part_size: 1GiB}", "transfer.part_size", "", "memory to 4GiB"),
    below("transfer: {part_size: 1MiB}", "transfer.part_size", "below 5MiB"),
    below("policy: {pickle: deny}", "policy", "not enforced", "remove"),
    below("gateway: {networks: [10.0.0.1/8]}", "gateway.networks[0]", "", "10.0.0.0/8"),
    below("metrics: {listen: 9464}", "metrics.listen", "not an address", "HOST:PORT"),
    # variables
    below("defaults: {include: ['${NOPE}']}", "defaults.include[0]", "NOPE", ":-default"),
    below("defaults: {include: ['${a b}']}", "defaults.include[0]", "no variable", "$${"),
    below("defaults: {include: [${X}]}", "", "not YAML", "in quotes"),
    # YAML itself
    ("", 1, "", "empty", "example"),
    ("# nothing\n", 1, "", "empty", ""),
    ("---\n...\n", 2, "", "empty", ""),
    ("- a", 1, "", "keys and values", ""),
    below("---\nversion: 1", "", "second document"),
    below("models: !!python/object:os.system []", "", "tags"),
    below("models: !x []", "", "tags"),
    below("models: *nobody", "", "alias"),
    below("models: &a [*a]", "", "alias"),
    below("models: " + "[" * 40 + "]" * 40, "", "nested"),
    below("models: [", "", "not YAML", line=4),
    ("version: 1\n\tstore: x", 2, "", "not YAML", "tabs"),
    (TOP.encode() + b"models: [\xff]", 3, "", "not UTF-8", ""),
    below("models: [\x00]", "", "U+0000"),
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
