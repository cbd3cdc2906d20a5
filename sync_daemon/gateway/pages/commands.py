"""Commands that fetch a version with the tools that people have, ready to be copied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sync_daemon.gateway.published.shelf import Edition


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to type, and for which tool."""

    tool: str
    text: str


@dataclass(frozen=True, slots=True)
class Place:
    """How readers reach the mirror. `url` is the gateway's; `tree` and `store_url` are those of a
    plain tree in a bucket, None where there is none."""

    url: str
    needs_token: bool
    tree: str | None = None
    store_url: str | None = None


def recipes(edition: Edition, place: Place) -> tuple[Recipe, ...]:
    """Return a recipe for every tool that can read this version."""
    return tuple(_recipes(edition, place))


def _recipes(edition: Edition, place: Place) -> Iterator[Recipe]:
    model, version, kind = (
        edition.model,
        edition.version.replace("%2F", "/"),
        edition.source.repo_type,
    )
    head = f"export HF_ENDPOINT={place.url}\n"
    if place.needs_token:
        head += "export HF_TOKEN=...  # made by: sync-daemon token create NAME\n"
    option = "" if kind == "model" else f" --repo-type {kind}"
    yield Recipe("hf", f"{head}hf download {model} --revision {version}{option}")
    if kind == "dataset":
        code = f'from datasets import load_dataset\nload_dataset("{model}", revision="{version}")'
        yield Recipe("datasets", f"{head}python - <<'EOF'\n{code}\nEOF")
    if kind == "model":
        code = (
            "from transformers import AutoModel, AutoTokenizer\n"
            f'name, revision = "{model}", "{version}"\n'
            "tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)\n"
            "model = AutoModel.from_pretrained(name, revision=revision)"
        )
        yield Recipe("transformers", f"{head}python - <<'EOF'\n{code}\nEOF")
        yield Recipe("vLLM", f"{head}vllm serve {model} --revision {version}")
    if place.tree is not None:
        endpoint = f" --endpoint-url {place.store_url}" if place.store_url else ""
        yield Recipe("aws s3", f"aws s3 sync {place.tree} ./{model.rpartition('/')[2]}{endpoint}")
    token = "export SYNC_DAEMON_TOKEN=...\n" if place.needs_token else ""
    yield Recipe(
        "sync-daemon pull",
        f"{token}sync-daemon pull {model}@{version}{option} --mirror {place.url}"
        f" --output ./{model.rpartition('/')[2]}",
    )
