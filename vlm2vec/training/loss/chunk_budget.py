"""How much of a batch is embedded at a time, and what is learned about it when memory does not suffice."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch

from vlm2vec.blocks.memory import is_out_of_memory
from vlm2vec.encoding.batches import Batch
from vlm2vec.encoding.plan import Planned
from vlm2vec.errors import OutOfMemoryError
from vlm2vec.notices import between_bars

__all__ = ["ChunkBudget", "ChunkMemoryError", "Overflow", "overflow_named", "reason_of"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Overflow:
    """What did not fit into memory.

    Attributes:
        chunk: What was being embedded, or learned from.
        held: Tokens, counted as in the costs of chunks, whose graphs were in memory, those of the chunk
            included where it was to keep its graph.
        features: Bytes of media features that stayed on the device.
        reason: What torch said.
    """

    chunk: Batch
    held: int
    features: int
    reason: str


class ChunkMemoryError(torch.OutOfMemoryError):
    """Memory did not suffice for a chunk; it holds no tensors.

    Args:
        overflow: What did not fit.
    """

    def __init__(self, overflow: Overflow) -> None:
        super().__init__(overflow.reason)
        self.overflow = overflow


@contextmanager
def overflow_named(chunk: Batch, *, held: int, features: int) -> Iterator[None]:
    """Say of memory that runs out in here which chunk it was: see `Overflow`.

    Raises:
        ChunkMemoryError: It did.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        reason = reason_of(error)
    else:
        return
    raise ChunkMemoryError(Overflow(chunk, held, features, reason))


def reason_of(error: RuntimeError) -> str:
    """The first line of what torch says."""
    return str(error).partition("\n")[0]


class ChunkBudget:
    """What fits.

    Args:
        tokens: Of a chunk.
        kept: Tokens whose graphs are kept; `None` for as many as a chunk has.

    Attributes:
        tokens: Tokens, and patches where the vision tower learns, of a chunk; a larger input is a chunk of
            its own.
        kept: Of how many of these the graphs are kept from the first pass.
        features_on_device: Whether media features may stay on the device.

    Example:
        >>> budget = ChunkBudget(4096)
        >>> budget.tokens, budget.kept
        (4096, 4096)
    """

    def __init__(self, tokens: int, kept: int | None = None) -> None:
        self.tokens = tokens
        self.kept = tokens if kept is None else kept
        self.features_on_device = True

    def shrink(self, overflow: Overflow) -> None:
        """Plan with less, so that the next attempt differs from the one that failed.

        What costs the least time goes first: features on the device, then graphs that are kept beside the
        chunk's own, then the size of a chunk.

        Raises:
            OutOfMemoryError: It is one input, alone.
        """
        chunk = overflow.chunk
        if overflow.features and self.features_on_device:
            self.features_on_device = False
            logger.info("Media features go through a file from here on: the GPU has no room for them.")
        elif overflow.held > chunk.cost:
            self.kept = overflow.held // 2
            self._say("the graphs of %d tokens kept; keeping less", overflow.held, "kept_tokens", self.kept)
        elif len(chunk.inputs) == 1:
            raise _too_large(cast(Planned, chunk.inputs[0]), overflow.reason)
        else:
            self.tokens = chunk.cost // 2
            self.kept = min(self.kept, self.tokens)
            self._say("%d tokens in a chunk; trying less", chunk.cost, "max_tokens_per_chunk", self.tokens)

    def _say(self, what: str, tokens: int, setting: str, value: int) -> None:
        with between_bars():
            logger.warning(
                f"Out of memory with {what} from here on. %s=%d avoids the failed attempt.",
                tokens,
                setting,
                value,
            )


def _too_large(planned: Planned, reason: str) -> OutOfMemoryError:
    return OutOfMemoryError(
        f"with {planned.tokens:,} tokens it does not fit the device's memory in training, even alone "
        f"({reason})",
        fix="Pass gradient_checkpointing=True, or give fewer pages, frames or max_pixels, a shorter text, or "
        "another device.",
        index=planned.index,
        source=planned.item.describe(),
    )
