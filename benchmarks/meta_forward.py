"""What the forward pass on a GPU does at the sizes of published models, counted without a GPU.

python benchmarks/meta_forward.py [--json FILE] [--models Qwen2-VL-2B ...] [--tokens 32768]

The branches for CUDA run on torch's meta device, on tensors that have shapes and no contents, by torch's
operators and with fused kernels. A fused kernel counts as one that reads each of its tensors once, also those
that all rows share, and writes once what it changes. Counted are
kernels, the bytes that they read and write, waits of the host for the device, and the memory that is taken at
the peak. What an allocator rounds up, and what libraries take for themselves, comes on top.
"""

from __future__ import annotations

import argparse
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from interleaved import write_json
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.vision_utils import get_vision_position_ids

from vlm2vec.backbones.encode_forward import language_states, media_features
from vlm2vec.backbones.registry import layout_of
from vlm2vec.backbones.rows import LanguageRow, VisionRow
from vlm2vec.blocks import attention, fused, mlp
from vlm2vec.blocks.attention import Segments
from vlm2vec.blocks.options import AUTO, ForwardOptions

META = torch.device("meta")
FUSED = ForwardOptions(fuse_elementwise=True)
WAITS = ("aten._local_scalar_dense", "aten.nonzero", "aten.is_nonzero", "aten.item", "aten.equal")
_COLOURS = 3

_QWEN2_TEXT = {"rms_norm_eps": 1e-6, "max_position_embeddings": 32_768}
_MROPE = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
_MROPE_3 = {**_MROPE, "rope_theta": 5e6, "mrope_section": [24, 20, 20], "mrope_interleaved": True}


def _text(layers: int, width: int, inner: int, heads: tuple[int, int], vocabulary: int) -> dict[str, Any]:
    return {
        **_QWEN2_TEXT,
        "num_hidden_layers": layers,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_attention_heads": heads[0],
        "num_key_value_heads": heads[1],
        "vocab_size": vocabulary,
        "rope_parameters": _MROPE,
    }


def _vision_2(width: int) -> dict[str, Any]:
    return {"depth": 32, "embed_dim": 1280, "num_heads": 16, "mlp_ratio": 4, "hidden_size": width}


def _vision_2_5(width: int) -> dict[str, Any]:
    tower = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16}
    return {**tower, "out_hidden_size": width, "fullatt_block_indexes": [7, 15, 23, 31], "window_size": 112}


def _text_3(layers: int, width: int, inner: int, heads: int) -> dict[str, Any]:
    return {
        **_text(layers, width, inner, (heads, 8), 151_936),
        "head_dim": 128,
        "rope_parameters": _MROPE_3,
        "max_position_embeddings": 262_144,
    }


def _vision_3(depth: int, width: int, inner: int, out: int, taps: list[int]) -> dict[str, Any]:
    tower = {"depth": depth, "hidden_size": width, "intermediate_size": inner, "num_heads": 16}
    return {
        **tower,
        "out_hidden_size": out,
        "deepstack_visual_indexes": taps,
        "num_position_embeddings": 2304,
    }


# Network, language model and vision tower, as config.json of the published models has them.
PUBLISHED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "Qwen2-VL-2B": ("qwen2_vl", _text(28, 1536, 8960, (12, 2), 151_936), _vision_2(1536)),
    "Qwen2-VL-7B": ("qwen2_vl", _text(28, 3584, 18_944, (28, 4), 152_064), _vision_2(3584)),
    "Qwen2.5-VL-3B": ("qwen2_5_vl", _text(36, 2048, 11_008, (16, 2), 151_936), _vision_2_5(2048)),
    "Qwen2.5-VL-7B": ("qwen2_5_vl", _text(28, 3584, 18_944, (28, 4), 152_064), _vision_2_5(3584)),
    "Qwen3-VL-2B": ("qwen3_vl", _text_3(28, 2048, 6144, 16), _vision_3(24, 1024, 4096, 2048, [5, 11, 17])),
    "Qwen3-VL-8B": ("qwen3_vl", _text_3(36, 4096, 12_288, 32), _vision_3(27, 1152, 4304, 4096, [8, 16, 24])),
}


