"""Hard negatives: find the documents that the model takes for the right ones, and train against them.

python examples/hard_negatives.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from vlm2vec import VLM2Vec
from vlm2vec.training import Mixture, mine_hard_negatives, write_rows
from vlm2vec.world.captions import full_caption
from vlm2vec.world.scenes import draw_scene, render_scene

MIXTURE = """
sources:
  scenes: {loader: rows, file: scenes.jsonl}
training: {batch_size: 16, max_steps: 6}
"""


def main() -> None:
    folder, rng = Path(tempfile.mkdtemp()), np.random.default_rng(0)
    captions, rows = {}, []
    for number in range(48):
        scene, path = draw_scene(rng), folder / f"{number}.png"
        render_scene(scene).save(path)
        captions[path] = full_caption(scene)
        rows.append({"query": captions[path], "document": path})

    model = VLM2Vec()
    # From all documents of the rows; corpus= names others. What is nearly as similar to the query as its
    # own document may be a right answer that nobody marked: the margin leaves it out.
    mined, report = mine_hard_negatives(model, rows, num_negatives=2, relative_margin=0.05)
    print(report)
    print(f"looked for: {mined[0]['query']}")
    for negative in mined[0]["negatives"]:
        print(f"not to be taken for it: {captions[negative]}")

    # As a file, the rows are a source of a mixture, here and for `vlm2vec fit mixture.yaml`.
    write_rows(mined, folder / "scenes.jsonl")
    (folder / "mixture.yaml").write_text(MIXTURE)
    mixture = Mixture.from_yaml(folder / "mixture.yaml")
    print(mixture.plan())
    print(model.fit(mixture))


if __name__ == "__main__":
    main()
