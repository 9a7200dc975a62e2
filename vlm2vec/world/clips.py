"""Moving pictures: one shape moves, another may stand by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np

from vlm2vec.world.scenes import Pairs, Scene, is_apart, random_paper, random_thing, render_scene
from vlm2vec.world.shapes import Thing
from vlm2vec.world.vocabulary import DIRECTIONS

__all__ = ["Clip", "draw_clip", "reverse", "render_clip", "write_clip"]

CLIP_SIDE = 84
"""Side of a clip at the embedded model's size, in pixels."""

_FRAMES_PER_SECOND = 8
_OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up"}


@dataclass(frozen=True)
class Clip:
    """What a clip shows.

    Attributes:
        mover: The moving shape, in the middle of the box that its path spans.
        motions: Where it moves, one after the other, each one of `DIRECTIONS` and as long as the others.
        travel: How far it moves in each motion, as a fraction of the picture's side.
        bystander: A second shape that stays where it is.
        paper: Background as RGB in 0..255.
    """

    mover: Thing
    motions: tuple[str, ...]
    travel: float
    bystander: Thing | None
    paper: tuple[int, int, int]

    def motion_at(self, time: float) -> str:
        """Where the mover moves at a time between 0 (first frame) and 1 (last frame)."""
        return self.motions[min(int(time * len(self.motions)), len(self.motions) - 1)]

    def at(self, time: float) -> Scene:
        """The scene at a time between 0 (first frame) and 1 (last frame); the mover comes first."""
        passed = time * len(self.motions)
        leg = min(int(passed), len(self.motions) - 1)
        (x, y), (dx, dy) = _corners(self.motions)[leg], DIRECTIONS[self.motions[leg]]
        x, y = x + dx * (passed - leg), y + dy * (passed - leg)
        mover = replace(self.mover, x=self.mover.x + x * self.travel, y=self.mover.y + y * self.travel)
        return Scene((mover,) if self.bystander is None else (mover, self.bystander), self.paper)


def draw_clip(rng: np.random.Generator, *, motions: int = 1, pairs: Pairs = "any") -> Clip:
    """A random clip; every second one has a bystander.

    Args:
        rng: Decides everything.
        motions: How many motions, each in another direction than the one before.
        pairs: Which pairs of colour and shape may be in it.

    Example:
        >>> draw_clip(np.random.default_rng(1)) == draw_clip(np.random.default_rng(1))
        True
        >>> draw_clip(np.random.default_rng(1), motions=2).motions
        ('right', 'up')
    """
    path = [tuple(DIRECTIONS)[rng.integers(len(DIRECTIONS))]]
    while len(path) < motions:
        others = [direction for direction in DIRECTIONS if direction != path[-1]]
        path.append(others[rng.integers(len(others))])
    travel = float(rng.uniform(0.4, 0.55))
    thing = random_thing(rng, pairs)
    reach_x, reach_y = (max(places) for places in zip(*_corners(tuple(path)), strict=True))
    if motions > 1:
        travel = min(0.8 * travel, (0.48 - thing.diameter / 2) / max(reach_x, reach_y))
    mover = _inside(thing, reach_x * travel, reach_y * travel)
    clip = Clip(mover, tuple(path), travel, None, (0, 0, 0))
    if rng.random() < 0.5:
        # A narrow lane next to the path may not exist for two large shapes, so the tries are counted.
        for _ in range(20):
            accompanied = replace(clip, bystander=random_thing(rng, pairs))
            if is_clear(accompanied):
                clip = accompanied
                break
    return replace(clip, paper=random_paper(rng))


def is_clear(clip: Clip) -> bool:
    """Whether the mover keeps clear of the bystander all along, and differs from it in colour or shape."""
    if clip.bystander is None:
        return True
    times = np.linspace(0, 1, 4 * len(clip.motions) + 1).tolist()
    return all(is_apart(*clip.at(time).things) for time in times)


@cache
def _corners(motions: tuple[str, ...]) -> tuple[tuple[float, float], ...]:
    """Where the path begins, turns and ends, in motions from the middle of the box that it spans."""
    corners = np.cumsum([(0, 0), *(DIRECTIONS[motion] for motion in motions)], axis=0)
    centred = corners - (corners.min(axis=0) + corners.max(axis=0)) / 2
    return tuple((x, y) for x, y in centred.tolist())


def _inside(thing: Thing, reach_x: float, reach_y: float) -> Thing:
    """The thing moved so far into the picture that it can go that far to all sides."""
    low = thing.diameter / 2 + 0.02
    room_x, room_y = low + reach_x, low + reach_y
    return replace(thing, x=min(max(thing.x, room_x), 1 - room_x), y=min(max(thing.y, room_y), 1 - room_y))


def reverse(clip: Clip) -> Clip:
    """The same clip played backwards."""
    return replace(clip, motions=tuple(_OPPOSITE[motion] for motion in reversed(clip.motions)))


def render_clip(
    clip: Clip, side: int = CLIP_SIDE, *, frames: int = 8, times: Sequence[float] | None = None
) -> np.ndarray:
    """The frames of a clip.

    Args:
        clip: What to show.
        side: Width and height, in pixels.
        frames: How many frames, spread evenly over the clip.
        times: The times of the frames instead, from 0 (the beginning) to 1 (the end).

    Returns:
        `(frames, side, side, 3)` uint8, RGB.
    """
    times = np.linspace(0, 1, frames).tolist() if times is None else times
    return np.stack([np.asarray(render_scene(clip.at(time), side)) for time in times])


def write_clip(clip: Clip, path: Path, side: int = CLIP_SIDE, *, frames: int = 16) -> None:
    """Write a clip as MP4 with H.264, 4:2:0, at eight frames a second.

    Args:
        clip: What to show.
        path: The file to write; its name ends in `.mp4`.
        side: Width and height, in pixels, even.
        frames: How many frames.
    """
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream(
            "libx264", rate=_FRAMES_PER_SECOND, options={"crf": "14", "threads": "1"}
        )
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, _FRAMES_PER_SECOND)
        for picture in render_clip(clip, side, frames=frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
