"""What reading a clip gives."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

__all__ = ["Frames", "joined"]


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames chosen from a clip, in order.

    Attributes:
        frames: Pictures of shape (H, W, 3), uint8 RGB, upright; a folder's may differ in size.
        times: Time of each in seconds from the clip's begin; empty for frames without a clock.
        problem: What of the clip could not be read; `None` when all could.
    """

    frames: list[np.ndarray]
    times: list[float] = field(default_factory=list)
    problem: str | None = None


def joined(first: str | None, second: str) -> str:
    """Two problems as one text."""
    return second if first is None else f"{first}; {second}"
