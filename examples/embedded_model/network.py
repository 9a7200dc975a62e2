"""The small network: Qwen2-VL's own layers at a few million parameters, ready to learn from nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase, Qwen2VLConfig, Qwen2VLModel

from vlm2vec.blocks.attention import use_packed_attention

__all__ = ["NetworkSize", "build_network"]


@dataclass(frozen=True)
class NetworkSize:
    """Widths and depths; the defaults are those of the embedded model.

    Attributes:
        vision_layers: Blocks of the vision tower.
        vision_width: Width of the vision tower, 32 for each head.
        layers: Layers of the language model.
        width: Width of the language model, 32 for each head.
    """

    vision_layers: int = 4
    vision_width: int = 160
    layers: int = 4
    width: int = 224


_HEAD = 32
_LOCALITY = (2.0, 2.0, 0.7, 0.7)
"""How sharply the heads of each vision block look at one place, before anything is learned."""

# Where the heads of a block look at first, in patches (down, right): at themselves and at four neighbours.
_GAZES = ((0, 0), (0, -1), (0, 1), (-1, 0), (1, 0))


def build_network(tokenizer: PreTrainedTokenizerBase, size: NetworkSize, *, seed: int) -> Qwen2VLModel:
    """A network with random weights.

    Args:
        tokenizer: Gives the size of the vocabulary and the numbers of the media tokens.
        size: Widths and depths.
        seed: Of the weights.
    """
    token = tokenizer.convert_tokens_to_ids
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": size.width,
            "intermediate_size": 2 * size.width,
            "num_hidden_layers": size.layers,
            "num_attention_heads": size.width // _HEAD,
            "num_key_value_heads": 1,
            "max_position_embeddings": tokenizer.model_max_length,
            "rms_norm_eps": 1e-6,
            "bos_token_id": token("<|endoftext|>"),
            "eos_token_id": token("<|im_end|>"),
            "pad_token_id": token("<|endoftext|>"),
            # Prompts of this model are tens of tokens long and grids a few: a slow rotation could not tell
            # their places apart.
            "rope_parameters": {"rope_type": "default", "rope_theta": 20.0, "mrope_section": [4, 6, 6]},
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": size.vision_layers,
            "embed_dim": size.vision_width,
            "hidden_size": size.width,
            "num_heads": size.vision_width // _HEAD,
            "mlp_ratio": 3,
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    network = Qwen2VLModel(config)
    use_packed_attention(network.config)
    _scale_by_fan_in(network)
    for block, locality in zip(network.visual.blocks, _LOCALITY, strict=False):
        _look_nearby(block.attn, locality)
    return network


def _scale_by_fan_in(network: Qwen2VLModel) -> None:
    """Weights of unit gain: the stock deviation of 0.02 is made for widths in the thousands.

    Token embeddings keep it, so that they do not drown the features of media and the updates of the layers.
    """
    depth = max(len(network.visual.blocks), len(network.language_model.layers))
    for name, weight in network.named_parameters():
        if weight.ndim < 2 or "embed_tokens" in name:
            continue
        gain = 1 / math.sqrt(2 * depth) if name.endswith(_WRITES_TO_RESIDUAL) else 1.0
        nn.init.normal_(weight, std=gain / math.sqrt(weight[0].numel()))


_WRITES_TO_RESIDUAL = ("attn.proj.weight", "fc2.weight", "o_proj.weight", "down_proj.weight")


@torch.no_grad()
def _look_nearby(attention: Any, locality: float) -> None:
    """Bias queries and keys so that each head of the vision tower first looks at one nearby patch.

    The rotary embedding turns two biases into a score that depends on the distance of two patches alone, and
    is greatest where the query's bias has been turned by that distance.
    """
    heads, head = attention.num_heads, attention.head_dim
    # A head's first half is (down, right) frequencies, its second half their rotated partners
    # (transformers' `apply_rotary_pos_emb_vision`). The two fastest frequencies tell near patches apart.
    count = head // 4
    frequencies = 10_000.0 ** (-torch.arange(count) / count)
    strength = torch.zeros(count)
    strength[:2] = math.sqrt(locality) * head**0.25
    strength = strength.repeat(2)
    query, key, _ = attention.qkv.bias.view(3, heads, head)
    for number in range(heads):
        down, right = _GAZES[number % len(_GAZES)]
        angles = torch.cat([down * frequencies, right * frequencies])
        query[number] = torch.cat([strength * angles.cos(), strength * angles.sin()])
        key[number] = torch.cat([strength, torch.zeros(2 * count)])
    attention.qkv.weight[: 2 * heads * head] *= 0.5
