"""Grounding: a scene and the name of one of its things; what shows that thing is the document."""

from __future__ import annotations

from typing import Any

import numpy as np

from vlm2vec.world.ink import CutOut
from vlm2vec.world.items import any_scene
from vlm2vec.world.scenes import Scene

__all__ = ["FIND_PART", "find_part", "referable"]

FIND_PART = "Find the part of the picture that the text names."

_MAX_NEGATIVES = 2


def referable(scene: Scene) -> list[CutOut]:
    """The things of a scene that a noun names without doubt."""
    return [CutOut(scene, group[0]) for group in scene.groups if len(group) == 1]


def find_part(rng: np.random.Generator) -> dict[str, Any]:
    """A scene with the name of a thing in it, and the thing cut out; others are hard negatives."""
    parts: list[CutOut] = []
    while not parts or len(parts[0].scene.groups) < 2:
        parts = referable(any_scene(rng))
    target = int(rng.integers(len(parts)))
    scene, thing = parts[target].scene, parts[target].thing
    names = [thing.noun, thing.noun, f"{thing.size} {thing.noun}"]
    if sum(group[0].shape == thing.shape for group in scene.groups) == 1:
        names.append(thing.shape)
    others = [CutOut(scene, group[0]) for group in scene.groups if group[0] is not thing]
    return {
        "query": {"image": scene, "text": f"the {names[rng.integers(len(names))]}"},
        "document": parts[target],
        "negatives": [others[index] for index in rng.permutation(len(others))[:_MAX_NEGATIVES]],
        "query_instruction": FIND_PART,
    }
