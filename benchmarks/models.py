"""Checkpoints with random weights on any network, which this package and sentence-transformers both open.

Speed does not hang on what the weights are. They are drawn as transformers draws them before training, a
normal distribution of width 0.02, so that activations keep a sane size.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from vlm2vec import profiles
from vlm2vec.backbones.registry import LAYOUTS
from vlm2vec.backbones.stock.layout import StockLayout
from vlm2vec.encoding.saved_folder import write_processor_files
from vlm2vec.model import EMBEDDED_MODEL
from vlm2vec.profiles import Profile
from vlm2vec.profiles.chat_template import chat_template

NETWORKS = tuple(name for name, layout in LAYOUTS.items() if not isinstance(layout, StockLayout))
"""What checkpoints can be drawn on: those with a packed forward."""

DEFAULT_NETWORK = "qwen2_vl"


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
    "2b-qwen3": Shape(28, 2048, 6144, 16, 8, 24, 1024, 16, vocabulary=151_936),
}
"""`2b` is Qwen2-VL-2B, `2bw` has its widths and fewer layers, and `2b-qwen3` is Qwen3-VL-2B, on that network;
`tiny` is for trying the benchmarks out.

Other networks get the same sizes, so that they compare.
"""

# As many pages of PDFs as it takes to try a benchmark out must not take long.
_TINY_TOKENS = 16


def profile_of(name: str, network: str = DEFAULT_NETWORK) -> Profile:
    """Prompts and pixels of the checkpoint of that name.

    Prompts are the embedded model's, whose positions plain sentence-transformers computes alike. Pixels are
    those of the published checkpoints on Qwen2-VL: on another network as many tokens, whatever their size.
    """
    layout, rules = LAYOUTS[network], profiles.get("vlm2vec-v2").pixels
    token, side = rules.factor**2, layout.patch_size * layout.merge_size
    most = _TINY_TOKENS if name == "tiny" else rules.max_pixels // token
    return replace(
        profiles.get("vlm2vec-embedded"),
        name="benchmark",
        summary="random weights, for timing",
        network=network,
        clip="seconds" if network == "qwen3_vl" else "block",
        pixels=replace(
            rules,
            min_pixels=rules.min_pixels // token * side**2,
            max_pixels=most * side**2,
            patch_size=layout.patch_size,
            merge_size=layout.merge_size,
            temporal_patch_size=layout.temporal_patch_size,
            alpha="white",
            tiny_image_side=2 * side,
        ),
    )


def write_model(
    folder: Path, name: str, network: str = DEFAULT_NETWORK, *, dtype: torch.dtype = torch.float32
) -> Path:
    """Write the checkpoint of that name below the folder, and give its path."""
    path = write_settings(folder, name, network)
    logging.disable_progress_bar()
    draw_network(path, dtype=dtype).save_pretrained(path)
    return path


def draw_network(
    settings: Path, *, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> PreTrainedModel:
    """A network of these settings, its weights drawn on the device: a GPU takes no time for billions."""
    config = AutoConfig.from_pretrained(settings)
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(0)
        return AutoModel.from_config(config, dtype=dtype).eval()


def copy_of(network: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """The network again, with the same weights: the same tensors, unless they are of another type."""
    weights = {
        id(weight): weight if weight.dtype == dtype else nn.Parameter(weight.detach().to(dtype))
        for weight in network.parameters()
    }
    return copy.deepcopy(network, weights)


def write_settings(folder: Path, name: str, network: str = DEFAULT_NETWORK) -> Path:
    """Write the checkpoint of that name without its weights, and give its path."""
    shape, path = SHAPES[name], folder / f"model-{name}-{network}"
    shutil.copytree(EMBEDDED_MODEL, path, ignore=shutil.ignore_patterns("*.safetensors"))
    config = _config(shape, network, AutoConfig.from_pretrained(path))
    config.save_pretrained(path)
    profile = profile_of(name, network)
    profile.save(path)
    write_processor_files(path, profile, LAYOUTS[network])
    (path / "chat_template.jinja").write_text(_stock_template(profile), encoding="utf-8")
    _edit(path / "1_Pooling" / "config.json", embedding_dimension=shape.width)
    # transformers before 5.23 does not know the switch that is set there, and pads nothing because of it.
    _edit(path / "sentence_bert_config.json", processing_kwargs={})
    _edit(path / "tokenizer_config.json", model_max_length=config.text_config.max_position_embeddings)
    return path


def _config(shape: Shape, network: str, embedded: Any) -> PreTrainedConfig:
    """A network of that shape, for the tokenizer of the embedded model."""
    text, head_dim = embedded.text_config, shape.width // shape.heads
    config: PreTrainedConfig = AutoConfig.for_model(
        network,
        text_config={
            "num_hidden_layers": shape.layers,
            "hidden_size": shape.width,
            "intermediate_size": shape.inner,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.groups,
            "max_position_embeddings": 32_768,
            "vocab_size": shape.vocabulary or text.vocab_size,
            "rms_norm_eps": 1e-6,
            **{token: getattr(text, token) for token in ("bos_token_id", "eos_token_id", "pad_token_id")},
            **_TEXT[network](head_dim),
        },
        vision_config={
            "depth": shape.depth,
            "num_heads": shape.vision_heads,
            **_VISION[network](shape),
        },
        **{token: getattr(embedded, token) for token in _TOKENS},
        tie_word_embeddings=True,
    )
    return config


_TOKENS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")


def _text_of_qwen2_vl(head_dim: int) -> dict[str, Any]:
    angles = head_dim // 2
    section = [angles // 4, angles * 3 // 8, angles * 3 // 8]
    return {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": section}}


def _text_of_qwen3_vl(head_dim: int) -> dict[str, Any]:
    # As in both published sizes, heads fill the width; stock would make them 128 wide whatever it is.
    angles = head_dim // 2
    side = angles * 5 // 16
    section = {"mrope_interleaved": True, "mrope_section": [angles - 2 * side, side, side]}
    rope = {"rope_type": "default", "rope_theta": 5e6, **section}
    return {"head_dim": head_dim, "rope_parameters": rope}


def _vision_of_qwen2_vl(shape: Shape) -> dict[str, Any]:
    return {"embed_dim": shape.vision_width, "mlp_ratio": 4, "hidden_size": shape.width}


def _vision_of_qwen2_5_vl(shape: Shape) -> dict[str, Any]:
    return {
        "hidden_size": shape.vision_width,
        # Gated, three matrices have as many weights as the two of the others; 3420 in the published ones.
        "intermediate_size": 4 * round(shape.vision_width * 2 / 3),
        "out_hidden_size": shape.width,
        # One block of eight, and the last, as in the published ones, which have 32.
        "fullatt_block_indexes": sorted({*range(7, shape.depth, 8), shape.depth - 1}),
        # With a second for each time step, which is what stock takes where nobody tells it, positions are
        # those of the profile.
        "tokens_per_second": 1,
    }


def _vision_of_qwen3_vl(shape: Shape) -> dict[str, Any]:
    taps = min(3, shape.layers - 1)
    return {
        "hidden_size": shape.vision_width,
        "intermediate_size": 4 * shape.vision_width,
        "out_hidden_size": shape.width,
        # 5, 11 and 17 of 24 blocks, as in the published 2B.
        "deepstack_visual_indexes": [shape.depth * number // (taps + 1) - 1 for number in range(1, taps + 1)],
        "num_position_embeddings": 48**2,
    }


_TEXT: dict[str, Callable[[int], dict[str, Any]]] = {
    "qwen2_vl": _text_of_qwen2_vl,
    "qwen2_5_vl": _text_of_qwen2_vl,
    "qwen3_vl": _text_of_qwen3_vl,
}
_VISION: dict[str, Callable[[Shape], dict[str, Any]]] = {
    "qwen2_vl": _vision_of_qwen2_vl,
    "qwen2_5_vl": _vision_of_qwen2_5_vl,
    "qwen3_vl": _vision_of_qwen3_vl,
}


def _stock_template(profile: Profile) -> str:
    """The profile's prompts for stock processors, so that they give the tokens that the profile does.

    The processor of Qwen3-VL in transformers 5.24 writes a clip's blocks between the tokens that stand around
    one `<|video_pad|>`, and 4.57, as which this package encodes, in their place: here there are none.
    """
    template = chat_template(profile)
    if profile.clip == "seconds":
        template = template.replace(f"{profile.media_start}<|video_pad|>{profile.media_end}", "<|video_pad|>")
    return template


def _edit(file: Path, **changes: object) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**content, **changes}, indent=2), encoding="utf-8")
