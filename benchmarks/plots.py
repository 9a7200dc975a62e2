"""Draws what `benchmarks/memory.py` measured: time and peak memory over what grows.

python benchmarks/plots.py benchmarks/results/memory-MACHINE.json [--folder docs/pictures]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parent.parent
COLOURS = {"ours": "#1f4fd6", "sentence-transformers": "#c2552d"}
LABELS = {"ours": "vlm2vec", "sentence-transformers": "sentence-transformers, batch 32"}
AXES = {
    "inputs": "mixed inputs in one call",
    "side of an image": "side of each of 4 images, pixels",
    "pages of a document": "pages of one document",
}
QUANTITIES = {"seconds": "time, seconds", "peak": "peak memory above the model, MB"}


def draw(measured: dict[str, Any]) -> Figure:
    """Time above, memory below; one column for each thing that grows."""
    curves = list(dict.fromkeys(point["curve"] for point in measured["points"]))
    figure = Figure(figsize=(3.6 * len(curves), 5.2), layout="constrained")
    panels = figure.subplots(len(QUANTITIES), len(curves), squeeze=False)
    for row, (quantity, label) in zip(panels, QUANTITIES.items(), strict=True):
        for panel, curve in zip(row, curves, strict=True):
            for way, colour in COLOURS.items():
                points = [one for one in measured["points"] if one["curve"] == curve and one["way"] == way]
                values = [one["value"] for one in points], [one[quantity] for one in points]
                panel.plot(*values, marker="o", markersize=4, color=colour, label=LABELS[way])
            panel.set(xlabel=AXES[curve], xlim=(0, None), ylim=(0, None))
            panel.grid(alpha=0.3)
            panel.spines[["top", "right"]].set_visible(False)
        row[0].set_ylabel(label)
    panels[0][0].legend(frameon=False, fontsize="small")
    machine = measured["machine"]
    figure.suptitle(
        f"{machine['processor']}, {machine['threads']} threads, model {measured['model']}", size="medium"
    )
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("measured", type=Path, help="JSON of benchmarks/memory.py")
    parser.add_argument("--folder", type=Path, default=ROOT / "docs" / "pictures", help="where pictures go")
    options = parser.parse_args(arguments)
    # Text as text, and the same file for the same numbers.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "vlm2vec"})
    options.folder.mkdir(parents=True, exist_ok=True)
    figure = draw(json.loads(options.measured.read_text(encoding="utf-8")))
    figure.savefig(options.folder / "growth.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
