"""What reading a clip gives."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

__all__ = ["Frames", "VideoIndex", "joined"]


@dataclass(frozen=True)
class VideoIndex:
    """What is known of a clip without decoding it.

    Attributes:
        height: Height of an upright frame, in pixels.
        width: Width of an upright frame, in pixels.
        times: Time of each frame in seconds, increasing; the first is 0. Empty for frames without a clock.
        count: Number of frames.
        duration: Length of the clip in seconds; 0 for frames without a clock.
        problem: What of the file cannot be read; `None` when all can.
    """

    height: int
    width: int
    times: tuple[float, ...]
    count: int
    duration: float
    problem: str | None = None


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
