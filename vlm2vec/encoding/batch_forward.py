"""One batch through all modules of a model, and the rows that come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from sentence_transformers.sentence_transformer.modules import Pooling
from sentence_transformers.util import truncate_embeddings
from torch import Tensor, nn

from vlm2vec.blocks.device import as_current, to_device
from vlm2vec.encoding.prepare import Prepared
from vlm2vec.encoding.settings import EngineSettings
from vlm2vec.errors import NonFiniteError
from vlm2vec.inputs.parts import Input
from vlm2vec.media.pixels import PixelRules

__all__ = ["BatchForward"]


@dataclass(frozen=True, eq=False)
class BatchForward:
    """Computes batches; calling it starts one, `collect` fetches its rows.

    Attributes:
        modules: Of the model, as they follow one another.
        rules: Pixel rules of the model.
        device: Where they are.
        settings: Switches of the engine.
        save_to_cpu: Whether vectors are fetched from the device.
        normalize_embeddings: Whether vectors are scaled to unit length, after they are cut.
        truncate_dim: Components to keep.
        output_value: As `SentenceTransformer.encode` takes it.
        given: What modules declare as arguments of their forward.
    """

    modules: nn.Sequential
    rules: PixelRules
    device: torch.device
    settings: EngineSettings
    save_to_cpu: bool
    normalize_embeddings: bool
    truncate_dim: int | None
    output_value: str | None
    given: Mapping[str, Any] = field(default_factory=dict)

    @torch.inference_mode()
    def __call__(self, batch: Sequence[Prepared]) -> dict[str, Any]:
        """Start a batch: its vectors, and the states of all tokens where they are asked for.

        The vector of an input for which something is not finite is NaN as a whole.
        """
        with as_current(self.device):
            return self._started(batch)

    def _started(self, batch: Sequence[Prepared]) -> dict[str, Any]:
        first: Any = self.modules[0]
        packed = first.pack(
            batch,
            self.rules,
            pooled_only=self._reads_last_tokens_alone,
            share_prefixes=self.settings.share_prefixes,
        )
        features = {"packed": to_device(packed, self.device), "options": self.settings.forward_options}
        output = self.modules(features, **self.given)
        vectors: Tensor = output["sentence_embedding"]
        # Before vectors are cut: beside an infinite component, a norm has made all others 0.
        finite = vectors.isfinite().all(dim=1)
        finite &= vectors.any(dim=1)  # of states so large that their norm is infinite, all components are 0
        vectors = truncate_embeddings(vectors, self.truncate_dim)
        if self.normalize_embeddings:
            vectors = nn.functional.normalize(vectors, dim=1)
        started: dict[str, Any] = {"items": [prepared.item for prepared in batch]}
        if self.output_value != "sentence_embedding":
            tokens = output["token_embeddings"][0].split(output["cu_seq_lens_q"].diff().tolist())
            finite &= torch.stack([states.isfinite().all() for states in tokens])
            started["tokens"] = tokens
            # How many tokens a picture in tiles has is known to the network alone.
            started["ids"] = [
                {} if prepared.sized else {"input_ids": torch.from_numpy(prepared.token_ids)}
                for prepared in batch
            ]
        # Marked in the vectors, so that they are all that is fetched, and nothing is waited for twice.
        started["vectors"] = vectors.masked_fill(~finite[:, None], torch.nan)
        return started

    def collect(self, started: dict[str, Any]) -> Sequence[Any]:
        """A row for each input, in the form that `output_value` names, or a `NonFiniteError`."""
        vectors: Tensor = started["vectors"].cpu() if self.save_to_cpu else started["vectors"]
        rows: list[Any] = list(vectors)
        if self.output_value == "token_embeddings":
            rows = list(started["tokens"])
        elif self.output_value is None:
            rows = [
                {
                    **to_device(ids, states.device),
                    "attention_mask": torch.ones(len(states), dtype=torch.long, device=states.device),
                    "token_embeddings": states,
                    "sentence_embedding": vector,
                }
                for ids, states, vector in zip(started["ids"], started["tokens"], vectors, strict=True)
            ]
        for index, failed in enumerate(vectors[:, 0].isnan().tolist()):
            if failed:
                rows[index] = _not_finite(started["items"][index])
        return rows

    @property
    def _reads_last_tokens_alone(self) -> bool:
        pooling = self.modules[1] if len(self.modules) > 1 else None
        return (
            self.settings.pooled_only
            and self.output_value == "sentence_embedding"
            and isinstance(pooling, Pooling)
            and pooling.pooling_mode == "lasttoken"
        )


def _not_finite(item: Input) -> NonFiniteError:
    return NonFiniteError(
        "the network computes NaN or infinity for it",
        fix='Load the model with dtype="bfloat16" or "float32": float16 overflows. If it is of such a type, '
        "weights of the checkpoint are damaged.",
        index=item.index,
        source=item.describe(),
    )
