"""How far bfloat16 moves vectors from float32, and what that does to rankings of the embedded model.

PYTHONPATH=examples python benchmarks/drift.py [--models embedded small] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from models import profile_of, write_model
from workloads import Sizes, Writer, mixed

from embedded_model.held_out_scores import held_out_scores
from vlm2vec import VLM2Vec

TYPES = ("float32", "bfloat16")


def drift(model: str, folder: Path, sizes: Sizes) -> dict[str, Any]:
    """Cosine and greatest difference between the vectors of both types, on the mixed workload."""
    settings: dict[str, Any] = {"device": "cpu"}
    if model != "embedded":
        settings |= {"model_name_or_path": write_model(folder, model), "profile": profile_of(model)}
    models = [VLM2Vec(**settings, dtype=dtype) for dtype in TYPES]
    inputs = [item.ours() for item in mixed(Writer(folder, sizes))]
    exact, rounded = (one.encode(inputs) for one in models)
    cosine = (exact * rounded).sum(1)
    found: dict[str, Any] = {
        "model": model,
        "inputs": len(inputs),
        "least cosine": float(cosine.min()),
        "median cosine": float(np.median(cosine)),
        "greatest difference": float(np.abs(exact - rounded).max()),
    }
    if model == "embedded" and not sizes.quick:
        for dtype, one in zip(TYPES, models, strict=True):
            found[f"Hit@1, {dtype}"] = {task: score.percent for task, score in held_out_scores(one).items()}
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["embedded", "small"])
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--quick", action="store_true", help="a tiny model and tiny inputs, to try the code")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        models = ["tiny"] if options.quick else options.models
        results = [drift(model, Path(name), Sizes(options.quick)) for model in models]
    text = json.dumps({"machine": machine(), "drift": results}, indent=2)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
