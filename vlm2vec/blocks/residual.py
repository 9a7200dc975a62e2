"""The states between the layers of a network: each reads the norm of them, and adds to them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vlm2vec.blocks.fused import add_norm, is_fused
from vlm2vec.blocks.linear import some_rows
from vlm2vec.blocks.norms import norm_terms, rms_norm
from vlm2vec.blocks.options import ForwardOptions

__all__ = ["Residual"]


class Residual:
    """States of one tower, changed in place.

    With fused kernels a sum and the norm that reads it next are one pass, and the norm is kept until then.

    Args:
        hidden: `(rows, features)`.
        norm_class: transformers' class of root-mean-square norms of the network.
        options: How it is computed.

    Attributes:
        hidden: The states. Who changes them has the last `add` go before no norm.
    """

    def __init__(self, hidden: Tensor, norm_class: type[nn.Module], options: ForwardOptions) -> None:
        self.hidden = hidden
        self._norm_class, self._options = norm_class, options
        self._normed: Tensor | None = None
        self._normed_by: nn.Module | None = None

    def normed(self, norm: nn.Module, rows: slice = slice(None)) -> Tensor:
        """What a norm gives for some rows; good until the next sum."""
        if self._normed is not None and self._normed_by is norm:
            return self._normed[rows]
        return rms_norm(norm, self.hidden[rows], self._norm_class)

    def add(
        self, work: Callable[[Tensor], Tensor], inputs: Tensor | nn.Module, *, then: nn.Module | None
    ) -> None:
        """Add what `work` gives, a block of rows at a time.

        Args:
            work: Of some rows of the inputs, what is added to these rows.
            inputs: `(rows, features)`, or a norm, of the states.
            then: The norm that will read the sum, if one will before anything else changes it.
        """
        fused = then is not None and is_fused(self.hidden, self._options)
        terms = norm_terms(then, self._norm_class) if fused else None
        if terms is None or then is None:
            for rows in some_rows(self.hidden, self._options):
                self.hidden[rows].add_(work(self._some(inputs, rows)))  # += would copy them onto themselves
            self._normed_by = None
            return
        if self._normed is None:
            self._normed = torch.empty_like(self.hidden)
        for rows in some_rows(self.hidden, self._options):
            hidden, branch = self.hidden[rows], work(self._some(inputs, rows))
            normed = self._normed[rows]  # of which the inputs were read by now
            if not add_norm(hidden, branch, terms, out=normed):
                hidden += branch
                normed.copy_(rms_norm(then, hidden, self._norm_class))
        self._normed_by = then

    def _some(self, inputs: Tensor | nn.Module, rows: slice) -> Tensor:
        return self.normed(inputs, rows) if isinstance(inputs, nn.Module) else inputs[rows]
