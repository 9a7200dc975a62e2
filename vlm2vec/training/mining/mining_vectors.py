"""Vectors for mining: errors are told the row they are about, or counted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vlm2vec.errors import VLM2VecError

__all__ = ["Embedder"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Embedder:
    """How inputs are embedded.

    Attributes:
        settings: For `encode`.
        on_error: "raise", or "skip" to leave out what cannot be embedded.
        skipped: Counts it, by reason.
    """

    settings: dict[str, Any]
    on_error: Literal["raise", "skip"]
    skipped: dict[str, int] = field(default_factory=dict)

    def embed(
        self,
        encode: Callable[..., npt.NDArray[np.float32]],
        inputs: Sequence[Any],
        places: Sequence[str],
        *,
        instruction: Any,
        reason: str,
    ) -> npt.NDArray[np.float32]:
        """Unit vectors `(n, dim)`; NaN where an input was skipped.

        Args:
            encode: `encode_query` or `encode_document`.
            inputs: What to embed.
            places: Where each input stands, such as "train, row 7".
            instruction: As `encode` takes it.
            reason: What to count an input under that was skipped.

        Raises:
            VLM2VecError: An input cannot be embedded, and `on_error` is "raise".
        """
        failed: list[VLM2VecError] = []

        def note(index: int | None, error: VLM2VecError) -> None:
            failed.append(_placed(error, places))

        policy = "raise" if self.on_error == "raise" else note
        try:
            vectors = encode(
                inputs, instruction=instruction, on_error=policy, normalize_embeddings=True, **self.settings
            )
        except VLM2VecError as error:
            raise _placed(error, places) from error
        if failed:
            self.count(reason, len(failed))
            logger.warning("skipped %s %s; the first is %s", f"{len(failed):,}", reason, failed[0])
        return vectors

    def count(self, reason: str, number: int) -> None:
        """Count what was skipped."""
        if number:
            self.skipped[reason] = self.skipped.get(reason, 0) + number


def _placed(error: VLM2VecError, places: Sequence[str]) -> VLM2VecError:
    if error.index is None:
        return error
    what = f"{error.source}: {error.cause}" if error.source else error.cause
    return type(error)(what, fix=error.fix, source=places[error.index])
