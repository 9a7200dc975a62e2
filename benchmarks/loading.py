"""Time and memory of loading a model and of encoding with it, at the size of Qwen2-VL-2B, on a CPU.

python benchmarks/loading.py [--model 2b] [--threads 2] [--json FILE]

Random weights are drawn in bfloat16 and written as a merged checkpoint, beside which stands an adapter as
that of VLM2Vec-V2.0 (DoRA, r 16). Each way of loading has a process of its own. Memory is that of the whole
process, from the kernel's count of resident pages; a merged checkpoint is mapped, and read when first used.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from interleaved import write_json
from machine import machine
from memory import in_fresh_process, resident
from models import SHAPES, write_model
from peft import LoraConfig
from workloads import Item, Sizes, Writer

from vlm2vec import VLM2Vec
from vlm2vec.checkpoints.adapter import add_adapter, save_adapter

RUNS = 3
"""Calls of which the median counts, after one that does not; of what takes long, the first one counts."""
LONG = 20.0  # seconds


def write_adapter(base: Path, folder: Path) -> Path:
    """Write an adapter with random weights for a checkpoint, as that of VLM2Vec-V2.0."""
    model = VLM2Vec(base, device="cpu", dtype="auto")
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "down_proj"]
    network = model[0].model
    add_adapter(
        network,
        LoraConfig(r=16, lora_alpha=64, use_dora=True, target_modules=targets, init_lora_weights=False),
    )
    network.name_or_path = str(base)
    save_adapter(network, folder)
    model[0].profile.save(folder)
    return folder


def load_and_encode(
    folder: Path, *, dtype: str | None, items: dict[str, Item], threads: int
) -> dict[str, Any]:
    """Load a model and encode one item after the other, in this process, which does nothing else."""
    torch.set_num_threads(threads)
    before = resident("VmRSS")
    start = time.perf_counter()
    model = VLM2Vec(folder, device="cpu", dtype=dtype)
    found: dict[str, Any] = {
        "load_seconds": time.perf_counter() - start,
        "imports_gib": before / 1024,
        "load_peak_gib": resident("VmHWM") / 1024,
        "loaded_gib": resident("VmRSS") / 1024,
        "dtype": str(next(model[0].model.parameters()).dtype).removeprefix("torch."),
        "encode_seconds": {},
    }
    for name, item in items.items():
        seconds = _seconds(model, item)
        if seconds < LONG:
            seconds = statistics.median(_seconds(model, item) for _ in range(RUNS))
        found["encode_seconds"][name] = seconds
    return {**found, "peak_gib": resident("VmHWM") / 1024}


def _seconds(model: VLM2Vec, item: Item) -> float:
    start = time.perf_counter()
    model.encode([item.ours()])
    return time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=SHAPES, help="size of the model (default: 2b)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch (default: all cores)")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--quick", action="store_true", help="a tiny model and tiny inputs, to try the code")
    options = parser.parse_args(arguments)
    name = options.model or ("tiny" if options.quick else "2b")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        writer = Writer(Path(scratch) / "files", Sizes(options.quick))
        items = {
            "text of 100 words": Item(writer.prose(100)),
            "photo of 640 x 480": Item(image=writer.image(640, 480)),
            "page": Item(pdf=writer.document(1), page=1),
        }
        print(f"{'checkpoint':10s} {'type':9s} {'load s':>7s} {'load peak':>10s}", *items, "peak", sep="  ")
        # In a process of its own, which gives all its memory back.
        merged = Path(in_fresh_process(_write, Path(scratch), name)["folder"])
        size = sum(file.stat().st_size for file in merged.glob("*.safetensors"))
        for kind in ("merged", "adapter"):
            folder = merged if kind == "merged" else merged.parent / "adapter"
            for dtype in (None, "float32"):
                # Once it is merged, the network of an adapter is that of a merged checkpoint.
                used = items if kind == "merged" else {}
                found = in_fresh_process(
                    load_and_encode, folder, dtype=dtype, items=used, threads=options.threads
                )
                rows.append({"checkpoint": kind, "asked": dtype, **found})
                print_row(rows[-1])
                if options.json:  # after each row: some take minutes
                    about = {"machine": machine(), "threads": options.threads, "model": name}
                    write_json(options.json, {**about, "checkpoint_gib": size / 2**30, "rows": rows})


def _write(scratch: Path, name: str) -> dict[str, Any]:
    merged = write_model(scratch, name, dtype=torch.bfloat16)
    write_adapter(merged, merged.parent / "adapter")
    return {"folder": str(merged)}


def print_row(row: dict[str, Any]) -> None:
    """One line of the table."""
    numbers = [f"{row['load_seconds']:7.1f}", f"{row['load_peak_gib']:6.2f} GiB"]
    numbers += [f"{seconds:.2f} s" for seconds in row["encode_seconds"].values()]
    numbers += [f"{row['peak_gib']:.2f} GiB"]
    print(f"{row['checkpoint']:10s} {row['dtype']:9s}", *numbers, sep="  ", flush=True)


if __name__ == "__main__":
    main()
