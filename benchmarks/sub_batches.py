"""What the size of sub-batches does to the embedded model: table 5 of VLM2Vec-V2, in small.

PYTHONPATH=examples python benchmarks/sub_batches.py FOLDER [--sizes 0 16 64 128] [--steps 100] [--json FILE]

FOLDER holds the weights before their contrastive stage: `checkpoints/stage-2/checkpoint-...` of
`PYTHONPATH=examples python -m embedded_model --output DIR`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from interleaved import write_json
from machine import machine

from embedded_model.held_out_scores import HELD_OUT_SEEDS, Pools, held_out_scores
from embedded_model.training import EMBEDDED_RECIPE, contrast
from vlm2vec import VLM2Vec


def trained_with(size: int, folder: Path, settings: dict[str, Any], pools: Pools) -> dict[str, Any]:
    """Scores after training with sub-batches of this size, and what else can be said of it."""
    model = VLM2Vec(folder, device="cpu")
    with tempfile.TemporaryDirectory() as scratch:
        chosen = {**settings, "sub_batch_size": size}
        result = contrast(model, chosen, Path(scratch), seed=0, scored_rows=2)
    scores = held_out_scores(model, seeds=HELD_OUT_SEEDS[:1], pools=pools)
    return {
        "sub-batch size": size,
        "seconds": result.seconds,
        "loss at the end": result.losses[-1][1],
        "scores": {
            task: {"percent": score.percent, "interval": score.interval} for task, score in scores.items()
        },
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="the model before its contrastive stage")
    parser.add_argument("--sizes", type=int, nargs="+", default=[0, 16, 64, 128], help="0: row by row")
    parser.add_argument("--steps", type=int, default=100, help="optimizer steps of each run")
    parser.add_argument("--batch-size", type=int, default=128, help="rows of a batch")
    parser.add_argument("--threads", type=int, help="threads of torch (default: its own choice)")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--quick", action="store_true", help="tiny pools, to try the code")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    settings = {
        **EMBEDDED_RECIPE.contrastive,
        "max_steps": options.steps,
        "batch_size": options.batch_size,
        "save_steps": options.steps,
    }
    pools = Pools(4, 4, 4, 4, 4, 4) if options.quick else Pools()
    runs: list[dict[str, Any]] = []
    for size in options.sizes:
        runs.append(trained_with(size, options.folder, settings, pools))
        line = {task: round(score["percent"], 1) for task, score in runs[-1]["scores"].items()}
        print(f"sub-batches of {size}: {line}", flush=True)
        if options.json:
            write_json(options.json, {"machine": machine(), "settings": settings, "runs": runs})


if __name__ == "__main__":
    main()
