"""Run by the interpreter of a client's own environment: does what it is asked, by its library.

    reader.py CLIENT '{"what": "snapshot", "repo": "org/one", ...}'   -> one JSON object on stdout

It must work with every generation of huggingface_hub, and must not import this project.
"""

# ruff: noqa: PLC0415 - each environment has some of the libraries only
import hashlib
import json
import os
import sys
from pathlib import Path


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def tree(folder):
    root = Path(folder)
    return {p.relative_to(root).as_posix(): digest(p) for p in root.rglob("*") if p.is_file()}


def kind(ask):
    return {"repo_type": ask["type"]} if ask.get("type") else {}


def snapshot(ask):
    from huggingface_hub import snapshot_download

    folder = snapshot_download(ask["repo"], revision=ask.get("revision"), **kind(ask))
    return {"files": tree(folder), "folder": folder}


def one_file(ask):
    from huggingface_hub import hf_hub_download

    path = hf_hub_download(ask["repo"], ask["path"], revision=ask.get("revision"), **kind(ask))
    return {"sha256": digest(path)}


def probe(ask):
    from huggingface_hub import HfApi

    api = HfApi()
    info = api.model_info(ask["repo"], revision=ask.get("revision"), files_metadata=True)
    paths = [item.path for item in api.list_repo_tree(ask["repo"], recursive=True)]
    return {
        "sha": info.sha,
        "siblings": sorted(one.rfilename for one in info.siblings),
        "lfs": {one.rfilename: one.lfs.sha256 for one in info.siblings if one.lfs},
        "tree": sorted(paths),
        "exists": api.file_exists(ask["repo"], ask["path"]),
        "missing": api.file_exists(ask["repo"], "not/there.txt"),
        "refs": sorted(one.name for one in api.list_repo_refs(ask["repo"]).branches),
        "commits": len(list(api.list_repo_commits(ask["repo"]))),
    }


def file_system(ask):
    from huggingface_hub import HfFileSystem

    fs = HfFileSystem(skip_instance_cache=True)
    name = f"{ask['repo']}/{ask['path']}"
    with fs.open(name, "rb") as file:
        file.seek(ask["start"])
        part = file.read(ask["count"])
    names = sorted(path.removeprefix(ask["repo"] + "/") for path in fs.find(ask["repo"]))
    return {"part": part.hex(), "names": names, "size": fs.info(name)["size"]}


def failure(ask):
    from huggingface_hub import hf_hub_download

    try:
        hf_hub_download(ask["repo"], ask["path"], revision=ask.get("revision"))
    except Exception as error:  # noqa: BLE001 - its kind is the answer
        return {"kind": type(error).__name__, "text": str(error)}
    return {"kind": None}


def tokenizer(ask):
    from transformers import AutoConfig, AutoTokenizer

    config = AutoConfig.from_pretrained(ask["repo"], revision=ask.get("revision"))
    words = AutoTokenizer.from_pretrained(ask["repo"], revision=ask.get("revision"))
    return {"type": config.model_type, "ids": words("mirrors are useful")["input_ids"]}


def dataset(ask):
    from datasets import load_dataset

    rows = load_dataset(ask["repo"], revision=ask.get("revision"), split="train")
    return {"rows": [dict(row) for row in rows]}


def embedding(ask):
    import torch
    from transformers import AutoModel, AutoTokenizer

    def embed(place, **options):
        words, model = (
            AutoTokenizer.from_pretrained(place, **options),
            AutoModel.from_pretrained(place, **options),
        )
        with torch.no_grad():
            hidden = model(**words("mirrors are useful", return_tensors="pt")).last_hidden_state
        return hidden.mean(1)[0].tolist()

    return {"mirror": embed(ask["repo"], revision=ask.get("revision")), "disk": embed(ask["disk"])}


def kserve(ask):
    from kserve_storage import Storage

    return {"files": tree(Storage.download(ask["url"], ask["output"]))}


def vllm(ask):
    """What vLLM calls for an s3:// model: small files first, then the weights as a stream.

    By `ObjectStorageModel` in newer ones, by `pull_files` in those before.
    """
    from runai_model_streamer import (
        ObjectStorageModel,
        SafetensorsStreamer,
        list_safetensors,
        pull_files,
    )

    url, output = ask["url"], Path(ask["output"])
    small = ["*.model", "*.py", "*.json"]
    heavy = ["*.pt", "*.safetensors", "*.bin", "*.tensors", "*.pth"]
    (output / "old").mkdir(parents=True)
    pull_files(url + "/", str(output / "old"), small, None)
    pull_files(url + "/", str(output / "old"), None, heavy)
    with ObjectStorageModel(model_path=url, dst=str(output / "new")) as model:
        model.pull_files(allow_pattern=small)
        model.pull_files(ignore_pattern=heavy)
    weights = list_safetensors(path=url)
    with SafetensorsStreamer() as streamer:
        streamer.stream_files(weights, device="cpu", is_distributed=False)
        tensors = {name: told(tensor) for name, tensor in streamer.get_tensors()}
    return {
        "old": tree(output / "old"),
        "new": tree(output / "new"),
        "weights": weights,
        "tensors": tensors,
    }


def told(tensor):
    """Type, shape and bytes of a tensor, to be compared with those of the file."""
    import torch

    data = tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return [str(tensor.dtype), list(tensor.shape), hashlib.sha256(data).hexdigest()]


def tensors(ask):
    """The same of a file on disk, by the library that defines the format."""
    from safetensors.torch import load_file

    return {name: told(tensor) for name, tensor in load_file(ask["disk"]).items()}


def main():
    ask = json.loads(sys.argv[1])
    if ask.get("largest"):
        from huggingface_hub import constants, file_download

        constants.MAX_HTTP_DOWNLOAD_SIZE = ask["largest"]
        if hasattr(file_download.constants, "MAX_HTTP_DOWNLOAD_SIZE"):
            file_download.constants.MAX_HTTP_DOWNLOAD_SIZE = ask["largest"]
    found = globals()[ask["what"]](ask)
    print(json.dumps(found))


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    main()
