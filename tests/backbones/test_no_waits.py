"""Encoding on a GPU never makes the host wait, whatever a batch is made of and whatever is unmerged."""

from __future__ import annotations

from contextlib import nullcontext
from math import prod
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from shallow import meta_forward, shallow_network
from transformers import PreTrainedModel

from vlm2vec.backbones.encode_forward import language_states, media_features
from vlm2vec.backbones.registry import layout_of
from vlm2vec.blocks.device import to_device
from vlm2vec.encoding.pack import Packed, pack
from vlm2vec.encoding.prefixes import MIN_SAVED
from vlm2vec.encoding.prepare import Prepared, Visual
from vlm2vec.inputs.parts import Input, Text
from vlm2vec.training.dora_norm import use_dora_norm
from vlm2vec.training.lora import LoRA, add_adapter

PREFIX = list(range(5, 5 + 2 * MIN_SAVED))
STILL, SMALL, CLIP = (1, 20, 12), (1, 4, 4), (3, 8, 12)  # patches in time, height and width
MERGED = 4  # patches of a token


def visual(number: int, grid: tuple[int, int, int], patch_size: int) -> Visual:
    is_clip = grid[0] > 1
    patches = np.zeros((prod(grid), 3 * patch_size**2 * (2 if is_clip else 1)), dtype=np.uint8)
    return Visual(patches, grid, is_clip, bytes([number]))


def ready(tokens: list[int], *visuals: Visual) -> Prepared:
    """These tokens, then the media, then a token."""
    media = sum(prod(each.grid) // MERGED for each in visuals)
    ids = np.array([*tokens, *[3] * media, 4])
    is_media = np.zeros(len(ids), dtype=bool)
    is_media[len(tokens) : -1] = True
    return Prepared(ids, np.zeros((len(ids), 3), dtype=np.int64), visuals, is_media, Input((Text("a"),)))


def batch(model: PreTrainedModel, *, pooled_only: bool) -> Packed:
    """Texts with a prefix in common, pictures of two sizes, one of them shown twice, and a clip."""
    size = layout_of(model).patch_size
    still, small, clip = (visual(number, grid, size) for number, grid in enumerate((STILL, SMALL, CLIP)))
    inputs = [
        ready([*PREFIX, 1]),
        ready([*PREFIX, 2, 2]),
        ready(PREFIX, still),
        ready([1], small, clip),
        ready([1, 2], still),
    ]
    packed = pack(inputs, SimpleNamespace(merge_size=2), pooled_only=pooled_only)
    assert packed.language.segments.key_rows is not None
    assert packed.vision.stills is not None
    assert packed.vision.clips is not None
    on_meta: Packed = to_device(packed, meta_forward.META)
    return on_meta


@pytest.mark.parametrize("adapter", [None, "LoRA", "DoRA", "DoRA, trained"])
@pytest.mark.parametrize("name", ["Qwen2-VL-2B", "Qwen2.5-VL-3B", "Qwen3-VL-2B"])
def test_encoding_a_batch_of_all_kinds_waits_for_nothing(
    name: str, adapter: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # which knows no meta device
    model = shallow_network(name)
    if adapter is not None:
        with meta_forward.META:
            add_adapter(model, LoRA(use_dora=adapter != "LoRA"))
        model.eval()
    if adapter == "DoRA, trained":
        use_dora_norm(model)
    for pooled_only in (True, False):
        packed = batch(model, pooled_only=pooled_only)
        with meta_forward.on_cuda(), torch.inference_mode(), meta_forward.Watch() as watch:
            media = media_features(model, packed.vision)
            states = language_states(model, packed.language, media)
            states.index_select(0, packed.rows)
        assert not watch.traffic.waits
        taps = 3 if name.startswith("Qwen3") else 0
        assert media.shape[1] == (1 + taps) * model.language_model.config.hidden_size
        assert pooled_only == (len(states) == len(packed.offsets) - 1)
