"""Attention over a packed row: several sequences one after the other, none attending to another.

One function serves both towers. In half precision on NVIDIA's GPUs from Ampere on it is torch's
variable-length kernel, one launch a layer; elsewhere it is scaled-dot-product attention, one call for each
run of equally long sequences.
`Segments` says which attends to which; the keys of a shared prefix are computed once, for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from inspect import signature
from itertools import accumulate, groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody uses
from transformers import AttentionInterface, PreTrainedConfig

from vlm2vec.blocks.device import has_bfloat16

__all__ = [
    "PACKED_ATTENTION",
    "Segments",
    "attend",
    "packed_attention",
    "select_rows",
    "use_packed_attention",
    "why_no_kernel",
]

PACKED_ATTENTION = "vlm2vec_flash_packed"
"""Registered name. transformers' vision tower hands over whole rows only to names that contain "flash"."""


@dataclass(frozen=True)
class Segments:
    """Where the sequences of a packed row lie, and what each may attend to.

    A causal query attends to the keys up to its own index, counted from the end: the last one attends to all.

    Attributes:
        lengths: Queries of each sequence.
        key_lengths: Keys of each sequence; more than queries where a part was computed elsewhere.
        offsets: `(n + 1,)` int32, first query of each sequence and the end.
        key_offsets: `(n + 1,)` int32, the same of the keys.
        key_rows: `(sum of key_lengths,)`, the row of each key; `None` where keys are the rows themselves.
    """

    lengths: tuple[int, ...]
    key_lengths: tuple[int, ...]
    offsets: Tensor
    key_offsets: Tensor
    key_rows: Tensor | None = None

    @classmethod
    def of(
        cls, lengths: list[int], *, key_lengths: list[int] | None = None, key_rows: Tensor | None = None
    ) -> Segments:
        """Segments of these lengths, one after the other, on the CPU; each attends to itself by default."""
        offsets = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
        if key_lengths is None:
            return cls(tuple(lengths), tuple(lengths), offsets, offsets)
        key_offsets = torch.tensor([0, *accumulate(key_lengths)], dtype=torch.int32)
        return cls(tuple(lengths), tuple(key_lengths), offsets, key_offsets, key_rows)

    def parts(self, max_keys: int) -> Iterator[tuple[slice, Segments]]:
        """The rows of some segments at a time, with at most `max_keys` keys unless one alone has more.

        Where keys are the rows themselves, those of a part are the part's.
        """
        count, start = len(self.lengths), 0
        if sum(self.key_lengths) <= max_keys:
            yield slice(0, sum(self.lengths)), self
            return
        while start < count:
            end, keys = start + 1, self.key_lengths[start]
            while end < count and keys + self.key_lengths[end] <= max_keys:
                keys += self.key_lengths[end]
                end += 1
            first, first_key = sum(self.lengths[:start]), sum(self.key_lengths[:start])
            yield (
                slice(first, first + sum(self.lengths[start:end])),
                Segments(
                    self.lengths[start:end],
                    self.key_lengths[start:end],
                    self.offsets[start : end + 1] - self.offsets[start],
                    self.key_offsets[start : end + 1] - self.key_offsets[start],
                    None if self.key_rows is None else self.key_rows[first_key : first_key + keys],
                ),
            )
            start = end


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segments: Segments,
    *,
    causal: bool,
    scaling: float,
    dropout: float = 0.0,
) -> Tensor:
    """Attend within each segment.

    Args:
        query: `(tokens, heads, head_dim)`.
        key: `(rows, key_heads, head_dim)`, `key_heads` a divisor of `heads`.
        value: As `key`.
        segments: Where the sequences lie; on the device of the rest.
        causal: Whether a token attends to nothing after itself.
        scaling: Factor on the scores.
        dropout: Probability, in training.

    Returns:
        `(tokens, heads, head_dim)`.
    """
    # Under autocast the rotary embedding leaves queries and keys in float32.
    query, key = query.to(value.dtype), key.to(value.dtype)
    by_kernel = not dropout and why_no_kernel(query) is None
    outputs: list[Tensor] = []
    parts: Iterable[tuple[slice, Segments]] = [(slice(None), segments)]
    if segments.key_rows is not None:  # keys that many share are not copied for all at once
        parts = segments.parts(_MAX_KEY_ROWS)
    for rows, part in parts:
        if by_kernel:
            outputs.append(_attend_by_kernel(query[rows], key, value, part, causal=causal, scaling=scaling))
            continue
        for q, k, v in _runs(query[rows], key, value, part):
            # (count, heads, length, head_dim)
            heads_first = [tensor.transpose(1, 2) for tensor in (q, k, v)]
            attended = _attend_run(*heads_first, causal=causal, scaling=scaling, dropout=dropout)
            outputs.append(attended.transpose(1, 2).flatten(0, 1))
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


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
    """`attend` as transformers calls it: heads before tokens, and a batch of one packed row.

    Args:
        module: The attention layer; its `is_causal` decides.
        query: `(1, heads, tokens, head_dim)`.
        key: `(1, key_heads, tokens, head_dim)`.
        value: As `key`.
        attention_mask: Not used: the segments say which attends to which.
        segments: Where the sequences lie.
        scaling: Factor on the scores.
        dropout: Probability, in training.

    Returns:
        `(1, tokens, heads, head_dim)`, and `None` where transformers expects weights.
    """
    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    causal = bool(module.is_causal)
    output = attend(query, key, value, segments, causal=causal, scaling=scaling, dropout=dropout)
    return output.unsqueeze(0), None


