"""Folders of models and of adapters, as a hub may hand them out: configurations, tokenizers, weights."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np

from .formats import damaged_safetensors
from .media_readers import check_vectors
from .mutations import damaged, damaged_json
from .reader import Case, Reader

__all__ = ["adapter", "checkpoint", "stock_checkpoint"]

_TESTS = Path(__file__).parents[1]
_GOLDEN, _SAVED = _TESTS / "data" / "golden", _TESTS / "freeze" / "saved" / "model"
_STOCK = {  # small networks that run transformers' own forward, and their profiles
    "golden_llava_next/tiny_llava_next": "vlm2vec-v1-llava-next",
    "golden_llava_onevision/tiny_llava_onevision": "unime-v2-llava-onevision",
    "golden_phi3v/tiny_phi3v": "vlm2vec-v1-phi3v",
    "golden_qwen3_5/tiny_qwen3_5": "wemm",
}
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
_SECONDS = 10.0


def _files(folder: Path) -> Case:
    """The files of a folder and of those in it, but for pages that no program reads."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".md"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(files)}


def _adapters() -> list[Case]:
    whole = _files(_GOLDEN / "tiny_adapter_dora")
    dora = {name: whole[name] for name in _ADAPTER_FILES}
    config = json.loads(dora[_ADAPTER_FILES[0]])
    plain = json.dumps({**config, "use_dora": False}).encode()
    lora = {_ADAPTER_FILES[0]: plain, _ADAPTER_FILES[1]: _without(dora[_ADAPTER_FILES[1]], "magnitude")}
    return [dora, lora, whole, {_ADAPTER_FILES[0]: plain, "adapter_model.bin": _pickled()}]


def _without(data: bytes, word: str) -> bytes:
    """Weights without those whose name holds a word."""
    (size,) = struct.unpack_from("<Q", data)
    header, places = json.loads(data[8 : 8 + size]), io.BytesIO()
    for name, entry in sorted(header.items()):
        if name == "__metadata__" or word in name:
            continue
        start, end = entry["data_offsets"]
        entry["data_offsets"] = [places.tell(), places.tell() + end - start]
        places.write(data[8 + size + start : 8 + size + end])
    kept = json.dumps({name: entry for name, entry in header.items() if word not in name}).encode()
    return struct.pack("<Q", len(kept)) + kept + places.getvalue()


def _pickled() -> bytes:
    import torch

    file = io.BytesIO()
    torch.save({"base_model.model.layers.0.self_attn.q_proj.lora_A.weight": torch.zeros(4, 64)}, file)
    return file.getvalue()


def _checkpoints() -> list[Case]:
    return [_files(_SAVED), _files(_GOLDEN / "tiny_qwen2vl")]


def _stock_checkpoints() -> list[Case]:
    from vlm2vec import profiles
    from vlm2vec.profiles import PROFILE_FILE

    named = {path: {"profile": profiles.get(name).as_dict()} for path, name in _STOCK.items()}
    return [
        {**_files(_TESTS / "data" / path), PROFILE_FILE: json.dumps(profile).encode()}
        for path, profile in named.items()
    ]


def _damage(case: Case, rng: Random, seeds: Sequence[Case]) -> Case:
    """One file damaged, seldom one that is lost or empty; small files more often than tokenizers."""
    heavy = ("tokenizer.json", "vocab.json", "merges.txt", "chat_template.json", "chat_template.jinja")
    names = sorted(case)
    name = rng.choice(names)
    if name in heavy and rng.random() < 0.7:
        name = rng.choice([other for other in names if other not in heavy])
    if rng.random() < 0.05:
        return {other: data for other, data in case.items() if other != name}
    if rng.random() < 0.03:
        return {**case, name: b""}
    if name.endswith(".safetensors"):
        return {**case, name: damaged_safetensors(case[name], rng)}
    change = damaged_json if name.endswith(".json") else damaged
    return {**case, name: change(case[name], rng, [seed[name] for seed in seeds if name in seed])}


def _start_checkpoint() -> Callable[[Path], None]:
    from sentence_transformers.sentence_transformer.modules import Normalize

    from vlm2vec import VLM2Vec

    def read(folder: Path) -> None:
        profile = None if (folder / "vlm2vec.json").exists() else "vlm2vec-v2"
        model = VLM2Vec(folder, profile=profile, device="cpu")
        # A folder may leave the last module out; its vectors have a length of their own.
        unit = any(isinstance(module, Normalize) for module in model)
        vectors = model.encode(["a cat"])
        check_vectors(vectors if unit else vectors / np.linalg.norm(vectors), 1)

    return read


def _start_stock_checkpoint() -> Callable[[Path], None]:
    from vlm2vec import VLM2Vec

    picture = np.random.default_rng(7).integers(0, 256, (90, 120, 3), dtype=np.uint8)

    def read(folder: Path) -> None:
        check_vectors(VLM2Vec(folder, device="cpu").encode(["a cat", picture]), 2)

    return read


def _start_adapter() -> Callable[[Path], None]:
    from vlm2vec import VLM2Vec

    def read(folder: Path) -> None:
        # The base that its configuration names is another one, most often none.
        model = VLM2Vec(folder, base_model=_GOLDEN / "tiny_qwen2vl", profile="vlm2vec-v2", device="cpu")
        check_vectors(model.encode(["a cat"]), 1)

    return read


adapter = Reader(_adapters, _damage, _start_adapter, _SECONDS, 8)
checkpoint = Reader(_checkpoints, _damage, _start_checkpoint, _SECONDS, 20)
stock_checkpoint = Reader(_stock_checkpoints, _damage, _start_stock_checkpoint, _SECONDS, 10)
