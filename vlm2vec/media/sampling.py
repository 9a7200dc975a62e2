"""Which frames of a clip, or pages of a document, are looked at."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vlm2vec.arguments import is_finite, is_rate, whole_number
from vlm2vec.describe import literal
from vlm2vec.errors import InputError

__all__ = ["Sampling", "SamplingRule", "uniform_indices"]

SamplingRule = Literal["clock", "spread"]

# Matroska and GIF round times: a frame this much late, in seconds, still counts as on time.
_ROUNDING = 1e-3


def uniform_indices(count: int, num_frames: int) -> list[int]:
    """Positions spread evenly over `count` frames, first and last included; all if there are not more.

    The rule of the original code: `linspace(0, count - 1, num_frames)` rounded down, never padded.

    Example:
        >>> uniform_indices(20, 8)
        [0, 2, 5, 8, 10, 13, 16, 19]
        >>> uniform_indices(3, 8)
        [0, 1, 2]
    """
    if count <= num_frames:
        return list(range(count))
    return [int(i) for i in np.linspace(0, count - 1, num_frames, dtype=int)]


def _rounded_indices(count: int, num_frames: int) -> list[int]:
    """The same, positions rounded instead of rounded down."""
    if count <= num_frames:
        return list(range(count))
    return [int(i) for i in np.linspace(0, count - 1, num_frames).round()]


@dataclass(frozen=True)
class Sampling:
    """Which frames of a clip to look at.

    A frame counts from its own time until the next one's: the range from `start` to `end` starts with the
    frame that is on screen at `start` and ends with the one on screen at `end`.

    There are two rules. With "clock", `fps` takes the frame on screen at `start`, at `start + 1 / fps`, and
    so on, none twice; more than `num_frames` are thinned out evenly, positions rounded down. With "spread",
    `fps` only says how many: seconds times `fps`, at least `min_frames` and at most `num_frames` and all
    there are, made even; they are spread evenly, positions rounded. A video file's own clock is then its
    average rate. That is what qwen_vl_utils 0.0.14 does to files (`smart_nframes` in `vision_process.py`).

    Attributes:
        num_frames: Frames spread evenly over the range; with `fps`, the maximum that is taken. `None` takes
            all. A clip with fewer is used as it is.
        fps: Frames per second.
        start: Start of the range in seconds; the clip's start by default.
        end: End of the range in seconds; the clip's end by default.
        min_frames: Frames that `fps` takes at least, by the rule "spread".
        rule: "clock" or "spread".

    Raises:
        InputError: A setting is no positive number.

    Example:
        >>> Sampling(None, start=0.6).choose([0.0, 0.5, 1.0, 1.5])
        [1, 2, 3]
        >>> Sampling(fps=1).choose([0.0, 0.5, 1.0, 1.5])
        [0, 2]
        >>> Sampling(6, fps=2, rule="spread").choose([i / 10 for i in range(30)], 3.0)
        [0, 6, 12, 17, 23, 29]
    """

    num_frames: int | None = 8
    fps: float | None = None
    start: float | None = None
    end: float | None = None
    min_frames: int = 1
    rule: SamplingRule = "clock"

    def __post_init__(self) -> None:
        if self.num_frames is not None:
            whole_number("num_frames", self.num_frames)
        whole_number("min_frames", self.min_frames)
        if self.fps is not None and not is_rate(self.fps):
            raise InputError(f"fps is {literal(self.fps)}", fix="Pass frames a second, from 1e-9 to 1e12.")
        for name, value in (("start", self.start), ("end", self.end)):
            if value is not None and not (is_finite(value) and value >= 0):
                raise InputError(f"{name} is {literal(value)}", fix="Pass a time in seconds, at least 0.")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise InputError(
                f"start is {self.start:g} s and end is {self.end:g} s", fix="Let end be after start."
            )

    @property
    def by_clock(self) -> str | None:
        """The first setting for which frames must have times; `None` when they need not."""
        clock = {"fps": self.fps, "start": self.start, "end": self.end}
        return next((name for name, value in clock.items() if value is not None), None)

    def choose(self, times: Sequence[float], duration: float = 0.0) -> list[int]:
        """Positions of the chosen frames.

        Args:
            times: Time of each frame in seconds, increasing, the first being 0.
            duration: Length of the clip in seconds; known, it lets `start` lie within the last frame.

        Returns:
            Increasing positions in `times`.

        Raises:
            InputError: The range holds nothing of the clip.
        """
        last_time = max(times[-1], duration)
        first, last = 0, len(times) - 1
        if self.start is not None:
            if self.start > last_time:
                raise InputError(
                    f"start is {self.start:g} s, and the clip ends at {last_time:g} s", fix="Lower start."
                )
            first = max(0, bisect_right(times, self.start) - 1)
        if self.end is not None:
            last = max(first, bisect_right(times, self.end) - 1)
        chosen = list(range(first, last + 1))
        if self.rule == "spread":
            seconds = last_time * (len(chosen) / len(times))  # exactly last_time where all are in the range
            return [chosen[i] for i in _rounded_indices(len(chosen), self._spread(len(chosen), seconds))]
        if self.fps is not None:
            until = last_time - _ROUNDING if last_time > times[-1] else last_time
            until = until if self.end is None else min(self.end, until)
            chosen = _every(times, chosen, self.fps, start=self.start or 0.0, until=until)
        if self.num_frames is None:
            return chosen
        return [chosen[i] for i in uniform_indices(len(chosen), self.num_frames)]

    def choose_untimed(self, count: int) -> list[int]:
        """Positions of the chosen ones of `count` frames that have no times.

        Raises:
            InputError: A setting asks for times.
        """
        if self.by_clock is not None:
            raise InputError(
                f"{self.by_clock} is given for frames that have no times",
                fix="Pass a video file, say the frame_rate of the frames, or leave it out.",
            )
        spread = _rounded_indices if self.rule == "spread" else uniform_indices
        return spread(count, count if self.num_frames is None else self.num_frames)

    def _spread(self, count: int, seconds: float) -> int:
        """How many of `count` frames, which last so many seconds, the rule "spread" takes."""
        most = count if self.num_frames is None else min(self.num_frames, count)
        if self.fps is None:
            return most
        least = self.min_frames + self.min_frames % 2
        return max(1, int(min(max(seconds * self.fps, least), most)) // 2 * 2)


def _every(times: Sequence[float], chosen: list[int], fps: float, *, start: float, until: float) -> list[int]:
    """The chosen frames that are on screen at start, start + 1 / fps, ..., up to `until`."""
    taken: list[int] = []
    next_tick = 0
    for i in chosen:
        tick = max(next_tick, math.ceil((times[i] - start - _ROUNDING) * fps))
        tick_time = start + tick / fps
        gone = times[i + 1] if i + 1 < len(times) else math.inf
        if tick_time <= until and tick_time < gone:
            taken.append(i)
            next_tick = tick + 1
    return taken or chosen[:1]