def published_network(name: str, dtype: torch.dtype = torch.bfloat16) -> PreTrainedModel:
    """A network of that size, without weights."""
    network, text, vision = PUBLISHED[name]
    config = AutoConfig.for_model(network, text_config=text, vision_config=vision)
    with META:
        model: PreTrainedModel = AutoModel.from_config(config, dtype=dtype).eval()
    # The first pass lays weights of neighbouring layers side by side, once and for all.
    texts(model, 16, 16)
    pictures(model, 64, 8)
    return model


@dataclass
class Traffic:
    """What a forward pass did.

    Attributes:
        kernels: Calls that compute something, by name.
        moved_by: Bytes that these read and write, by name.
        waits: Calls at which the host waits for the device.
        peak: Bytes that were taken at once, beyond what was there before.
    """

    kernels: Counter[str] = field(default_factory=Counter)
    moved_by: Counter[str] = field(default_factory=Counter)
    waits: list[str] = field(default_factory=list)
    peak: int = 0
    _live: int = 0

    @property
    def moved(self) -> int:
        """Bytes that are read and written in all."""
        return self.moved_by.total()

    @property
    def moved_between_products(self) -> int:
        """The same without products of matrices; attention is not counted at all."""
        return self.moved - self.moved_by["aten.linear"]

    def take(self, tensor: Tensor) -> None:
        """Count the memory of a new tensor until it is given back."""
        size = tensor.untyped_storage().nbytes()
        self._live += size
        self.peak = max(self.peak, self._live)
        weakref.finalize(tensor.untyped_storage(), self._give_back, size)

    def _give_back(self, size: int) -> None:
        self._live -= size


