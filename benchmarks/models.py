"""Qwen2-VL checkpoints with random weights, which this package and sentence-transformers both open.

Speed does not hang on what the weights are. They are drawn as transformers draws them before training, a
normal distribution of width 0.02, so that activations keep a sane size.
"""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, Qwen2VLModel
from transformers.utils import logging

from vlm2vec import profiles
from vlm2vec.model import EMBEDDED_MODEL
from vlm2vec.profiles import Profile


@dataclass(frozen=True)
class Shape:
    """Sizes of a language model and a vision tower.

    Attributes:
        layers: Of the language model.
        width: Of its states.
        inner: Of its feed-forward layers.
        heads: Of its queries.
        groups: Heads of its keys and values.
        depth: Layers of the vision tower.
        vision_width: Of its states.
        vision_heads: Of its attention.
        vocabulary: Rows of the embedding table; `None` for no more than the tokenizer knows.
    """

    layers: int
    width: int
    inner: int
    heads: int
    groups: int
    depth: int
    vision_width: int
    vision_heads: int
    vocabulary: int | None = None


_2B = Shape(28, 1536, 8960, 12, 2, 32, 1280, 16, vocabulary=151_936)

SHAPES = {
    "tiny": Shape(2, 64, 128, 4, 2, 2, 32, 2),
    "small": Shape(8, 512, 2048, 8, 2, 6, 320, 4),
    "mid": Shape(24, 896, 4864, 14, 2, 12, 512, 8),
    "2bw": replace(_2B, layers=4, depth=5, vocabulary=None),
    "2b": _2B,
}
"""`2b` is Qwen2-VL-2B; `2bw` has its widths and fewer layers; `tiny` is for trying the benchmarks out."""

# The embedded model's prompts, whose positions plain sentence-transformers computes alike, with the pixels
# of the published checkpoints.
PROFILE = replace(
    profiles.get("vlm2vec-embedded"),
    name="benchmark",
    summary="random weights, for timing",
    pixels=replace(profiles.get("vlm2vec-v2").pixels, alpha="white"),
)

# As many pages of PDFs as it takes to try a benchmark out must not take long.
_TINY_PIXELS = 16 * 28 * 28


def profile_of(name: str) -> Profile:
    """Prompts and pixels of the checkpoint of that name."""
    if name != "tiny":
        return PROFILE
    return replace(PROFILE, pixels=replace(PROFILE.pixels, max_pixels=_TINY_PIXELS))


def write_model(folder: Path, name: str, *, dtype: torch.dtype = torch.float32) -> Path:
    """Write the checkpoint of that name below the folder, and give its path."""
    path = write_settings(folder, name)
    logging.disable_progress_bar()
    draw_network(path, dtype=dtype).save_pretrained(path)
    return path


def draw_network(settings: Path, *, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Qwen2VLModel:
    """A network of these settings, its weights drawn on the device: a GPU takes no time for billions."""
    config = AutoConfig.from_pretrained(settings)
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(0)
        return AutoModel.from_config(config, dtype=dtype).eval()


def copy_of(network: Qwen2VLModel, dtype: torch.dtype) -> Qwen2VLModel:
    """The network again, with the same weights: the same tensors, unless they are of another type."""
    weights = {
        id(weight): weight if weight.dtype == dtype else nn.Parameter(weight.detach().to(dtype))
        for weight in network.parameters()
    }
    return copy.deepcopy(network, weights)


def write_settings(folder: Path, name: str) -> Path:
    """Write the checkpoint of that name without its weights, and give its path."""
    shape, path = SHAPES[name], folder / f"model-{name}"
    shutil.copytree(EMBEDDED_MODEL, path, ignore=shutil.ignore_patterns("*.safetensors"))
    config = AutoConfig.from_pretrained(path)
    text, vision = config.text_config, config.vision_config
    sections = shape.width // shape.heads // 2
    text.update(
        {
            "num_hidden_layers": shape.layers,
            "layer_types": ["full_attention"] * shape.layers,
            "hidden_size": shape.width,
            "intermediate_size": shape.inner,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.groups,
            "max_position_embeddings": 32_768,
            "vocab_size": shape.vocabulary or text.vocab_size,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1_000_000.0,
                "mrope_section": [sections // 4, sections * 3 // 8, sections * 3 // 8],
            },
        }
    )
    vision.update(
        {
            "depth": shape.depth,
            "embed_dim": shape.vision_width,
            "num_heads": shape.vision_heads,
            "mlp_ratio": 4,
            "hidden_size": shape.width,
        }
    )
    config.save_pretrained(path)
    profile = profile_of(name)
    profile.save(path)
    _edit(path / "1_Pooling" / "config.json", embedding_dimension=shape.width)
    # transformers before 5.23 does not know the switch that is set there, and pads nothing because of it.
    _edit(path / "sentence_bert_config.json", processing_kwargs={})
    _edit(path / "tokenizer_config.json", model_max_length=text.max_position_embeddings)
    budget = {"shortest_edge": profile.pixels.min_pixels, "longest_edge": profile.pixels.max_pixels}
    for file in ("preprocessor_config.json", "video_preprocessor_config.json"):
        _edit(path / file, size=budget)
    return path


def _edit(file: Path, **changes: object) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**content, **changes}, indent=2), encoding="utf-8")
