"""Encoders whose work is spread over several devices: a worker process for each, as long as it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import is_dataclass, replace
from typing import Any

from vlm2vec.errors import InputError
from vlm2vec.mmeb.encoders import Encoder

__all__ = ["spread"]


@contextmanager
def spread(encoder: Encoder, devices: Sequence[Any]) -> Iterator[Encoder]:
    """The same encoder on worker processes, which end with the block, however it ends.

    Args:
        encoder: One that wraps a model of sentence-transformers.
        devices: One for each worker, such as "cuda:0" and "cuda:1"; none leaves the encoder as it is.

    Raises:
        InputError: It is no such encoder.
    """
    if not devices:
        yield encoder
        return
    model = getattr(encoder, "model", None)
    if not (
        is_dataclass(encoder) and hasattr(encoder, "settings") and hasattr(model, "stop_multi_process_pool")
    ):
        raise InputError(
            f"{encoder.name} cannot be spread over devices",
            fix="Leave out devices, and start the script with `accelerate launch`.",
        )
    home = model.device
    pool = model.start_multi_process_pool([str(device) for device in devices])
    try:
        yield replace(encoder, settings={**encoder.settings, "pool": pool})
    finally:
        model.stop_multi_process_pool(pool)
        model.to(home)  # the pool has taken it to the CPU
