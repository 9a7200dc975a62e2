"""Files that the tests of the index write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image


def write_picture(path: Path, seed: int = 0) -> Path:
    """A small picture of coloured squares, another for each seed."""
    squares = np.random.default_rng(seed).integers(0, 256, (2, 2, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.kron(squares, np.ones((28, 28, 1), np.uint8))).save(path)
    return path
