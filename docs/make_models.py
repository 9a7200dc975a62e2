"""Writes docs/models.md from what the profiles say: `python docs/make_models.py`."""

from __future__ import annotations

from pathlib import Path

from vlm2vec import mmeb, profiles
from vlm2vec.profiles import KnownModel
from vlm2vec.profiles.refused import REFUSALS

PAGE = Path(__file__).with_name("models.md")

NETWORKS = {"qwen2_vl": "Qwen2-VL", "qwen2_5_vl": "Qwen2.5-VL", "qwen3_vl": "Qwen3-VL"}
"""`model_type` -> what its makers call it."""

BEGIN = """\
# Models

The published checkpoints that `VLM2Vec("owner/name")` loads by their name alone: their [profile](profiles.md)
is known. From Python, `vlm2vec.profiles.models()` lists them. This page is written by
`python docs/make_models.py` from what the profiles say.

| model | size | network | profile | dimensions | image | video | documents | all | checked | licence |
|---|---|---|---|---|---|---|---|---|---|---|
"""

BELOW = """
**Dimensions**: 64 to 2048 means that vectors may be cut with `truncate_dim`, as the model was trained for it.

**Scores** are the means of the published scores of MMEB-V2, of each modality and of all 78 tasks:
`vlm2vec.mmeb.published(name)`, {source}. Where a cell is empty, these files have none of the model.

**Checked** says what vectors were compared with, on small random weights of the same network: the
**original**'s own code; **stock** transformers, with prompt, positions and pixels of the original written out
a second time; or **no**: prompt and pixels were read in the original's code, and not checked against the
original. Published weights are in no test: they are gigabytes.

"""

REFUSED = """
## Not loaded

| repository | why | instead |
|---|---|---|
"""


def page() -> str:
    """The page in full."""
    rows = [row(known) for known in profiles.models()]
    source = mmeb.published(mmeb.published_names()[0]).source
    published = {known.profile.name for known in profiles.models()}
    without = sorted(set(profiles.names()) - published - {"vlm2vec-embedded"})
    families = "".join(
        f"`{name}`: {profiles.get(name).summary}, on {NETWORKS[profiles.get(name).network]}; no public "
        f"checkpoint is known. Checked: {profiles.checked(name)}.\n"
        for name in without
    )
    refused = [
        f"| {', '.join(f'`{name}`' for name in refusal.names)} | {refusal.cause} | {refusal.fix} |\n"
        for refusal in REFUSALS
    ]
    return BEGIN + "".join(rows) + BELOW.format(source=source) + families + REFUSED + "".join(refused)


def row(known: KnownModel) -> str:
    """The line of one checkpoint."""
    model, profile = known.model, known.profile
    least = f"{model.min_dimensions} to " if model.min_dimensions else ""
    scores = [""] * 4
    if model.scores:
        means = mmeb.summarize(mmeb.published(model.scores).scores)
        scores = [f"{means[name]:.1f}" for name in ("image", "video", "visdoc", "overall")]
    cells = [
        f"[{model.repository}](https://huggingface.co/{model.repository})",
        *(model.parameters, NETWORKS[profile.network], f"`{profile.name}`", f"{least}{model.dimensions}"),
        *(*scores, known.checked, model.licence),
    ]
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
