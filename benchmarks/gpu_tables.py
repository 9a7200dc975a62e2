"""Writes the tables of docs/gpu.md from what meta_forward.py and meta_training.py counted.

python benchmarks/gpu_tables.py [--check]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from meta_forward import PUBLISHED

from vlm2vec.backbones.registry import LAYOUTS

ROOT = Path(__file__).resolve().parent.parent
PAGE, RESULTS = ROOT / "docs" / "gpu.md", ROOT / "benchmarks" / "results"
FORWARD, TRAINING = RESULTS / "meta-forward.json", RESULTS / "meta-training.json"
CARDS = {"16 GB": 16, "24 GB": 24, "40 GB": 40, "80 GB": 80, "141 GB": 141}
"""Memory of cards as their makers say it, in units of 10^9 bytes."""

USABLE, FIXED = 0.9, 1.0
"""Share of a card that is planned with, and GB of it that CUDA and its libraries take."""

_SHARE = 0.7  # of what is free, that `fit` plans a chunk with
_CHUNKS = 1024, 16_384  # tokens of a chunk by default, at least and at most
_SIDE = 768  # of a picture
_ROUNDED = 1024  # tokens of a batch are a multiple of it


def per_token(model: dict[str, Any], tokens: int) -> tuple[float, float]:
    """Bytes at the peak for each token of texts, and for each patch of pictures."""
    return tuple(model[what]["peak_gb"] * 1e9 / tokens for what in ("texts", "pictures"))  # type: ignore[return-value]


def batch(model: dict[str, Any], tokens: int, card: float) -> int:
    """Tokens and patches of the largest batch that should fit a card beside the weights; 0 for none."""
    free = (card * USABLE - FIXED - model["weights_gb"]) * 1e9
    return max(0, int(free / max(per_token(model, tokens)))) // _ROUNDED * _ROUNDED


def picture(name: str) -> tuple[int, int]:
    """Tokens and patches of a square picture."""
    layout = LAYOUTS[PUBLISHED[name][0]]
    side = round(_SIDE / (layout.patch_size * layout.merge_size))
    return side**2, (side * layout.merge_size) ** 2


def memory_table(counted: dict[str, Any]) -> str:
    """Of each model its weights, what a token and a patch take, and a batch of the default size."""
    lines = [
        f"| model | weights | a token of text | a patch | a picture of {_SIDE} x {_SIDE} "
        f"| a batch of {counted['tokens']:,} |",
        "|---|---|---|---|---|---|",
    ]
    for name, model in counted["models"].items():
        token, patch = per_token(model, counted["tokens"])
        tokens, patches = picture(name)
        one = max(token * tokens, patch * patches)
        lines.append(
            f"| {name} | {model['weights_gb']:.1f} GB | {token / 1e3:.0f} kB | {patch / 1e3:.0f} kB "
            f"| {tokens:,} tokens, {patches:,} patches: {one / 1e6:.0f} MB "
            f"| {max(token, patch) * counted['tokens'] / 1e9:.1f} GB |"
        )
    return "\n".join(lines) + "\n"


def cards_table(counted: dict[str, Any]) -> str:
    """Of each model the largest batch by card."""
    lines = [f"| model | {' | '.join(CARDS)} |", f"|---|{'---|' * len(CARDS)}"]
    for name, model in counted["models"].items():
        sizes = (batch(model, counted["tokens"], card) for card in CARDS.values())
        lines.append(f"| {name} | {' | '.join(f'{size:,}' if size else 'no' for size in sizes)} |")
    return "\n".join(lines) + "\n"


def chunk(per_token: float, weights_gb: float, card: float) -> int:
    """Tokens of a training chunk by default on a card, as `fit` chooses them; 0 if the least are too many."""
    free = (card * USABLE - FIXED - weights_gb) * 1e9
    least, tokens = _CHUNKS
    while tokens >= least and tokens * per_token > _SHARE * free:
        tokens //= 2
    return tokens if tokens >= least else 0


def training_table(counted: dict[str, Any], trained: dict[str, Any]) -> str:
    """Of each model what a chunk takes with the default adapter, and its tokens by card."""
    lines = [
        f"| model | a chunk of 4,096 tokens | checkpointed | {' | '.join(CARDS)} |",
        f"|---|---|---|{'---|' * len(CARDS)}",
    ]
    for name, ways in trained["models"].items():
        taken = [ways[way]["tokens"]["4096"] for way in ("adapter", "adapter, checkpointing")]
        cells = []
        for card in CARDS.values():
            weights = counted["models"][name]["weights_gb"]
            plain, checkpointed = (chunk(one / 4096, weights, card) for one in taken)
            cells.append(
                f"{plain:,}" if plain else f"{checkpointed:,}, checkpointed" if checkpointed else "no"
            )
        lines.append(f"| {name} | {taken[0] / 1e9:.1f} GB | {taken[1] / 1e9:.1f} GB | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def filled(page: str, counted: dict[str, Any], trained: dict[str, Any]) -> str:
    """The page with its tables between their markers."""
    tables = {
        "memory": memory_table(counted),
        "cards": cards_table(counted),
        "training": training_table(counted, trained),
    }
    for name, table in tables.items():
        begin, end = f"<!-- {name}: written by benchmarks/gpu_tables.py -->", f"<!-- {name}: end -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise SystemExit(f"{PAGE.name} needs the lines {begin} and {end}")
        page = f"{before}{begin}\n\n{table}\n{end}{after}"
    return page


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, fail where the page differs")
    options = parser.parse_args(arguments)
    page = PAGE.read_text(encoding="utf-8")
    text = filled(page, *(json.loads(file.read_text(encoding="utf-8")) for file in (FORWARD, TRAINING)))
    if options.check and text != page:
        raise SystemExit(f"{PAGE.name} differs from what was counted: run benchmarks/gpu_tables.py")
    if text != page:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
