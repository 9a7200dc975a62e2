"""MMEB-V2 with a model of your own: anything that turns samples into vectors.

A `SentenceTransformer` is passed as it is: `mmeb.evaluate(SentenceTransformer("..."), tasks="image", ...)`.
Here it is a function, of colours alone: words for texts, pixels for pictures.

python examples/evaluate_any_model.py
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from vlm2vec import mmeb
from vlm2vec.mmeb.samples import Content
from vlm2vec.world.vocabulary import COLOURS


def colours(contents: Sequence[Content], role: str) -> np.ndarray:
    """How much of each colour a text names, or a picture shows."""
    return np.stack([of_text(one.text) if one.image is None else of_image(one.image) for one in contents])


def of_text(text: str) -> np.ndarray:
    return np.array([float(colour in text) for colour in COLOURS])


def of_image(path: object) -> np.ndarray:
    pixels = np.asarray(Image.open(path).convert("RGB").resize((56, 56)), dtype=float).reshape(-1, 1, 3)
    distance = np.linalg.norm(pixels - np.array(list(COLOURS.values())), axis=2)
    nearest = distance.argmin(axis=1)[distance.min(axis=1) < 60]  # paper is near none of them
    return np.sqrt(np.bincount(nearest, minlength=len(COLOURS)))


def main() -> None:
    # A function needs a name: what is kept is kept under it.
    results = mmeb.evaluate(colours, tasks=["mini-I-RET", "mini-I-VG"], name="colours")
    print(results)


if __name__ == "__main__":
    main()
