"""Search clips by what happens in them, and find when.

python examples/video_search.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from vlm2vec import Video, VLM2Vec
from vlm2vec.world.samples import write_samples


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    captions = {sample.path: sample.caption for sample in write_samples(folder)}
    clips = [path for path in captions if path.suffix == ".mp4"]

    model = VLM2Vec()
    # A path is a whole clip: eight frames, spread evenly.
    vectors = model.encode_document(clips)

    for path in clips:
        scores = model.similarity(model.encode_query(captions[path]), vectors)[0]
        best = int(scores.argmax())
        print(f"{captions[path]!r}: {clips[best].name} ({scores[best]:.3f})")

    # Parts of one clip, each with a vector of its own: the frames between two moments, in seconds.
    halves = [Video(clips[0], start=0.0, end=1.0), Video(clips[0], start=1.0, end=2.0)]
    scores = model.similarity(model.encode_query(captions[clips[0]]), model.encode_document(halves))[0]
    print(f"first and second half of {clips[0].name}: {scores[0]:.3f}, {scores[1]:.3f}")


if __name__ == "__main__":
    main()
