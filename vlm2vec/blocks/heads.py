"""Queries, keys and values of a layer: projected, normed where the network does so, and rotated."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from vlm2vec.blocks import fused
from vlm2vec.blocks.linear import project, some_rows
from vlm2vec.blocks.norms import NormTerms, norm_terms, rms_norm
from vlm2vec.blocks.options import ForwardOptions

__all__ = ["Heads", "rotated"]


class Heads:
    """Queries, keys and values of the layers of one tower, whose buffer they share.

    Args:
        cos: Of the rotary embedding, `(1, rows, head_dim)` or `(rows, head_dim)`; its two halves are equal.
        sin: The same of the sine.
        norm_class: transformers' class of root-mean-square norms of the network.
    """

    def __init__(self, cos: Tensor, sin: Tensor, norm_class: type[nn.Module]) -> None:
        self._dim, self._norm_class = cos.shape[-1], norm_class
        half = self._dim // 2
        self._cos, self._sin = (angles.reshape(-1, 2 * half)[:, None, :half] for angles in (cos, sin))
        self._buffer: Tensor | None = None

    def of(
        self,
        projections: Sequence[nn.Module],
        inputs: Callable[[slice], Tensor],
        hidden: Tensor,
        counts: tuple[int, int, int],
        options: ForwardOptions,
        *,
        head_norms: tuple[nn.Module, nn.Module] | None = None,
    ) -> Sequence[Tensor]:
        """Three tensors `(rows, heads, head_dim)`, with `counts` heads; good until the next call.

        Args:
            projections: Linear layers whose outputs, side by side, are queries, keys and values.
            inputs: Of rows, their input `(rows, features)`.
            hidden: `(rows, features)`, as the input.
            counts: Heads of queries, keys and values.
            options: How it is computed.
            head_norms: Norms of queries and of keys over `head_dim`, before they are rotated.
        """
        rotating = counts[0] + counts[1]
        if fused.is_fused(hidden, options):
            turned = self._fused(projections, inputs(slice(None)), counts, options, head_norms)
            if turned is not None:
                return turned
        for rows in some_rows(hidden, options):
            part = project(projections, inputs(rows), options)
            part = part.view(-1, sum(counts), self._dim)  # (rows, heads, head_dim)
            if self._buffer is None or self._buffer.dtype != part.dtype:
                self._buffer = part.new_empty(len(hidden), *part.shape[1:])
            if head_norms is not None:
                query, key = part[:, : counts[0]], part[:, counts[0] : rotating]
                query.copy_(rms_norm(head_norms[0], query, self._norm_class))
                key.copy_(rms_norm(head_norms[1], key, self._norm_class))
            self._rotate(part[:, :rotating], rows, out=self._buffer[rows, :rotating])
            self._buffer[rows, rotating:] = part[:, rotating:]
            del part  # or two would be held at once
        assert self._buffer is not None  # noqa: S101  # there is at least one row
        return torch.split(self._buffer, list(counts), dim=1)

    def _fused(
        self,
        projections: Sequence[nn.Module],
        inputs: Tensor,
        counts: tuple[int, int, int],
        options: ForwardOptions,
        head_norms: tuple[nn.Module, nn.Module] | None,
    ) -> Sequence[Tensor] | None:
        """`of`, rotated in place and so for all rows at once; `None` where it cannot be."""
        both: tuple[NormTerms, NormTerms] | None = None
        if head_norms is not None:
            of_query, of_key = (norm_terms(norm, self._norm_class) for norm in head_norms)
            if of_query is None or of_key is None:
                return None
            both = of_query, of_key
        heads = project(projections, inputs, options).view(-1, sum(counts), self._dim)
        rotating, cos, sin = heads[:, : counts[0] + counts[1]], self._cos[:, 0], self._sin[:, 0]
        done = fused.rotate(rotating, cos, sin, queries=counts[0], norms=both)
        return torch.split(heads, list(counts), dim=1) if done else None

    def _rotate(self, heads: Tensor, rows: slice, *, out: Tensor) -> None:
        """Rotate, in float32 where the angles are, as transformers does in the vision tower."""
        cos, sin = self._cos[rows], self._sin[rows]
        (first, second), (out_first, out_second) = heads.chunk(2, dim=-1), out.chunk(2, dim=-1)
        out_first.copy_(first * cos - second * sin)
        out_second.copy_(second * cos + first * sin)


def rotated(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Heads turned by the angles of their tokens, with a graph.

    Args:
        heads: `(1, heads, tokens, head_dim)`.
        cos: `(1, tokens, head_dim)`.
        sin: `(1, tokens, head_dim)`.
    """
    first, second = heads.chunk(2, dim=-1)
    return heads * cos[:, None] + torch.cat([-second, first], dim=-1) * sin[:, None]
