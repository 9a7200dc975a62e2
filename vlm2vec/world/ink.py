"""From what is drawn to what `encode` takes: pictures, clips, cut-outs and moments, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from vlm2vec.inputs.video import Video
from vlm2vec.media.sampling import uniform_indices
from vlm2vec.world.clips import Clip, render_clip
from vlm2vec.world.pages import Page, render_pages
from vlm2vec.world.scenes import SCENE_SIDE, Scene, render_scene
from vlm2vec.world.shapes import Thing
from vlm2vec.world.video_colours import blur_colours

__all__ = ["CutOut", "Moment", "jittered", "with_ink"]

_LARGE = 448
"""Side of a large picture: the model makes it smaller itself, as it does with files of users."""

_FRAMES = 8
"""Frames that a model looks at."""


@dataclass(frozen=True)
class CutOut:
    """The part of a scene that shows one thing."""

    scene: Scene
    thing: Thing


@dataclass(frozen=True)
class Moment:
    """The part of a clip between two times, from 0 to 1."""

    clip: Clip
    start: float
    end: float


def with_ink(value: Any, rng: np.random.Generator) -> Any:
    """The value with everything drawn in place of what says what to draw.

    Args:
        value: A scene, clip, page, cut-out or moment; or a dict or list that holds some; or a text.
        rng: Chooses sizes, smoothness and small changes of brightness and colour.

    Returns:
        A PIL image for scenes, pages and cut-outs, a `Video` for clips and moments.

    Example:
        >>> from vlm2vec.world import draw_clip
        >>> clip = draw_clip(np.random.default_rng(0))
        >>> with_ink({"video": clip, "text": "What moves?"}, np.random.default_rng(0))
        {'video': Video(...), 'text': 'What moves?'}
    """
    if isinstance(value, Mapping):
        return {name: with_ink(item, rng) for name, item in value.items()}
    if isinstance(value, list):
        return [with_ink(item, rng) for item in value]
    if isinstance(value, Scene):
        return jittered(_scene(value, rng), rng)
    if isinstance(value, CutOut):
        return jittered(_cut_out(value, rng), rng)
    if isinstance(value, Page):
        return jittered(Image.fromarray(render_pages([value])[0]), rng)
    if isinstance(value, Clip):
        value = Moment(value, 0.0, 1.0)
    return Video(_frames(value, rng)) if isinstance(value, Moment) else value


def jittered(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The picture a little brighter or darker, with more or less contrast, a little warmer or colder."""
    contrast, shift = rng.uniform(0.95, 1.05), rng.uniform(-8, 8, size=3)
    levels = (np.arange(256) - 127.5) * contrast + 127.5 + shift[:, None]
    return image.point(levels.round().clip(0, 255).astype(int).ravel().tolist())


def _scene(scene: Scene, rng: np.random.Generator) -> Image.Image:
    if rng.random() < 0.3:
        return render_scene(scene, _LARGE, oversampling=1)
    return render_scene(scene, SCENE_SIDE, oversampling=int(rng.integers(2, 5)))


def _cut_out(part: CutOut, rng: np.random.Generator) -> Image.Image:
    margin = _LARGE * part.thing.diameter * float(rng.uniform(0.05, 0.2))
    left, top, right, bottom = part.thing.box(_LARGE)
    box = (left - margin, top - margin, right + margin, bottom + margin)
    inside = tuple(round(min(max(edge, 0), _LARGE)) for edge in box)
    return render_scene(part.scene, _LARGE, oversampling=1).crop(inside)  # type: ignore[arg-type]  # four


def _frames(moment: Moment, rng: np.random.Generator) -> np.ndarray:
    # Files have more frames than are looked at, so those that are do not lie quite evenly.
    count = _FRAMES if rng.random() < 0.5 else int(rng.integers(2 * _FRAMES, 4 * _FRAMES))
    length = (moment.end - moment.start) / (count - 1)
    times = [moment.start + length * place for place in uniform_indices(count, _FRAMES)]
    frames = render_clip(moment.clip, times=times)
    # All frames as one picture, one above the other: they change alike.
    stack = Image.fromarray(frames.reshape(-1, *frames.shape[2:]))
    frames = np.asarray(jittered(stack, rng)).reshape(frames.shape)
    return blur_colours(frames) if rng.random() < 0.7 else frames
