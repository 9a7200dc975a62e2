"""Encoding at the size of Qwen2-VL-2B on a GPU, random weights in bfloat16.

python benchmarks/gpu.py [--model 2b] [--rows images mixed] [--runs 3] [--json FILE]

For each row: speed against sentence-transformers, the share of the GPU's measured matrix rate that is
reached, the share of the time in which the GPU waits, and memory at its peak above the weights.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from baselines import HAS_TORCHVISION
from encode import OURS, PADDED, STOCK, Encoders
from flops import flops_of
from interleaved import interleave, write_json
from machine import machine
from models import SHAPES, write_model
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from workloads import QUERY, Item, Sizes, Writer, corpus

DTYPE = torch.bfloat16
CHECKED = 16
"""Inputs whose vectors are held against one-by-one encoding in float32."""


def _queries(writer: Writer) -> list[Item]:
    return [Item(writer.caption(), instruction=QUERY) for _ in range(writer.sizes.count(1024))]


def _images(writer: Writer) -> list[Item]:
    return [Item(image=writer.image(768, 768)) for _ in range(writer.sizes.count(128))]


def _pages(writer: Writer) -> list[Item]:
    count = writer.sizes.count(64)
    document = writer.document(count)
    return [Item(pdf=document, page=page) for page in range(1, count + 1)]


def _mixed(writer: Writer) -> list[Item]:
    return list(corpus(writer, writer.sizes.count(400)))


ROWS: dict[str, tuple[str, Callable[[Writer], list[Item]]]] = {
    "queries": ("short queries that share an instruction", _queries),
    "images": ("JPEG files of 768 x 768", _images),
    "pages": ("PDF pages", _pages),
    "mixed": ("mixed texts, images, pages and clips", _mixed),
}


def matrix_rate(device: str, size: int) -> float:
    """Operations a second in a large square product: the peak that the shares refer to."""
    left, right = (torch.randn(size, size, device=device, dtype=DTYPE) for _ in range(2))
    taken = []
    for _ in range(10):
        _wait(device)
        begin = time.perf_counter()
        left @ right
        _wait(device)
        taken.append(time.perf_counter() - begin)
    return 2 * size**3 / min(taken)


def waiting_share(call: Callable[[], Any], device: str) -> float:
    """Share of the time of a call in which nothing runs on the device, as torch's profiler sees it."""
    on_gpu = device.startswith("cuda")
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as seen:
        begin = time.perf_counter()
        call()
        _wait(device)
        seconds = time.perf_counter() - begin
    kind = DeviceType.CUDA if on_gpu else DeviceType.CPU
    ranges = ((one.time_range.start, one.time_range.end) for one in seen.events() if one.device_type == kind)
    return 1 - covered(ranges) * 1e-6 / seconds


def covered(ranges: Iterable[tuple[float, float]]) -> float:
    """Length of the union of ranges."""
    total, until = 0.0, float("-inf")
    for begin, end in sorted(ranges):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


def peak_memory(call: Callable[[], Any], device: str) -> float | None:
    """Memory of the GPU at its peak above what is held before the call, in MB; `None` without a GPU."""
    if not device.startswith("cuda"):
        return None
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated()
    call()
    return (torch.cuda.max_memory_allocated() - held) / 2**20


def measure(
    name: str, encoders: Encoders, writer: Writer, *, runs: int, matrix_rate: float
) -> dict[str, Any]:
    """One row: times, shares, memory and error."""
    what, draw = ROWS[name]
    items = draw(writer)
    ways = {way: call for way, call in encoders.ways(items, DTYPE).items() if way != PADDED}
    timed = interleave(ways, runs=runs)
    seconds = {way: one.seconds for way, one in timed.items()}
    padded = encoders.load(PADDED, torch.float32)
    flops = sum(flops_of(padded.network.config, padded.features([item])) for item in items)
    reference = encoders.reference(items[:CHECKED])
    return {
        "name": name,
        "work": f"{len(items)} {what}",
        "seconds": seconds,
        "ratio": min(taken for way, taken in seconds.items() if way != OURS) / seconds[OURS],
        "tflop": flops / 1e12,
        "share_of_matrix_rate": {way: flops / taken / matrix_rate for way, taken in seconds.items()},
        "waiting_share": {way: waiting_share(call, encoders.device) for way, call in ways.items()},
        "peak_memory_mb": {way: peak_memory(call, encoders.device) for way, call in ways.items()},
        "min_cosine": float((timed[OURS].result[:CHECKED] * reference).sum(axis=1).min()),
    }


def print_row(row: dict[str, Any]) -> None:
    """One line of the table."""
    memory = row["peak_memory_mb"][OURS]
    numbers = (
        f"{row['seconds'][OURS]:.3f} s",
        f"{row['ratio']:.2f}x",
        f"{row['share_of_matrix_rate'][OURS]:.1%}",
        f"{row['waiting_share'][OURS]:.1%}",
        "" if memory is None else f"{memory:.0f} MB",
        f"{1 - row['min_cosine']:.1e}",
    )
    print(f"{row['work']:46s}", *(f"{number:>9s}" for number in numbers), flush=True)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="default: cuda")
    parser.add_argument("--model", choices=SHAPES, help="size of the model (default: 2b)")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="what is encoded")
    parser.add_argument("--runs", type=int, default=3, help="timed runs of each way (default: 3)")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--quick", action="store_true", help="a tiny model and tiny inputs, to try the code")
    options = parser.parse_args(arguments)
    name = options.model or ("tiny" if options.quick else "2b")
    rate = matrix_rate(options.device, 256 if options.quick else 8192)
    print(f"matrix product in bfloat16: {rate / 1e12:.1f} TFLOP/s")
    heads = ("ours", STOCK[:9], "of peak", "waiting", "memory", "1 - cos")
    print(f"{'work':46s}", *(f"{head:>9s}" for head in heads))
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        encoders = Encoders(write_model(Path(scratch), name, dtype=DTYPE), options.device)
        for row in options.rows:
            writer = Writer(Path(scratch) / row, Sizes(options.quick))
            rows.append(measure(row, encoders, writer, runs=options.runs, matrix_rate=rate))
            print_row(rows[-1])
    if options.json:
        about = {"machine": machine(), "matrix_tflops": rate / 1e12, "torchvision": HAS_TORCHVISION}
        write_json(options.json, {**about, "model": name, "rows": rows})


if __name__ == "__main__":
    main()
