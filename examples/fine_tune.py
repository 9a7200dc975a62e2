"""Fine-tune on your own pairs: made-up words for drawn shapes, scored before and after.

python examples/fine_tune.py            # writes the trained model to the folder words-model
"""

from __future__ import annotations

import numpy as np

from vlm2vec import VLM2Vec
from vlm2vec.training import row_evaluator
from vlm2vec.world.scenes import Scene, random_paper, random_thing, render_scene

WORDS = {
    **{"circle": "flim", "square": "blat", "triangle": "quop", "star": "zarn"},
    **{"cross": "drib", "ring": "vosk", "heart": "glem", "diamond": "trup"},
}


def draw_rows(count: int, rng: np.random.Generator) -> list[dict]:
    """A row is a query and the document it should find; each is anything that `encode` takes."""
    rows = []
    for _ in range(count):
        thing = random_thing(rng)
        picture = render_scene(Scene((thing,), random_paper(rng)))
        rows.append({"query": f"a {thing.colour} {WORDS[thing.shape]}", "document": picture})
    return rows


def main() -> None:
    rng = np.random.default_rng(0)
    rows, held_out = draw_rows(240, rng), draw_rows(60, rng)

    model = VLM2Vec()
    score = row_evaluator(held_out)  # does each query find its picture first, among all of them?
    before = score(model)["cosine_accuracy@1"]
    # It sees shapes already: with its eyes frozen, it learns the words in less time.
    result = model.fit(rows, batch_size=40, max_steps=40, freeze_vision=True)
    after = score(model)["cosine_accuracy@1"]

    print(result)
    print(f"right picture first: {before:.0%} before, {after:.0%} after")

    model.save_pretrained("words-model")
    again = VLM2Vec("words-model")
    print(f"saved and loaded: {score(again)['cosine_accuracy@1']:.0%}")


if __name__ == "__main__":
    main()