class Watch(TorchDispatchMode):
    """Counts what is called inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.traffic = Traffic()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        known = {tensor.untyped_storage()._cdata for tensor in given}
        name = str(func).rpartition(".")[0]
        if name in WAITS:
            self.traffic.waits.append(name)
        result = func(*args, **(kwargs or {}))
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        new = [tensor for tensor in made if tensor.untyped_storage()._cdata not in known]
        writes = bool(new) or func._schema.is_mutable
        if writes and not func.is_view and "empty" not in name:
            self.traffic.kernels[name] += 1
            self.traffic.moved_by[name] += sum(
                tensor.numel() * tensor.element_size() for tensor in (*given, *made)
            )
        for tensor in new:
            self.traffic.take(tensor)
        return result


@contextmanager
def on_cuda(watch: Watch | None = None) -> Iterator[None]:
    """Tensors are taken for those of an Ampere GPU or newer; attention and fused kernels compute nothing.

    Args:
        watch: Counts the fused kernels.
    """

    def launch(name: str, _: Any, tensors: Sequence[Tensor], *__: Any, **___: Any) -> bool:
        if watch is not None:
            changed, *others = (tensor.numel() * tensor.element_size() for tensor in tensors)
            watch.traffic.kernels[name] += 1
            watch.traffic.moved_by[name] += 2 * changed + sum(others)
        return True

    def kernel(query: Tensor, *_: Any, **__: Any) -> Tensor:
        return torch.empty_like(query)

    with (
        mock.patch.object(attention, "_KERNEL", kernel),
        mock.patch.object(attention, "has_bfloat16", lambda _: True),
        mock.patch.object(mlp, "_fuses_gate", lambda _: True),
        mock.patch.object(fused, "why_not_fused", lambda _: None),
        mock.patch.object(fused, "_launch", launch),
        mock.patch.object(torch.Tensor, "is_cuda", True),
    ):
        yield


def language_row(tokens: int, length: int) -> LanguageRow:
    """Texts of so many tokens each, of which the last state is asked for."""
    count = tokens // length
    none = torch.empty(0, dtype=torch.int64, device=META)
    return LanguageRow(
        torch.empty(count * length, dtype=torch.int64, device=META),
        torch.empty(count * length, 3, dtype=torch.int64, device=META),
        none,
        none,
        _on_meta(Segments.of([length] * count)),
        torch.empty(count, dtype=torch.int64, device=META),
        _on_meta(Segments.of([1] * count, key_lengths=[length] * count)),
    )


def vision_row(model: PreTrainedModel, patches: int, side: int) -> VisionRow:
    """Square still pictures of `side` patches, about so many patches in all."""
    count, layout = patches // side**2, layout_of(model)
    grids = torch.tensor([[1, side, side]] * count)
    return VisionRow(
        torch.empty(count * side**2, _COLOURS * layout.patch_size**2, dtype=torch.uint8, device=META),
        None,
        get_vision_position_ids(grids, layout.merge_size).to(META),
        _on_meta(Segments.of([side**2] * count)),
        ((side, side),) * count,
    )


def _on_meta(segments: Segments) -> Segments:
    return Segments(
        segments.lengths,
        segments.key_lengths,
        segments.offsets.to(META),
        segments.key_offsets.to(META),
        segments.key_rows,
    )


def texts(model: PreTrainedModel, tokens: int, length: int = 1024, options: ForwardOptions = AUTO) -> Traffic:
    """Encode texts of so many tokens in all."""
    row = language_row(tokens, length)
    with torch.inference_mode(), Watch() as watch, on_cuda(watch):
        language_states(model, row, None, options=options)
    return watch.traffic


def pictures(model: PreTrainedModel, patches: int, side: int = 32, options: ForwardOptions = AUTO) -> Traffic:
    """The vision tower on so many patches."""
    row = vision_row(model, patches, side)
    with torch.inference_mode(), Watch() as watch, on_cuda(watch):
        media_features(model, row, options=options)
    return watch.traffic


def measured(name: str, tokens: int) -> dict[str, Any]:
    """What a model takes: weights, and one batch of texts and one of pictures."""
    model = published_network(name)
    weights = list(model.parameters())
    found: dict[str, Any] = {
        "parameters": sum(weight.numel() for weight in weights),
        "weights_gb": sum(weight.nbytes for weight in weights) / 1e9,
        "layers": len(model.language_model.layers),
        "vision_layers": len(model.visual.blocks),
    }
    for what, counted, options in (
        ("texts", texts, AUTO),
        ("texts, fused", texts, FUSED),
        ("pictures", pictures, AUTO),
        ("pictures, fused", pictures, FUSED),
    ):
        traffic = counted(model, tokens, options=options)
        found[what] = {
            "kernels": traffic.kernels.total(),
            "moved_gb": traffic.moved / 1e9,
            "moved_between_products_gb": traffic.moved_between_products / 1e9,
            "waits": len(traffic.waits),
            "peak_gb": traffic.peak / 1e9,
        }
    return found


def main() -> None:
    """Print a table, and write what was counted."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--models", nargs="+", default=list(PUBLISHED), choices=list(PUBLISHED))
    parser.add_argument("--tokens", type=int, default=32_768, help="and patches, of a batch")
    given = parser.parse_args()
    rows = {name: measured(name, given.tokens) for name in given.models}
    print(
        f"{'model':14} {'billion':>8} {'weights':>8}   "
        f"batch of {given.tokens:,}: kernels, GB moved, GB at the peak"
    )
    for name, row in rows.items():
        shown = "   ".join(
            f"{what} {row[what]['kernels']:5,} {row[what]['moved_gb']:7.1f} {row[what]['peak_gb']:5.2f}"
            for what in ("texts", "pictures")
        )
        print(f"{name:14} {row['parameters'] / 1e9:8.2f} {row['weights_gb']:6.1f} GB   {shown}")
        shown = "   ".join(
            f"{what} {row[f'{what}, fused']['kernels']:5,} {row[f'{what}, fused']['moved_gb']:7.1f} "
            f"{row[f'{what}, fused']['peak_gb']:5.2f}"
            for what in ("texts", "pictures")
        )
        print(f"{'  with fused kernels':35}{shown}")
    if given.json:
        write_json(given.json, {"tokens": given.tokens, "torch": torch.__version__, "models": rows})


if __name__ == "__main__":
    main()