def use_packed_attention(config: PreTrainedConfig) -> None:
    """Make a configuration, that of both towers, use `packed_attention`."""
    for part in (config, config.text_config, config.vision_config):
        # The public setter refuses names with "flash" that it does not know (tests/test_compat.py).
        part._attn_implementation_internal = PACKED_ATTENTION


def select_rows(rows: Tensor, index: Tensor) -> Tensor:
    """`rows[index]`. What a row that many share learns from each is added up in float32."""
    if rows.dtype in _HALF and rows.requires_grad:
        return rows.float().index_select(0, index).to(rows.dtype)
    return rows.index_select(0, index)


def why_no_kernel(query: Tensor) -> str | None:
    """Why torch's variable-length kernel does not compute heads of this type and size on this device.

    Args:
        query: `(tokens, heads, head_dim)`.

    Returns:
        A few words; `None` where it does.
    """
    if not query.is_cuda:
        return "it is for NVIDIA's GPUs"
    if torch.version.hip is not None:
        return "AMD's counts the causal window from the start"
    if _KERNEL is None:
        return "this torch has none"
    if not has_bfloat16(query.device):  # the generation that it needs, whatever the type
        return "it needs an Ampere GPU or newer"
    if query.dtype not in _HALF:
        return "it computes in half precision alone"
    head_dim = query.shape[2]
    if head_dim % 8 or head_dim > _MAX_HEAD_DIM:
        return f"heads of {head_dim} are no multiple of 8, or over {_MAX_HEAD_DIM}"
    return None


def _attend_by_kernel(
    query: Tensor, key: Tensor, value: Tensor, segments: Segments, *, causal: bool, scaling: float
) -> Tensor:
    assert _KERNEL is not None  # noqa: S101  # why_no_kernel says so
    if segments.key_rows is not None:
        key, value = select_rows(key, segments.key_rows), select_rows(value, segments.key_rows)
    # The kernel counts the causal window from the end, as Segments does.
    return _KERNEL(
        query,
        key,
        value,
        segments.offsets,
        segments.key_offsets,
        max(segments.lengths),
        max(segments.key_lengths),
        scale=scaling,
        window_size=(-1, 0) if causal else (-1, -1),
    )


def _runs(
    query: Tensor, key: Tensor, value: Tensor, segments: Segments
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Queries, keys and values of each run of equally long sequences, as `(count, length, heads, dim)`."""
    shapes = zip(segments.lengths, segments.key_lengths, strict=True)
    runs = [(*shape, len(list(run))) for shape, run in groupby(shapes)]
    # Split once: the gradient of a slice is as large as the whole row, and there may be many runs.
    queries = torch.split(query, [length * count for length, _, count in runs])
    key_sizes = [length * count for _, length, count in runs]
    parts: Iterable[tuple[Tensor, Tensor]]
    key_rows = segments.key_rows
    if key_rows is not None and torch.is_grad_enabled() and key.requires_grad:
        # At once, for the gradient of each gathering is as large as the whole row too.
        key, value, key_rows = select_rows(key, key_rows), select_rows(value, key_rows), None
    if key_rows is None:
        parts = zip(torch.split(key, key_sizes), torch.split(value, key_sizes), strict=True)
    else:
        rows = torch.split(key_rows, key_sizes)
        parts = ((key.index_select(0, index), value.index_select(0, index)) for index in rows)
    for (_, _, count), q, (k, v) in zip(runs, queries, parts, strict=True):
        yield _in_sequences(q, count), _in_sequences(k, count), _in_sequences(v, count)


def _in_sequences(rows: Tensor, count: int) -> Tensor:
    return rows.reshape(count, -1, *rows.shape[1:])


def _attend_run(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    causal: bool,
    scaling: float,
    dropout: float,
) -> Tensor:
    length, key_length = query.shape[2], key.shape[2]
    mask = None
    if causal and 1 < length < key_length:
        mask = torch.ones(length, key_length, dtype=torch.bool, device=query.device).tril(key_length - length)
    groups = query.shape[1] // key.shape[1]
    if groups > 1 and not query.is_cpu:
        # On a GPU the flag leads float32, and half precision before Ampere, to the kernel that keeps all
        # scores: 4.8 GB for 10,000 tokens. On a CPU the fast kernel takes it, and spares the copy.
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    return F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=causal and length == key_length,
        scale=scaling,
        dropout_p=dropout,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def _find_kernel() -> Callable[..., Tensor] | None:
    """Torch's variable-length attention, or `None` from a torch that has none."""
    try:
        kernel: Callable[..., Any] = import_module("torch.nn.attention.varlen").varlen_attn
    except (ImportError, AttributeError):
        return None
    # Torch 2.11 lets heads share keys unasked, later versions refuse to. It is asked for where heads are
    # equal too: otherwise torch 2.14 switches to cuDNN where a batch has a frame of over 128 patches, and how
    # an input is rounded depends on the others. So it would if keys were split among programs, which torch's
    # own kernel does for none of our calls, and FlashAttention 3 in its place does unless told not to.
    wanted = {"enable_gqa": True, "num_splits": 1}
    known = signature(kernel).parameters
    return partial(kernel, **{name: value for name, value in wanted.items() if name in known})


_KERNEL = _find_kernel()
_HALF = (torch.float16, torch.bfloat16)
_MAX_HEAD_DIM = 256
_MAX_KEY_ROWS = 2**16
"""Rows of keys that are gathered at a time where inputs share a prefix."""

AttentionInterface.register(PACKED_ATTENTION, packed_attention)
