"""The loss before the contrastive one: what tokens show, and what captions say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from embedded_model.dense_targets import ASPECTS, LETTERS, NOT_ASKED
from vlm2vec.backbones.train_forward import hidden_states, media_features
from vlm2vec.blocks.attention import Segments
from vlm2vec.blocks.device import to_device

__all__ = ["WorldLoss"]

_NOTHING_WEIGHT = 0.3
"""Weight of tokens that show nothing: most do, and there is little to learn from them."""

_DENSE_WEIGHT = 0.6
"""Beside the captions, whose weight is 1."""


class WorldLoss(nn.Module):
    """Dense, caption and word loss on a batch of `pack_world`.

    The dense part reads colour, shape, size, motion, word, letters and ink from the vision tower's tokens
    with linear heads that are thrown away after training. The caption part predicts a document's caption
    behind its pooled token, with the token embeddings as head. The word part names all words of a document's
    caption, or of a query, from its vector alone, with one head for both sides: a word has its direction in
    the space before pictures and texts are contrasted. Batches without captions have the dense part alone.

    Args:
        model: The embedding model; its first module holds the network.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        width = model[0].model.config.text_config.hidden_size
        self.heads = nn.ModuleDict(
            {aspect: nn.Linear(width, len(answers)) for aspect, answers in ASPECTS.items()}
        )
        self.letters = nn.Linear(width, len(LETTERS))
        self.ink = nn.Linear(width, 49)
        self.words = nn.Linear(width, len(model.tokenizer))
        self.log_sharpness = nn.Parameter(torch.tensor(2.0))

    def forward(
        self, features: Iterable[dict[str, Tensor]], labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Parts of the loss, by name; their sum is what to minimise.

        Args:
            features: One batch of `pack_world`.
            labels: Not used; sentence-transformers' trainer passes it.
        """
        (batch,) = features
        network = self.model[0].model
        media = media_features(network, None, batch["pixel_values"], batch["grids"])
        dense = self._dense(media, batch)
        if "input_ids" not in batch:
            return {"dense": dense}
        is_clip = batch["grids"][:, 0] > 1
        stills = int((batch["grids"][~is_clip].prod(dim=1) // 4).sum())
        states = hidden_states(
            network,
            batch["input_ids"],
            batch["position_ids"],
            to_device(Segments.of(batch["lengths"].tolist()), media.device),
            images=media[:stills],
            clips=media[stills:],
        )
        predicted = batch["labels"] >= 0
        scores = F.linear(states[predicted], network.language_model.embed_tokens.weight)
        caption = F.cross_entropy(scores, batch["labels"][predicted])
        vectors = F.normalize(states[batch["pooled"]], dim=1)
        named = F.log_softmax(self.words(vectors) * self.log_sharpness.exp(), dim=1)
        rows = torch.arange(len(vectors)).repeat_interleave(batch["word_counts"])
        # Each word counts alike, however often it is there: most are articles and names of charts.
        often = batch["words"].bincount()
        words = -(named[rows, batch["words"]] / often[batch["words"]]).sum() / often.count_nonzero()
        return {"dense": _DENSE_WEIGHT * dense, "caption": caption, "words": words}

    def _dense(self, media: Tensor, batch: dict[str, Tensor]) -> Tensor:
        loss = media.new_zeros(())
        for column, head in enumerate(self.heads.values()):
            answer = batch["dense"][:, column]
            asked = answer != NOT_ASKED
            weight = torch.where(answer[asked] == 0, _NOTHING_WEIGHT, 1.0)
            losses = F.cross_entropy(head(media[asked]), answer[asked], reduction="none")
            loss = loss + (losses * weight).sum() / weight.sum().clamp(min=1)
        is_page = batch["dense"][:, list(ASPECTS).index("word")] != NOT_ASKED
        shown = batch["dense"][:, list(ASPECTS).index("shape")] > 0
        written = batch["letters"].any(dim=1)
        letters = self.letters(media[is_page][written])
        loss = loss + _binary(letters, batch["letters"][written]) * len(LETTERS)
        inked = shown[~is_page]
        return loss + 2 * _binary(self.ink(media[~is_page][inked]), batch["ink"][inked])


def _binary(scores: Tensor, targets: Tensor) -> Tensor:
    """Mean binary cross entropy; zero where there is nothing to ask."""
    return F.binary_cross_entropy_with_logits(scores, targets, reduction="sum") / max(targets.numel(), 1)
