"""Each network in the packed forward against transformers' own, on tiny random checkpoints."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_cases import GOLDEN
from peft import LoraConfig
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.vision_utils import get_vision_position_ids, get_vision_window_index

from vlm2vec.backbones import encode_forward, train_forward
from vlm2vec.backbones.patch_projection import normalised
from vlm2vec.backbones.qwen2_5_vl.network import NETWORK as QWEN2_5_VL
from vlm2vec.backbones.qwen3_vl.network import NETWORK as QWEN3_VL
from vlm2vec.backbones.registry import LAYOUTS, network_of
from vlm2vec.backbones.rows import LanguageRow, VisionRow
from vlm2vec.blocks import linear
from vlm2vec.blocks.attention import Segments
from vlm2vec.blocks.options import AUTO, ForwardOptions, Kernel
from vlm2vec.checkpoints.adapter import add_adapter
from vlm2vec.checkpoints.load import load_network
from vlm2vec.errors import CheckpointError

FOLDERS = {
    "qwen2_vl": GOLDEN / "tiny_qwen2vl",
    "qwen2_5_vl": GOLDEN.parent / "golden_qwen2_5_vl" / "tiny_qwen2_5_vl",
    "qwen3_vl": GOLDEN.parent / "golden_qwen3_vl" / "tiny_qwen3vl",
}
STILLS = [(8, 12), (2, 2), (18, 16), (8, 8)]  # in patches: windows of Qwen2.5-VL are 8 by 8
CLIPS = [(3, 10, 6), (1, 16, 8)]
ROUNDING = 6e-6  # on one processor stock was 3.6e-6 off float64, and this package 1.4e-6


@dataclass
class Batch:
    """Prompts over all stills and clips, as one row and as transformers takes them."""

    vision: VisionRow
    language: LanguageRow
    stock: dict[str, Tensor]


def batch_for(model: PreTrainedModel) -> Batch:
    """A text, a prompt with two stills, one with a still and a clip, one with a still and a clip between."""
    layout, config = LAYOUTS[model.config.model_type], model.config
    generator = torch.Generator().manual_seed(3)
    image, video = config.image_token_id, config.video_token_id

    def text(length: int) -> list[int]:
        return torch.randint(0, 500, (length,), generator=generator).tolist()

    stills = [[image] * (height * width // 4) for height, width in STILLS]
    clips = [[video] * (time * height * width // 4) for time, height, width in CLIPS]
    prompts = [
        text(7),
        [*text(3), *stills[0], *text(1), *stills[1], *text(4)],
        [*stills[2], *clips[0], *text(5)],
        [*text(2), *clips[1], *text(3), *stills[3], *text(1)],
    ]
    ids = [torch.tensor(prompt) for prompt in prompts]
    positions = [torch.randint(0, 60, (len(row), 3), generator=generator).sort(0).values for row in ids]
    grids = torch.tensor([(1, *size) for size in STILLS] + CLIPS)
    frames = tuple((height, width) for time, height, width in grids.tolist() for _ in range(time))
    side = layout.patch_size

    def patches(count: int, slices: int) -> Tensor:
        shape = (count, 3 * slices * side * side)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)

    still_patches = patches(sum(height * width for height, width in STILLS), 1)
    clip_patches = patches(sum(time * height * width for time, height, width in CLIPS), 2)
    row = torch.cat(ids)
    media = torch.cat([(row == image).nonzero()[:, 0], (row == video).nonzero()[:, 0]])
    vision = VisionRow(
        still_patches,
        clip_patches,
        get_vision_position_ids(grids, layout.merge_size),
        Segments.of([height * width for height, width in frames]),
        frames,
    )
    segments = Segments.of([len(each) for each in ids])
    language = LanguageRow(row, torch.cat(positions), media, torch.arange(len(media)), segments)
    both = still_patches.view(len(still_patches), 3, 1, -1).repeat(1, 1, 2, 1).flatten(1)
    padded = pad_sequence(ids, batch_first=True)
    stock = {
        "input_ids": padded,
        "attention_mask": pad_sequence([torch.ones_like(each) for each in ids], batch_first=True),
        "position_ids": pad_sequence(positions, batch_first=True).permute(2, 0, 1),
        "pixel_values": normalised(both, layout),
        "image_grid_thw": grids[: len(STILLS)],
        "pixel_values_videos": normalised(clip_patches, layout),
        "video_grid_thw": grids[len(STILLS) :],
    }
    return Batch(vision, language, stock)


def stock_states(model: PreTrainedModel, batch: Batch) -> Tensor:
    """States of all tokens, the prompts one after the other."""
    states = model(**batch.stock).last_hidden_state
    return states[batch.stock["attention_mask"].bool()]


def trained_states(model: PreTrainedModel, batch: Batch) -> Tensor:
    media = train_forward.vision_features(model, batch.vision)
    return train_forward.language_states(model, batch.language, media)


@torch.inference_mode()
def encoded_states(model: PreTrainedModel, batch: Batch, options: ForwardOptions = AUTO) -> Tensor:
    media = encode_forward.media_features(model, batch.vision, options=options)
    return encode_forward.language_states(model, batch.language, media, options=options)


@pytest.fixture(scope="module", params=FOLDERS)
def folder(request: pytest.FixtureRequest) -> Path:
    return FOLDERS[request.param]


@pytest.fixture
def model(folder: Path) -> PreTrainedModel:
    return load_network(folder, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def stock(folder: Path) -> PreTrainedModel:
    return AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").eval()


def assert_close(found: Tensor, expected: Tensor, atol: float = ROUNDING) -> None:
    scale = expected.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(found / scale, expected / scale, atol=atol, rtol=0)


@torch.no_grad()
def test_states_are_those_of_transformers(model: PreTrainedModel, stock: PreTrainedModel) -> None:
    batch = batch_for(model)
    expected = stock_states(stock, batch)
    assert_close(encoded_states(model, batch), expected)
    with torch.enable_grad():
        assert_close(trained_states(model, batch).detach(), expected)


def test_gradients_are_those_of_transformers(model: PreTrainedModel, stock: PreTrainedModel) -> None:
    batch = batch_for(model)
    found = []
    for network, states in ((model, trained_states), (copy.deepcopy(stock), stock_states)):
        network.requires_grad_(True)
        rows = states(network, batch)
        rows.backward(torch.linspace(-1, 1, rows.numel()).view_as(rows))
        found.append({name: weight.grad for name, weight in network.named_parameters()})
    ours, expected = found
    assert ours.keys() == expected.keys()
    assert all(gradient is not None for gradient in ours.values())
    differences = {name: float((ours[name] - gradient).norm()) for name, gradient in expected.items()}
    total = sum(float(gradient.norm()) ** 2 for gradient in expected.values()) ** 0.5
    assert sum(difference**2 for difference in differences.values()) ** 0.5 <= 1e-5 * total
    for name, gradient in expected.items():
        assert differences[name] <= 5e-5 * gradient.norm() + 1e-7, name


def test_parts_blocks_and_kernels_change_nothing(
    model: PreTrainedModel, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = batch_for(model)
    whole = encoded_states(model, batch, ForwardOptions(kernel="torch"))
    monkeypatch.setattr(linear, "_BLOCK_ROWS", 7)
    monkeypatch.setattr(encode_forward, "_PATCHES_AT_ONCE", 100)
    assert_close(encoded_states(model, batch, ForwardOptions(fuse_projections=False, kernel=kernel)), whole)
    assert_close(encoded_states(model, batch, ForwardOptions(kernel=kernel)), whole)


def test_pooled_tokens_alone_are_the_same_and_teach_the_same(model: PreTrainedModel) -> None:
    batch = batch_for(model)
    last = batch.language.segments.offsets[1:].long() - 1
    lengths = list(batch.language.segments.lengths)
    alone = replace(
        batch.language, wanted=last, wanted_segments=Segments.of([1] * len(lengths), key_lengths=lengths)
    )
    gradients = []
    for language in (batch.language, alone):
        model.zero_grad()
        states = trained_states(model, replace(batch, language=language))
        states = states if language is alone else states[last]
        states.square().sum(0).dot(torch.linspace(-1, 1, states.shape[1])).backward()
        gradients.append((states.detach(), [weight.grad.clone() for weight in model.parameters()]))
    (expected, taught), (found, ours) = gradients
    assert_close(found, expected)
    assert_close(encoded_states(model, replace(batch, language=alone)), expected)
    for gradient, other in zip(ours, taught, strict=True):
        assert (gradient - other).norm() <= 1e-5 * other.norm() + 1e-7


def test_an_adapter_on_both_towers_counts_and_is_taught(model: PreTrainedModel) -> None:
    batch = batch_for(model)
    plain = encoded_states(model, batch)
    # Layers of attention in both towers, and of every kind of MLP there is.
    targets = ["q_proj", "v_proj", "down_proj", "qkv", "fc2", "linear_fc2"]
    with torch.random.fork_rng():
        torch.manual_seed(0)  # peft draws its weights, large ones, and rounding grows with them
        add_adapter(model, LoraConfig(r=4, target_modules=targets, init_lora_weights=False, use_dora=True))
    adapted = encoded_states(model, batch)
    assert (adapted - plain).abs().max() > 1e-2
    states = trained_states(model, batch)
    assert_close(adapted, states.detach(), atol=2e-5)
    states.square().sum().backward()
    taught = {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}
    assert all("lora_" in name and gradient is not None for name, gradient in taught.items())
    assert {"visual" in name for name in taught} == {True, False}


def test_training_saves_memory_with_checkpoints_and_teaches_the_same(model: PreTrainedModel) -> None:
    batch, gradients = batch_for(model), []
    model.train()
    for saving in (False, True):
        model.zero_grad()
        if saving:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        trained_states(model, batch).square().sum().backward()
        gradients.append([weight.grad.clone() for weight in model.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_close(folder: Path, model: PreTrainedModel, dtype: torch.dtype) -> None:
    batch = batch_for(model)
    half = load_network(folder, dtype=dtype).eval()
    found = encoded_states(half, batch).float()
    assert torch.cosine_similarity(found, encoded_states(model, batch)).min() > 0.99


@pytest.mark.parametrize("size", [(2, 2), (8, 8), (16, 24), (10, 18), (2, 40), (26, 4)])
def test_windows_are_those_of_transformers(size: tuple[int, int]) -> None:
    visual = load_network(FOLDERS["qwen2_5_vl"]).visual
    height, width = size
    count = 2 * height * width
    frames = (size, size)
    row = VisionRow(None, None, torch.empty(count, 2), Segments.of([height * width] * 2), frames)
    assert QWEN2_5_VL.windows is not None
    ours = QWEN2_5_VL.windows(visual, row)
    order, ends = get_vision_window_index(
        torch.tensor([(2, *size)]), 2, visual.window_size, visual.patch_size
    )
    fours = order[:, None] * 4 + torch.arange(4)
    theirs = {tuple(window.tolist()) for window in torch.split(fours.flatten(), ends.diff().tolist())}
    assert {
        tuple(window.tolist()) for window in torch.split(ours.patches, list(ours.segments.lengths))
    } == theirs
    # Within each frame, so that whole frames can be attended to in the same order.
    assert [sorted(part.tolist()) for part in ours.patches.chunk(2)] == [
        list(range(count // 2)),
        list(range(count // 2, count)),
    ]
    back = ours.patches.view(-1, 4)[:, 0].index_select(0, ours.tokens)
    assert back.tolist() == list(range(0, count, 4))


def test_positions_of_a_table_are_stretched_corner_on_corner() -> None:
    model = load_network(FOLDERS["qwen3_vl"], dtype=torch.float32)
    side, width = model.visual.num_grid_per_side, model.config.vision_config.hidden_size
    frames = ((2, 2), (side, side), (6, 26))
    positions = get_vision_position_ids(torch.tensor([(1, *frame) for frame in frames]), 2)
    row = VisionRow(None, None, positions, Segments.of([height * width for height, width in frames]), frames)
    assert QWEN3_VL.add_positions is not None
    found = QWEN3_VL.add_positions(model.visual, torch.zeros(len(positions), width), row).detach().double()
    table = model.visual.pos_embed.weight.detach().double().view(side, side, width).numpy()
    start = 0
    for height, columns in frames:
        for index in range(start, start + height * columns):
            down, right = positions[index].tolist()
            y = np.linspace(0, side - 1, height)[down]
            x = np.linspace(0, side - 1, columns)[right]
            top, left = min(int(y), side - 2), min(int(x), side - 2)
            upper = table[top, left] * (left + 1 - x) + table[top, left + 1] * (x - left)
            lower = table[top + 1, left] * (left + 1 - x) + table[top + 1, left + 1] * (x - left)
            expected = upper * (top + 1 - y) + lower * (y - top)
            np.testing.assert_allclose(found[index], expected, atol=1e-5)
        start += height * columns


def test_a_network_whose_last_layer_media_are_added_after_is_refused(tmp_path: Path) -> None:
    config = AutoConfig.from_pretrained(FOLDERS["qwen3_vl"])
    config.text_config.num_hidden_layers = 3
    config.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="3 taps, and 3 layers to add them after"):
        load_network(tmp_path)


def test_a_network_is_found_by_its_configuration(folder: Path) -> None:
    config: Any = AutoConfig.from_pretrained(folder)
    assert network_of(config).layout is LAYOUTS[config.model_type]
    layout = LAYOUTS[config.model_type]
    assert layout.patch_size == config.vision_config.patch_size
    assert layout.merge_size == config.vision_config.spatial_merge_size
    assert layout.temporal_patch_size == config.vision_config.temporal_patch_size
