"""InfoNCE over a batch of vectors: each query against all documents, its own one the right answer.

Formula: VLM2Vec (arXiv:2410.05160), section 3.2; temperature 0.02 as there. The options are those of the
papers named beside them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from vlm2vec.errors import InputError

__all__ = ["InfoNCE"]


class InfoNCE(nn.Module):
    """Mean cross entropy of cosine similarity over temperature.

    Args:
        temperature: What similarities are divided by.
        learn_temperature: Whether it is a parameter, kept as its logarithm (CLIP, arXiv:2103.00020).
        symmetric: Also ask each positive document for its query, and take the mean of both directions.
        false_negative_margin: Documents that are more similar to a query than its own one, by more than
            this, are no negatives of it (NV-Retriever, arXiv:2407.15831); `None` keeps them.
        hardness: Weight of a negative in the sum is `exp(hardness * similarity)`, without gradient (LLaVE,
            arXiv:2503.04812); 0 weighs all alike.
        matryoshka_dims: Also train the first components alone, of each of these numbers, with equal weight
            (arXiv:2205.13147).

    Raises:
        InputError: A setting makes no sense.

    Example:
        >>> vectors = torch.eye(3)
        >>> round(InfoNCE(temperature=1.0)(vectors, vectors, torch.arange(3)).item(), 4)
        0.5514
    """

    def __init__(
        self,
        *,
        temperature: float = 0.02,
        learn_temperature: bool = False,
        symmetric: bool = False,
        false_negative_margin: float | None = None,
        hardness: float = 0.0,
        matryoshka_dims: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if not (isinstance(temperature, (int, float)) and 0 < temperature < math.inf):
            raise InputError(f"temperature is {temperature!r}", fix="Pass a positive number.")
        if any(isinstance(dim, bool) or not isinstance(dim, int) or dim < 1 for dim in matryoshka_dims):
            raise InputError(f"matryoshka_dims is {matryoshka_dims!r}", fix="Pass positive whole numbers.")
        log_temperature = torch.tensor(math.log(temperature))
        if learn_temperature:
            self.log_temperature: Tensor = nn.Parameter(log_temperature)
        else:
            self.register_buffer("log_temperature", log_temperature, persistent=False)
        self._fixed = None if learn_temperature else float(temperature)
        self.symmetric = symmetric
        self.false_negative_margin = false_negative_margin
        self.hardness = hardness
        self.matryoshka_dims = tuple(matryoshka_dims)

    @property
    def temperature(self) -> float:
        """As it is now."""
        return math.exp(self.log_temperature.item()) if self._fixed is None else self._fixed

    def forward(
        self, queries: Tensor, documents: Tensor, positives: Tensor, *, same: Tensor | None = None
    ) -> Tensor:
        """The loss.

        Args:
            queries: `(q, dim)`, of unit length.
            documents: `(d, dim)`, of unit length: positives and hard negatives of all queries.
            positives: `(q,)`, for each query the row of its document.
            same: `(q, d)` bool, documents that are as right as the query's own one, and so no negatives.
        """
        whole = queries.shape[1]
        if wrong := [dim for dim in self.matryoshka_dims if dim > whole]:
            raise InputError(f"matryoshka_dims has {wrong[0]}, and vectors have {whole} components")
        losses = [self._loss(queries, documents, positives, same)]
        for dim in self.matryoshka_dims:
            first, second = (F.normalize(vectors[:, :dim], dim=1) for vectors in (queries, documents))
            losses.append(self._loss(first, second, positives, same))
        return torch.stack(losses).mean()

    def _loss(self, queries: Tensor, documents: Tensor, positives: Tensor, same: Tensor | None) -> Tensor:
        similarity = queries @ documents.T
        others = torch.ones_like(similarity, dtype=torch.bool).scatter_(1, positives[:, None], False)
        hidden = torch.zeros_like(others) if same is None else same & others
        if self.false_negative_margin is not None:
            own = similarity.detach().gather(1, positives[:, None])
            hidden |= (similarity.detach() > own + self.false_negative_margin) & others
        scores = similarity / (self._fixed or self.log_temperature.exp())
        if self.hardness:
            scores = scores + self.hardness * similarity.detach() * others
        scores = scores.masked_fill(hidden, -math.inf)
        loss = F.cross_entropy(scores, positives)
        if not self.symmetric:
            return loss
        # Each query's document asks all queries; a query whose own document is as right is no negative.
        own = torch.arange(len(queries), device=positives.device)
        return (loss + F.cross_entropy(scores[:, positives].T, own)) / 2
