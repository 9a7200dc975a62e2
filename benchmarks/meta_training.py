"""What a training chunk takes on a GPU at the sizes of published models, counted without a GPU.

python benchmarks/meta_training.py [--json FILE] [--models Qwen2-VL-2B ...]

Forward with graph and backward of one chunk run on torch's meta device, as `fit` runs them under autocast
in bfloat16: frozen weights in bfloat16, those that learn in float32. Layers are alike, so that few are run
and the rest is added. Counted is the memory at the peak beyond the weights and their gradients. What an
allocator rounds up, and what libraries take for themselves, comes on top.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from interleaved import write_json
from meta_forward import META, PUBLISHED, Traffic, Watch, language_row, on_cuda, vision_row
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map
from transformers import AutoConfig, AutoModel, PreTrainedModel

from vlm2vec.backbones.registry import layout_of, vision_weights
from vlm2vec.backbones.train_forward import language_states, vision_features
from vlm2vec.blocks import attention
from vlm2vec.training import dora_norm
from vlm2vec.training.dora_norm import use_dora_norm
from vlm2vec.training.lora import LoRA, add_adapter

# Of autocast on CUDA, as far as these networks call it (torch's aten/src/ATen/autocast_mode.h).
_IN_HALF = {F.linear, torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, torch.addmm}
_IN_FLOAT32 = {F.layer_norm, torch.rsqrt, torch.pow, Tensor.pow, torch.sum, Tensor.sum, F.softmax}


class Autocast(TorchFunctionMode):
    """Autocast in bfloat16 as CUDA has it; torch has none for meta tensors."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        dtype = torch.bfloat16 if func in _IN_HALF else torch.float32 if func in _IN_FLOAT32 else None
        if dtype is not None:
            args, kwargs = tree_map(lambda leaf: _cast(leaf, dtype), (args, kwargs or {}))
        return func(*args, **(kwargs or {}))


def _cast(leaf: Any, dtype: torch.dtype) -> Any:
    return leaf.to(dtype) if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf


