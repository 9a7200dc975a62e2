"""Search images by text, and by another image.

python examples/text_image_search.py                 # on images drawn for it
python examples/text_image_search.py my/photos "a dog on a beach"
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from vlm2vec import VLM2Vec
from vlm2vec.world.samples import write_samples

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def main(folder: Path | None = None, query: str | None = None) -> None:
    if folder is None:
        folder = Path(tempfile.mkdtemp())
        write_samples(folder)
    images = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)

    model = VLM2Vec()  # or VLM2Vec("VLM2Vec/VLM2Vec-V2.0"), see load_published_checkpoint.py
    # A broken file is told and has a row of NaN, which is left out; the others are not affected.
    vectors = model.encode_document(images, on_error=lambda index, error: print(f"left out: {error}"))
    good = ~np.isnan(vectors).any(axis=1)
    images, vectors = [images[place] for place in np.flatnonzero(good)], vectors[good]
    if len(images) < 2:
        sys.exit(f"{folder} holds fewer than two images that can be read")

    for text in [query] if query else ["a large blue diamond in the top right", "a pink circle"]:
        scores = model.similarity(model.encode_query(text), vectors)[0]
        best = int(scores.argmax())
        print(f"{text!r}: {images[best].name} ({scores[best]:.3f})")

    # The same vectors answer "what looks like this one?": an image is as good a query as a text.
    scores = model.similarity(vectors[0], vectors)[0]
    nearest = int(scores.argsort(descending=True)[1])
    print(f"most like {images[0].name}: {images[nearest].name} ({scores[nearest]:.3f})")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if len(arguments) not in (0, 1, 2) or not all(Path(folder).is_dir() for folder in arguments[:1]):
        print("usage: text_image_search.py [FOLDER [QUERY]]", file=sys.stderr)
        sys.exit(2)
    main(*(kind(word) for kind, word in zip((Path, str), arguments, strict=False)))
