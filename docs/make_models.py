"""Writes docs/models.md from what the profiles say: `python docs/make_models.py`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vlm2vec import mmeb, profiles
from vlm2vec.backbones.registry import LAYOUTS
from vlm2vec.backbones.stock.layout import StockLayout
from vlm2vec.mmeb.published.reported import SOURCE, reported_names
from vlm2vec.profiles import KnownModel
from vlm2vec.profiles.refused import REFUSALS

PAGE = Path(__file__).with_name("models.md")

NETWORKS = {layout.model_type: layout.label for layout in LAYOUTS.values()}
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

**Scores** are published means of MMEB-V2, of each modality and of all 78 tasks, which
`vlm2vec.mmeb.published_means(name)` has.
They are of the {scores}.
Those with a star are averages without scores of single tasks, of the {averages}.
Where a cell is empty, neither has the model. IFM-TTE and Seed have averages too, and no public weights.

**Checked** says what vectors were compared with, on small random weights of the same network: the
**original**'s own code; **stock** transformers, with prompt, positions and pixels of the original written out
a second time; or **no**: prompt and pixels were read in the original's code, and not checked against the
original. Published weights are in no test: they are gigabytes.

"""

STOCK = """
## Networks without a packed forward

{stock} run transformers' own forward, one input at a time: vectors
are as exact, a picture costs what it costs anyway, and short texts cost more. `fit` trains {learners},
and refuses the others.

What a picture of VLM2Vec-V1 on LLaVA-NeXT costs at the shape of its 7B, estimated and not measured:
1344 x 1344 pixels are five tiles of 577 tokens in CLIP-L (24 layers of 1,024), and {tokens:,} tokens in
Mistral-7B (32 layers of 4,096, 8 of 32 heads for keys and values, 14,336 in the MLP), in bfloat16.

| | arithmetic | stock | packed |
|---|---|---|---|
{rows}
So a packed forward would save {saved:.0%} of a picture's time and {less:.2f} GB beside {weights:.0f} GB of
weights, and nearly all of the time of a short text. Texts of one length are computed together here,
which gives some of that back.
"""

REFUSED = """
## Not loaded

| repository | why | instead |
|---|---|---|
"""


def page() -> str:
    """The page in full."""
    rows = [row(known) for known in profiles.models()]
    scores = mmeb.published(mmeb.published_names()[0]).source
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
    return (
        BEGIN
        + "".join(rows)
        + BELOW.format(scores=scores, averages=SOURCE)
        + families
        + stock()
        + REFUSED
        + "".join(refused)
    )


def stock() -> str:
    """What networks without a packed forward cost, by arithmetic alone."""
    tokens, tiles, across, layers = 2928, 5, 577, 32
    hidden, heads_of_keys, middle, vocabulary = 4096, 1024, 14_336, 32_064
    layer = 2 * hidden**2 + 2 * hidden * heads_of_keys + 3 * hidden * middle
    last = hidden**2 * 2 + 3 * hidden * middle  # what of a layer one token needs, but for keys and values
    clip = 24 * 12 * 1024**2
    parameters = layers * layer + vocabulary * hidden + clip + hidden * 1024 + hidden**2
    attention = 2 * tokens**2 * hidden  # of a layer; half of all pairs, for attention is causal
    language = 2 * tokens * layers * layer + layers * attention
    packed = language - 2 * (tokens - 1) * last - attention
    tower = 2 * tiles * across * clip + 4 * tiles * across**2 * 24 * 1024
    beside_mlp = 5 * hidden + 2 * heads_of_keys
    wide = 2 * tokens * (beside_mlp + 3 * middle)
    wide_packed = 2 * (tokens * beside_mlp + 256 * 3 * middle)
    networks = [layout for layout in LAYOUTS.values() if isinstance(layout, StockLayout)]
    rate, bandwidth, texts = 400e12, 4.8e12, 340
    weights, text = 2 * parameters, 2 * parameters / bandwidth
    rows = (
        ("weights", f"2 bytes x {parameters / 1e9:.2f} billion", _gigabytes(weights), _gigabytes(weights)),
        (
            "widest of the language model",
            "2 bytes x tokens x (5 x 4,096 + 2 x 1,024 + 3 x 14,336); packed, the MLP has 256 tokens at a "
            "time",
            _gigabytes(wide),
            _gigabytes(wide_packed),
        ),
        (
            "products of the tower",
            "2 x 2,885 x 24 x 12 x 1,024² + 4 x 5 x 577² x 24 x 1,024",
            *[f"{tower / 1e12:.1f} TFLOP"] * 2,
        ),
        (
            "products of the language model",
            f"2 x tokens x 32 x {layer / 1e6:.0f} million + 2 x tokens² x 32 x 4,096; packed, all of the "
            "last layer but keys and values is for one token",
            f"{language / 1e12:.1f} TFLOP",
            f"{packed / 1e12:.1f} TFLOP",
        ),
        (
            "time at 400 TFLOP/s",
            "all products over 400",
            *(f"{(tower + each) / rate * 1e3:.0f} ms" for each in (language, packed)),
        ),
        (
            "one text of 12 tokens",
            f"the weights read once, at 4.8 TB/s; packed, once for the {texts} texts that make 4,096 tokens, "
            "and their products",
            f"{text * 1e3:.1f} ms",
            f"{(text + 2 * 4096 * layers * layer / rate) / texts * 1e3:.1f} ms",
        ),
    )
    return STOCK.format(
        stock=_listed(layout.label for layout in networks),
        learners=_listed(layout.label for layout in networks if layout.learns),
        tokens=tokens,
        rows="".join(f"| {' | '.join(cells)} |\n" for cells in rows),
        saved=1 - (tower + packed) / (tower + language),
        less=(wide - wide_packed) / 1e9,
        weights=weights / 1e9,
    )


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.2f} GB"


def _listed(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def row(known: KnownModel) -> str:
    """The line of one checkpoint."""
    model, profile = known.model, known.profile
    least = f"{model.min_dimensions} to " if model.min_dimensions else ""
    scores = [""] * 4
    if model.scores:
        means = mmeb.published_means(model.scores).means
        star = r"\*" if model.scores in reported_names() else ""
        scores = [f"{means[name]:.1f}{star}" for name in ("image", "video", "visdoc", "overall")]
    cells = [
        f"[{model.repository}](https://huggingface.co/{model.repository})",
        *(model.parameters, NETWORKS[profile.network], f"`{profile.name}`", f"{least}{model.dimensions}"),
        *(*scores, known.checked, model.licence),
    ]
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
