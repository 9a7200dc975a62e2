"""Moments: a clip of several motions and the name of one; the part with that motion is the document."""

from __future__ import annotations

from typing import Any

import numpy as np

from vlm2vec.world.clips import Clip, draw_clip
from vlm2vec.world.ink import Moment

__all__ = ["FIND_MOMENT", "find_moment", "moments"]

FIND_MOMENT = "Find the part of the clip that the text tells of."

_WORDINGS = ("the {noun} moves {motion}", "it moves {motion}", "{noun} moving {motion}", "moving {motion}")


def moments(clip: Clip) -> list[Moment]:
    """The part of each motion."""
    count = len(clip.motions)
    return [Moment(clip, place / count, (place + 1) / count) for place in range(count)]


def find_moment(rng: np.random.Generator) -> dict[str, Any]:
    """A clip with the name of a motion that it has once; another part is a hard negative."""
    once: list[int] = []
    while not once:
        clip = draw_clip(rng, motions=int(rng.integers(2, 4)), pairs="seen")
        once = [place for place, motion in enumerate(clip.motions) if clip.motions.count(motion) == 1]
    parts, place = moments(clip), once[rng.integers(len(once))]
    wording = _WORDINGS[rng.integers(len(_WORDINGS))]
    others = [part for number, part in enumerate(parts) if number != place]
    return {
        "query": {"video": clip, "text": wording.format(noun=clip.mover.noun, motion=clip.motions[place])},
        "document": parts[place],
        "negatives": [others[rng.integers(len(others))]],
        "query_instruction": FIND_MOMENT,
    }
