"""Vectors that are stored under each `VECTORS_VERSION`, by the network or reader that they are of.

`python tests/stored_vectors.py` stores those of numbers that were raised. It refuses to replace others.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from vlm2vec import VLM2Vec
from vlm2vec.vectors_version import VECTORS_VERSION

DATA = Path(__file__).parent / "data"
FILES = DATA / "stored_vectors"
STORED = FILES / "vectors.npz"
NETWORKS = {
    "qwen2_vl": (DATA / "golden" / "tiny_qwen2vl", "vlm2vec-v2"),
    "qwen2_5_vl": (DATA / "golden_qwen2_5_vl" / "tiny_qwen2_5_vl", "nomic-multimodal"),
    "qwen3_vl": (DATA / "golden_qwen3_vl" / "tiny_qwen3vl", "qwen3-vl-embedding"),
}
"""A small random checkpoint of each network."""

PICTURE = np.random.default_rng(7).integers(0, 256, (84, 112, 3), dtype=np.uint8)
CLIP = np.random.default_rng(8).integers(0, 256, (4, 56, 84, 3), dtype=np.uint8)
READERS: dict[str, dict[str, Any]] = {
    "text": {"words": "a large red ring", "file": FILES / "notes.md"},
    "image": {name: FILES / name for name in ("picture.jpg", "turned.png", "palette.gif")},
    "video": {
        "whole": FILES / "clip.mp4",
        "moves": FILES / "moves.gif",
        "span": {"video": FILES / "clip.mp4", "start": 0.3, "end": 1.0},
    },
    "pdf": {
        "first": {"pdf": FILES / "pages.pdf", "page": 1},
        "last": {"pdf": FILES / "pages.pdf", "page": 2},
    },
}
"""Inputs of each reader, for the embedded model."""

# Of a component. Other processors round differently, which the random networks amplify; other versions of
# PDFium draw the edges of letters otherwise.
TOLERANCE = {**dict.fromkeys(VECTORS_VERSION, 2e-5), "pdf": 2e-3}


def vectors() -> dict[str, np.ndarray]:
    """All of them as they are now, `(n, dim)` by `name/version`."""
    found = {}
    for name, (folder, profile) in NETWORKS.items():
        model = VLM2Vec(folder, profile=profile, device="cpu")
        found[name] = model.encode(["a large red ring", PICTURE, CLIP, {"text": "what?", "image": PICTURE}])
    model = VLM2Vec(device="cpu")
    found |= {name: model.encode_document(list(inputs.values())) for name, inputs in READERS.items()}
    return {f"{name}/{VECTORS_VERSION[name]}": rows for name, rows in found.items()}


def store() -> None:
    """Write those that are not stored yet."""
    stored: dict[str, np.ndarray] = {}
    if STORED.is_file():
        with np.load(STORED) as file:
            stored = dict(file)
    now = vectors()
    for name in now.keys() & stored.keys():
        if np.abs(now[name] - stored[name]).max() > TOLERANCE[name.split("/")[0]]:
            sys.exit(f"Vectors of {name} are others now: raise its VECTORS_VERSION first.")
    np.savez_compressed(STORED, **{name: stored.get(name, rows) for name, rows in now.items()})


if __name__ == "__main__":
    store()
