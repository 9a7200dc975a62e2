"""Attention over a packed row: several sequences one behind the other, none seeing another.

One function serves the vision tower and the language model, registered with transformers under
`PACKED_ATTENTION`. On CUDA in half precision it is torch's variable-length kernel, one launch a layer;
elsewhere it is scaled-dot-product attention, one call for each run of equally long sequences.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from itertools import accumulate, groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody uses
from transformers import AttentionInterface, PreTrainedConfig

__all__ = ["PACKED_ATTENTION", "Segments", "packed_attention", "use_packed_attention"]

PACKED_ATTENTION = "vlm2vec_flash_packed"
"""Registered name. transformers' vision tower hands over whole rows only to names that contain "flash"."""


@dataclass(frozen=True)
class Segments:
    """Where the sequences of a packed row lie.

    Attributes:
        lengths: Tokens of each sequence.
        offsets: `(n + 1,)` int32, first token of each sequence and the end, on the device of the row.
    """

    lengths: tuple[int, ...]
    offsets: Tensor

    @classmethod
    def of(cls, lengths: list[int], device: torch.device) -> Segments:
        """Segments of these lengths, one behind the other."""
        offsets = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)
        return cls(tuple(lengths), offsets)

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        return max(self.lengths)


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    *,
    segments: Segments,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend within each segment, causally where the module is causal.

    Args:
        module: The attention layer; its `is_causal` decides.
        query: `(1, heads, tokens, head_dim)`.
        key: `(1, key_heads, tokens, head_dim)`, `key_heads` a divisor of `heads`.
        value: As `key`.
        attention_mask: Not used: the segments say who sees whom.
        segments: Where the sequences lie.
        scaling: Factor on the scores.
        dropout: Probability, in training.

    Returns:
        `(1, tokens, heads, head_dim)`, and `None` where transformers expects weights.
    """
    causal = bool(module.is_causal)
    # Under autocast the rotary embedding leaves queries and keys in float32.
    query, key = query.to(value.dtype), key.to(value.dtype)
    if value.is_cuda and value.dtype in _HALF and not dropout and _kernel_runs_on(value.device):
        assert _KERNEL is not None  # noqa: S101  # _kernel_runs_on says so
        output = _KERNEL(
            *(tensor.squeeze(0).transpose(0, 1) for tensor in (query, key, value)),
            segments.offsets,
            segments.offsets,
            segments.longest,
            segments.longest,
            scale=scaling,
            window_size=(-1, 0) if causal else (-1, -1),
            enable_gqa=query.shape[1] != key.shape[1],
        )
        return output.unsqueeze(0), None
    settings = {"is_causal": causal, "scale": scaling, "dropout_p": dropout}
    return _attention_by_runs(query, key, value, segments.lengths, **settings), None


def _attention_by_runs(
    query: Tensor, key: Tensor, value: Tensor, lengths: tuple[int, ...], **settings: Any
) -> Tensor:
    runs = [(length, len(list(run))) for length, run in groupby(lengths)]
    sizes = [length * count for length, count in runs]
    # Split once: the gradient of a slice is as large as the whole row, and there may be many runs.
    parts = zip(*(torch.split(tensor[0], sizes, dim=1) for tensor in (query, key, value)), strict=True)
    outputs = []
    for (length, count), part in zip(runs, parts, strict=True):
        q, k, v = (tensor.reshape(len(tensor), count, length, -1).transpose(0, 1) for tensor in part)
        attended = F.scaled_dot_product_attention(
            q, k, v, enable_gqa=q.shape[1] != k.shape[1], **settings
        )  # (count, heads, length, head_dim)
        outputs.append(attended.transpose(1, 2).flatten(0, 1))
    return torch.cat(outputs).unsqueeze(0)


def use_packed_attention(config: PreTrainedConfig) -> None:
    """Make a Qwen2-VL configuration, both towers, use `packed_attention`."""
    for part in (config, config.text_config, config.vision_config):
        # The public setter refuses names with "flash" that it does not know (tests/test_compat.py).
        part._attn_implementation_internal = PACKED_ATTENTION


def _find_kernel() -> Callable[..., Tensor] | None:
    """Torch's variable-length attention, or `None` from a torch that has none."""
    try:
        kernel: Callable[..., Any] = import_module("torch.nn.attention.varlen").varlen_attn
    except (ImportError, AttributeError):
        return None
    return kernel


def _kernel_runs_on(device: torch.device) -> bool:
    """Whether the kernel is there, and the GPU of the generation that it needs (Ampere)."""
    return _KERNEL is not None and torch.cuda.get_device_capability(device) >= (8, 0)


_KERNEL = _find_kernel()
_HALF = (torch.float16, torch.bfloat16)

AttentionInterface.register(PACKED_ATTENTION, packed_attention)
