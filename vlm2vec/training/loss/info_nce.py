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

from vlm2vec.arguments import is_finite, is_whole
from vlm2vec.describe import literal
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
        if not (is_finite(temperature) and temperature > 0):
            raise InputError(f"temperature is {literal(temperature)}", fix="Pass a positive number.")
        for name, value in (("hardness", hardness), ("false_negative_margin", false_negative_margin)):
            if value is not None and not is_finite(value):
                raise InputError(f"{name} is {literal(value)}", fix="Pass a number.")
        if not all(is_whole(dim, minimum=1) for dim in matryoshka_dims):
            raise InputError(
                f"matryoshka_dims is {literal(matryoshka_dims)}", fix="Pass positive whole numbers."
            )
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
        self,
        queries: Tensor,
        documents: Tensor,
        positives: Tensor,
        *,
        same: Tensor | None = None,
        ranks: int = 1,
    ) -> Tensor:
        """The loss, in float32 at least: half precision would round similarities before they are divided.

        Args:
            queries: `(q, dim)`, of unit length.
            documents: `(d, dim)`, of unit length: positives and hard negatives of all queries.
            positives: `(q,)`, for each query the row of its document.
            same: `(q, d)` bool, documents that are as right as the query's own one, and so no negatives.
            ranks: Processes that compute this same loss and sum up their gradients; each gives its share of
                the gradient of a learned temperature.
        """
        whole = queries.shape[1]
        if wrong := [dim for dim in self.matryoshka_dims if dim > whole]:
            raise InputError(f"matryoshka_dims has {wrong[0]}, and vectors have {whole} components")
        if self._fixed is None:
            share = self.log_temperature / ranks
            temperature: float | Tensor = (share + (self.log_temperature - share).detach()).exp()
        else:
            temperature = self._fixed
        with torch.autocast(queries.device.type, enabled=False):
            queries, documents = (
                vectors if vectors.dtype == torch.float64 else vectors.float()
                for vectors in (queries, documents)
            )
            losses = [self._loss(queries, documents, positives, same, temperature)]
            for dim in self.matryoshka_dims:
                short, short_too = (F.normalize(vectors[:, :dim], dim=1) for vectors in (queries, documents))
                losses.append(self._loss(short, short_too, positives, same, temperature))
            return torch.stack(losses).mean()

    def _loss(
        self,
        queries: Tensor,
        documents: Tensor,
        positives: Tensor,
        same: Tensor | None,
        temperature: float | Tensor,
    ) -> Tensor:
        similarity = queries @ documents.T
        negatives = torch.ones_like(similarity, dtype=torch.bool).scatter_(1, positives[:, None], False)
        hidden = torch.zeros_like(negatives) if same is None else same & negatives
        if self.false_negative_margin is not None:
            own = similarity.detach().gather(1, positives[:, None])
            hidden |= (similarity.detach() > own + self.false_negative_margin) & negatives
        scores = similarity / temperature
        if self.hardness:
            scores = scores + self.hardness * similarity.detach() * negatives
        scores = scores.masked_fill(hidden, -math.inf)
        loss = F.cross_entropy(scores, positives)
        if not self.symmetric:
            return loss
        # Each query's document asks all queries; another query that has the same document is no negative.
        twins = (positives[:, None] == positives).fill_diagonal_(False)
        document_scores = scores[:, positives].masked_fill(twins, -math.inf).T
        own_query = torch.arange(len(queries), device=positives.device)
        return (loss + F.cross_entropy(document_scores, own_query)) / 2
