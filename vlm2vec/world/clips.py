"""Moving pictures: one shape moves, another may stand by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from vlm2vec.world.scenes import Scene, is_apart, random_paper, random_thing, render_scene
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
        mover: The moving shape, where it is halfway through.
        direction: Where it moves, one of `DIRECTIONS`.
        travel: How far it moves, as a fraction of the picture's side.
        bystander: A second shape that stays where it is.
        paper: Background as RGB in 0..255.
    """

    mover: Thing
    direction: str
    travel: float
    bystander: Thing | None
    paper: tuple[int, int, int]

    def at(self, time: float) -> Scene:
        """The scene at a time between 0 (first frame) and 1 (last frame); the mover comes first."""
        dx, dy = DIRECTIONS[self.direction]
        step = (time - 0.5) * self.travel
        mover = replace(self.mover, x=self.mover.x + dx * step, y=self.mover.y + dy * step)
        return Scene((mover,) if self.bystander is None else (mover, self.bystander), self.paper)


def draw_clip(rng: np.random.Generator) -> Clip:
    """A random clip; every second one has a bystander.

    Example:
        >>> draw_clip(np.random.default_rng(1)) == draw_clip(np.random.default_rng(1))
        True
    """
    direction = tuple(DIRECTIONS)[rng.integers(len(DIRECTIONS))]
    travel = float(rng.uniform(0.4, 0.55))
    mover = _centred(random_thing(rng), direction, travel)
    bystander = None
    if rng.random() < 0.5:
        # A narrow lane next to the path may not exist for two large shapes, so the tries are counted.
        for _ in range(20):
            other = random_thing(rng)
            path = [
                Clip(mover, direction, travel, None, (0, 0, 0)).at(t).things[0]
                for t in (0, 0.25, 0.5, 0.75, 1)
            ]
            if all(is_apart(place, other) for place in path):
                bystander = other
                break
    return Clip(mover, direction, travel, bystander, random_paper(rng))


def _centred(thing: Thing, direction: str, travel: float) -> Thing:
    """The thing moved so that its whole path lies inside the picture."""
    dx, dy = DIRECTIONS[direction]
    low = thing.diameter / 2 + 0.02
    room_x, room_y = low + abs(dx) * travel / 2, low + abs(dy) * travel / 2
    return replace(thing, x=min(max(thing.x, room_x), 1 - room_x), y=min(max(thing.y, room_y), 1 - room_y))


def reverse(clip: Clip) -> Clip:
    """The same clip moving the other way."""
    return replace(clip, direction=_OPPOSITE[clip.direction])


def render_clip(clip: Clip, side: int = CLIP_SIDE, *, frames: int = 8) -> np.ndarray:
    """The frames of a clip.

    Returns:
        `(frames, side, side, 3)` uint8, RGB.
    """
    times = np.linspace(0, 1, frames)
    return np.stack([np.asarray(render_scene(clip.at(float(time)), side)) for time in times])


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
