"""Which frames of a clip, or pages of a document, are looked at."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from vlm2vec.errors import InputError

__all__ = ["check_sampling", "choose_frames", "uniform_indices"]

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


def choose_frames(
    times: Sequence[float],
    *,
    num_frames: int | None = 8,
    fps: float | None = None,
    start: float | None = None,
    end: float | None = None,
    duration: float | None = None,
) -> list[int]:
    """Positions of the frames to look at.

    A frame counts from its own time until the next one's: the range from `start` to `end` begins with the
    frame that is on screen at `start` and ends with the one on screen at `end`.

    Args:
        times: Time of each frame in seconds, increasing, the first being 0.
        num_frames: Frames spread evenly over the range; with `fps`, the most that are taken. `None` takes
            all.
        fps: Frames at `start`, `start + 1 / fps`, and so on; none is taken twice.
        start: Begin of the range in seconds; the clip's begin by default.
        end: End of the range in seconds; the clip's end by default.
        duration: Length of the clip in seconds; known, it lets `start` lie within the last frame.

    Returns:
        Increasing positions in `times`.

    Raises:
        InputError: A setting is no positive number, or the range holds nothing of the clip.

    Example:
        >>> choose_frames([0.0, 0.5, 1.0, 1.5], start=0.6, num_frames=None)
        [1, 2, 3]
        >>> choose_frames([0.0, 0.5, 1.0, 1.5], fps=1)
        [0, 2]
    """
    check_sampling(num_frames=num_frames, fps=fps, start=start, end=end)
    last_time = max(times[-1], duration or 0.0)
    first, last = 0, len(times) - 1
    if start is not None:
        if start > last_time:
            raise InputError(
                f"start is {start:g} s, and the clip ends at {last_time:g} s", fix="Lower start."
            )
        first = max(0, bisect_right(times, start) - 1)
    if end is not None:
        last = max(first, bisect_right(times, end) - 1)
    chosen = list(range(first, last + 1))
    if fps is not None:
        until = last_time - _ROUNDING if last_time > times[-1] else last_time
        chosen = _every(
            times, chosen, fps, begin=start or 0.0, until=until if end is None else min(end, until)
        )
    return chosen if num_frames is None else [chosen[i] for i in uniform_indices(len(chosen), num_frames)]


def check_sampling(
    *, num_frames: int | None, fps: float | None, start: float | None, end: float | None
) -> None:
    """Raises InputError unless the settings make sense without knowing the clip."""
    if num_frames is not None and (isinstance(num_frames, bool) or not isinstance(num_frames, int)):
        raise InputError(f"num_frames is {num_frames!r}", fix="Pass a whole number.")
    if num_frames is not None and num_frames < 1:
        raise InputError(f"num_frames is {num_frames}", fix="Pass at least 1.")
    if fps is not None and not (_is_number(fps) and fps > 0):
        raise InputError(f"fps is {fps!r}", fix="Pass a positive number.")
    for name, value in (("start", start), ("end", end)):
        if value is not None and not (_is_number(value) and value >= 0):
            raise InputError(f"{name} is {value!r}", fix="Pass a time in seconds, at least 0.")
    if start is not None and end is not None and end <= start:
        raise InputError(f"start is {start:g} s and end is {end:g} s", fix="Let end be after start.")


def _every(times: Sequence[float], chosen: list[int], fps: float, *, begin: float, until: float) -> list[int]:
    """The chosen frames that are on screen at begin, begin + 1 / fps, ..., up to `until`."""
    taken: list[int] = []
    next_tick = 0
    for i in chosen:
        tick = max(next_tick, math.ceil((times[i] - begin - _ROUNDING) * fps))
        tick_time = begin + tick / fps
        gone = times[i + 1] if i + 1 < len(times) else math.inf
        if tick_time <= until and tick_time < gone:
            taken.append(i)
            next_tick = tick + 1
    return taken or chosen[:1]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
