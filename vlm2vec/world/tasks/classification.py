"""Classification: what is asked of a picture or clip is in the instruction, the label is the document."""

from __future__ import annotations

from typing import Any

import numpy as np

from vlm2vec.world.captions import motion_text
from vlm2vec.world.clips import Clip
from vlm2vec.world.items import any_clip
from vlm2vec.world.scenes import Pairs, Scene, draw_scene, random_paper, random_thing
from vlm2vec.world.twins import twin
from vlm2vec.world.vocabulary import COUNTS

__all__ = ["INSTRUCTIONS", "classify_clip", "classify_image", "draw_labelled_scene", "labels"]

INSTRUCTIONS = {
    "colour": ("Name the colour.", "What colour is it?"),
    "shape": ("Name the shape.", "What shape is it?"),
    "size": ("Name the size.", "Is it small or large?"),
    "count": ("Say how many there are.", "How many are there?"),
    "motion": ("Say where it moves.", "Where does it move?"),
}
"""Wordings of what can be asked of a picture or clip."""


def labels(item: Scene | Clip) -> dict[str, str]:
    """The right answer to each question that makes sense for a scene of one kind of thing, or for a clip.

    Example:
        >>> labels(draw_labelled_scene(np.random.default_rng(0)))
        {'colour': ..., 'shape': ..., 'size': ..., 'count': ...}
    """
    thing = item.mover if isinstance(item, Clip) else item.things[0]
    answers = {"colour": thing.colour, "shape": thing.shape, "size": thing.size}
    if isinstance(item, Clip):
        return answers | {"motion": motion_text(item.motions)}
    return answers | {"count": COUNTS[len(item.things) - 1]}


def draw_labelled_scene(rng: np.random.Generator, *, pairs: Pairs = "seen") -> Scene:
    """A scene of one thing, or of several that are alike."""
    if rng.random() < 0.6:
        return Scene((random_thing(rng, pairs),), random_paper(rng))
    while True:
        scene = draw_scene(rng, pairs=pairs, counted=True)
        if len(scene.groups) == 1:
            return scene


def classify_image(rng: np.random.Generator) -> dict[str, Any]:
    """A scene of one kind of thing; its other labels are hard negatives."""
    return _row(draw_labelled_scene(rng), rng)


def classify_clip(rng: np.random.Generator) -> dict[str, Any]:
    """A clip, of whose mover is asked; its other labels, or other motions, are hard negatives."""
    clip = any_clip(rng)
    return _row(clip, rng, motion_text(twin(clip, rng).motions))


def _row(item: Scene | Clip, rng: np.random.Generator, *wrong: str) -> dict[str, Any]:
    answers = labels(item)
    asked = tuple(answers)[rng.integers(len(answers))]
    wordings = INSTRUCTIONS[asked]
    return {
        "query": item,
        "document": answers[asked],
        "negatives": [*(answer for name, answer in answers.items() if name != asked), *wrong],
        "query_instruction": wordings[rng.integers(len(wordings))],
    }
