"""Samples of each kind, and tiny random checkpoints in the layouts of the paper's baselines."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_colpali import write_tiny_colpali

from vlm2vec.mmeb.samples import Content


def _copy_with_head(golden: Path, folder: Path) -> Path:
    """A tiny Qwen2-VL of the hub's flat layout, with the head over the vocabulary that 7B models have."""
    shutil.copytree(golden / "tiny_qwen2vl", folder)
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = torch.zeros(576, 64, dtype=torch.bfloat16)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="session")
def lamra_folder(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _copy_with_head(golden, tmp_path_factory.mktemp("lamra") / "LamRA-Ret")


@pytest.fixture(scope="session")
def gme_folder(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the repository's own classes, for transformers and for sentence-transformers."""
    folder = _copy_with_head(golden, tmp_path_factory.mktemp("gme") / "gme-Qwen2-VL-2B-Instruct")
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "architectures": ["GmeQwen2VL"],
        "auto_map": {"AutoModel": "modeling_gme_qwen2vl.GmeQwen2VL"},
        "min_image_tokens": 256,
        "max_image_tokens": 1280,
    }
    (folder / "config.json").write_text(json.dumps(config))
    modules = [{"idx": 0, "name": "0", "path": "", "type": "custom_st.MultiModalTransformer"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder


@pytest.fixture(scope="session")
def colpali_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_colpali(tmp_path_factory.mktemp("colpali") / "colpali-v1.3-hf")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Of different sizes, one with transparency, one of more than 1,280 tokens."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    files = []
    for place, (height, width) in enumerate([(90, 131), (64, 64), (45, 200), (1100, 1300)]):
        noise = random.integers(0, 256, (-(-height // 8), -(-width // 8), 4 if place == 1 else 3), np.uint8)
        files.append(folder / f"{place}.png")
        Image.fromarray(noise).resize((width, height), Image.Resampling.BILINEAR).save(files[-1])
    return files


@pytest.fixture(scope="session")
def contents(pictures: list[Path]) -> dict[str, Content]:
    """As the loaders make them: a prompt of each kind."""
    one, two, three, large = pictures
    clip = (two, three, one, two)
    find, see = "Find a picture:", "Represent the given image."
    return {
        "text": Content(f"{find} a cat.\n", "a cat.", find),
        "bare text": Content("a dog", "a dog"),
        "picture": Content(f"<|image_pad|>\n{see}\n", "", see, one),
        "picture and text": Content(f"<|image_pad|>\n{see} what?\n", "what?", see, two),
        "page": Content(f"<|image_pad|> {see}", "", see, large),
        "clip": Content("<|video_pad|> Name the motion.", "", "Name the motion.", frames=clip),
        "clip and text": Content("<|video_pad|> Answer:  who?", " who?", "Answer:", frames=clip),
    }