class _Kernel(torch.autograd.Function):
    """Takes the memory that torch's variable-length attention takes, and what its backward does."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = torch.empty_like(query)
        of_rows = torch.empty(query.shape[:2], dtype=torch.float32, device=query.device)
        ctx.save_for_backward(query, key, value, output, of_rows)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        query, key, value, _, of_rows = ctx.saved_tensors
        # Query gradients are added up in float32, and shared key heads have a gradient for each user.
        held = [torch.empty_like(query, dtype=torch.float32), torch.empty_like(of_rows)]
        held += [torch.empty_like(query), torch.empty_like(query)]
        return tuple(torch.empty_like(one) for one in (query, key, value))


@contextmanager
def _training() -> Iterator[None]:
    def kernel(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
        output: Tensor = _Kernel.apply(query, key, value)  # type: ignore[no-untyped-call]
        return output

    def norms(weight: Tensor, *_: Any) -> Tensor:
        return torch.empty(len(weight), dtype=torch.float32, device=weight.device)

    with (
        on_cuda(),
        mock.patch.object(attention, "_KERNEL", kernel),
        mock.patch.object(dora_norm, "row_norms", norms),  # once a step, outside autocast
        mock.patch.object(torch, "is_autocast_enabled", lambda *_: True),  # cannot be asked of meta
        Autocast(),
    ):
        yield


def learning_network(
    name: str, layers: int, *, lora: LoRA | None, tower_learns: bool, checkpointing: bool
) -> PreTrainedModel:
    """A network as `fit` trains it.

    Args:
        name: Of a published model.
        layers: In each tower.
        lora: Its adapter; `None` for all weights.
        tower_learns: Whether the vision tower learns, where all weights do.
        checkpointing: Whether layers are computed again on the way back.
    """
    model = few_layers(name, layers)
    if lora is not None:
        add_adapter(model, lora)
    elif not tower_learns:
        for weight in vision_weights(model):
            weight.requires_grad_(False)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    use_dora_norm(model)
    if checkpointing:
        enable = getattr(model, "activation_checkpointing_enable", None)
        # Modes are off on the way back; autocast itself is remembered by checkpointing.
        again = {"use_reentrant": False, "context_fn": lambda: (nullcontext(), Autocast())}
        (enable or model.gradient_checkpointing_enable)(again)
    return model.train()


LAYERS = 3, 5
TOKENS = 4096, 8192


def few_layers(name: str, layers: int) -> PreTrainedModel:
    """A published network with but so many layers in each tower, all of which are alike."""
    network, text, vision = PUBLISHED[name]
    taps: dict[str, Any] = {
        key: [0] for key in ("deepstack_visual_indexes", "fullatt_block_indexes") if key in vision
    }
    config = AutoConfig.for_model(
        network,
        text_config={**text, "num_hidden_layers": layers},
        vision_config=dict(vision, depth=layers, **taps),
    )
    with META:
        model: PreTrainedModel = AutoModel.from_config(config, dtype=torch.bfloat16)
    attention.use_packed_attention(model.config)
    return model


def default_adapter(name: str) -> LoRA:
    """What `fit` adds to a network of a billion parameters."""
    return LoRA(target_modules=layout_of(few_layers(name, 1)).lora_targets)


def tokens_learned(model: PreTrainedModel, tokens: int, length: int = 512) -> Traffic:
    """Texts of so many tokens in all, forward and backward."""
    return _learned(model, lambda: language_states(model, language_row(tokens, min(length, tokens)), None))


def patches_learned(model: PreTrainedModel, patches: int, side: int = 32) -> Traffic:
    """The vision tower on so many patches, forward and backward."""
    return _learned(model, lambda: vision_features(model, vision_row(model, patches, side)))


def _learned(model: PreTrainedModel, forward: Callable[[], Tensor]) -> Traffic:
    for weight in model.parameters():
        if weight.requires_grad:
            weight.grad = torch.empty_like(weight)
    watch = Watch()
    with _training(), watch:
        states = forward()
        states.backward(torch.empty_like(states))  # type: ignore[no-untyped-call]
        del states
    return watch.traffic


def chunk_bytes(name: str, *, adapter: bool, checkpointing: bool) -> dict[str, dict[int, int]]:
    """Bytes at the peak of a chunk of so many tokens, and of so many patches where the tower learns.

    Args:
        name: Of a published model.
        adapter: Whether the default adapter learns, and not all weights.
        checkpointing: As in `learning_network`.
    """
    _, text, vision = PUBLISHED[name]
    lora = default_adapter(name) if adapter else None
    few, more = (
        learning_network(name, layers, lora=lora, tower_learns=True, checkpointing=checkpointing)
        for layers in LAYERS
    )
    works: dict[str, tuple[Any, int]] = {"tokens": (tokens_learned, text["num_hidden_layers"])}
    if any(weight.requires_grad for weight in vision_weights(few)):
        works["patches"] = patches_learned, vision["depth"]
    found: dict[str, dict[int, int]] = {}
    for what, (work, layers) in works.items():
        found[what] = {}
        for count in TOKENS:
            first, second = work(few, count).peak, work(more, count).peak
            found[what][count] = first + (second - first) * (layers - LAYERS[0]) // (LAYERS[1] - LAYERS[0])
    return found


def measured(name: str) -> dict[str, Any]:
    """What chunks of a model take."""
    return {
        f"{'adapter' if adapter else 'all weights'}{', checkpointing' if checkpointing else ''}": chunk_bytes(
            name, adapter=adapter, checkpointing=checkpointing
        )
        for adapter in (True, False)
        for checkpointing in (False, True)
    }


def main() -> None:
    """Print a table, and write what was counted."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--models", nargs="+", default=list(PUBLISHED), choices=list(PUBLISHED))
    given = parser.parse_args()
    rows = {}
    for name in given.models:
        rows[name] = measured(name)
        for what, counted in rows[name].items():
            shown = ", ".join(
                f"{count:,} {kind} {peak / 1e9:.2f} GB"
                for kind, peaks in counted.items()
                for count, peak in peaks.items()
            )
            print(f"{name:14} {what:26} {shown}", flush=True)
    if given.json:
        write_json(given.json, {"layers": LAYERS, "torch": torch.__version__, "models": rows})


if __name__ == "__main__":
    main()
