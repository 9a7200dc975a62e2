"""Teach the embedded model 1,367 emoji as three vendors draw them, and ask for them as a fourth draws them.

    PYTHONPATH=examples python -m teach_emoji --output emoji-model

It takes 20 minutes on two cores, npm to bring the drawings, and `pip install resvg-py matplotlib`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from embedded_model.training import first_hits
from teach_emoji.drawings import HELD_OUT, TRAINED, read_concepts
from teach_emoji.measure import asked_for, scores, scores_table
from teach_emoji.pictures import contact_sheet
from teach_emoji.rows import VariedRows, plain_rows
from teach_emoji.settings import SETTINGS
from vlm2vec import VLM2Vec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--packages", type=Path, default=Path("emoji-packages"), help="of drawings")
    parser.add_argument("--steps", type=int, default=SETTINGS["max_steps"])
    options = parser.parse_args()

    concepts = read_concepts(options.packages)
    asked = asked_for(concepts)
    model = VLM2Vec()
    before = scores(model, asked)
    result = model.fit(
        VariedRows(concepts),
        eval={vendor: plain_rows(asked, vendor) for vendor in (TRAINED[0], HELD_OUT)},
        output_dir=options.output,
        resume=True,  # where an earlier run was stopped
        **{**SETTINGS, "max_steps": options.steps},
    )
    result = first_hits(result)
    print(result)
    print(scores_table(before, scores(model, asked), len(asked)))
    for vendor in (TRAINED[0], HELD_OUT):
        contact_sheet(model, asked, vendor).save(options.output / f"{vendor}.png")
    result.plot(options.output / "curve.svg")


if __name__ == "__main__":
    main()
