"""Two tasks in the public layout: pictures and their classes, captions and their pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vlm2vec import mmeb
from vlm2vec.mmeb.evaluation import evaluate
from vlm2vec.mmeb.results import Results
from vlm2vec.mmeb.samples import Content

TASKS = ["ImageNet-1K", "MSCOCO_t2i"]
LABELS = [
    "red",
    "green",
    "blue",
    "white",
    "black",
    "cyan",
    "magenta",
    "yellow",
    "gray",
    "orange",
    "pink",
    "navy",
]


def write(folder: Path, labels: Sequence[str] = LABELS) -> Path:
    """As many rows as labels, each with all candidates, the right one first as in the public tables."""
    for name in TASKS:
        task = mmeb.get_task(name)
        rows = []
        for number, label in enumerate(labels):
            file = folder / task.roots[0] / name / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 30), LABELS[number]).save(file)
            order = [number, *(other for other in range(len(labels)) if other != number)]
            paths = [f"{name}/{other}.png" for other in order]
            if name == "ImageNet-1K":
                row = {
                    "qry_text": "",
                    "qry_img_path": paths[0],
                    "tgt_text": [labels[other] for other in order],
                }
            else:
                row = {
                    "qry_text": label,
                    "tgt_inst": "",
                    "tgt_text": [""] * len(order),
                    "tgt_img_path": paths,
                }
            rows.append({"qry_inst": task.query_instruction, **row})
        table = folder / "annotations" / task.repo / str(task.subset) / f"{task.split}.jsonl"
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def by_chance(contents: Sequence[Content], role: str) -> np.ndarray:
    """Vectors that have nothing to do with the samples, but are equal for equal ones."""

    def name(content: Content) -> str:
        return f"{content.prompt} {content.image and Path(str(content.image)).name} {len(content.frames)}"

    return np.stack([np.random.default_rng([*name(one).encode()]).standard_normal(16) for one in contents])


def scored(folder: Path, data: Path | None, tasks: Sequence[str] = TASKS, name: str = "chance") -> Results:
    """Results as they come back from their files."""
    evaluate(by_chance, tasks, data_dir=data, output_dir=folder, offline=True, name=name)
    return Results.load(folder)
