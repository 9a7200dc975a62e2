"""How time and peak memory grow with the number of inputs, the pixels of images and the pages of documents.

python benchmarks/memory.py [--model small] [--curves inputs pages] [--threads 2] [--json FILE]

Each point is measured in a process of its own: memory at its peak above that of the loaded model, which has
encoded one text and one image before.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from baselines import Stock
from encode import OURS, STOCK, encode_ours
from interleaved import write_json
from machine import machine
from models import SHAPES, write_model
from workloads import Item, Sizes, Writer, corpus

from vlm2vec import VLM2Vec

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Point:
    """One measurement.

    Attributes:
        curve: What grows.
        value: How much of it there was.
        way: Of encoding.
        seconds: Of one call.
        peak: Memory at its peak, above the loaded model, in MB.
        loaded: Memory of the process with the loaded model, in MB.
    """

    curve: str
    value: int
    way: str
    seconds: float
    peak: float
    loaded: float


@dataclass(frozen=True)
class Curve:
    """What grows, how far for each way, and what draws the inputs."""

    ours: tuple[int, ...]
    theirs: tuple[int, ...]
    draw: Callable[[Writer, int], list[Item]]


def _inputs(writer: Writer, count: int) -> list[Item]:
    return list(corpus(writer, count))


def _pixels(writer: Writer, side: int) -> list[Item]:
    return [Item(image=writer.image(side, side)) for _ in range(4)]


def _pages(writer: Writer, pages: int) -> list[Item]:
    return [Item(pdf=writer.document(pages))]


CURVES = {
    "inputs": Curve((50, 100, 200, 500, 2000), (50, 100, 200), _inputs),
    "side of an image": Curve((224, 448, 672, 896, 1008), (224, 448, 672, 896, 1008), _pixels),
    "pages of a document": Curve((1, 2, 4, 8), (1, 2, 4, 8), _pages),
}
QUICK = {
    "inputs": Curve((4, 8), (4,), _inputs),
    "side of an image": Curve((224, 448), (224,), _pixels),
    "pages of a document": Curve((1,), (1,), _pages),
}


def encode_apart(
    way: str, folder: Path, *, items: list[Item], warm: list[Item], threads: int
) -> dict[str, float]:
    """Load a model and encode, in this process, which does nothing else."""
    torch.set_num_threads(threads)
    if way == OURS:
        model = VLM2Vec(folder, device="cpu")

        def run(some: list[Item]) -> None:
            encode_ours(model, some)
    else:
        stock = Stock(folder, dtype=torch.float32, device="cpu")

        def run(some: list[Item]) -> None:
            stock.encode(some, batch_size=32)

    run(warm)
    return above_loaded(lambda: run(items))


def above_loaded(run: Callable[[], object]) -> dict[str, float]:
    """Seconds of a call, and memory at its peak above what this process has before."""
    gc.collect()
    loaded = resident("VmRSS")
    forgotten = _forget_peak()
    begin = time.perf_counter()
    run()
    seconds = time.perf_counter() - begin
    peak = resident("VmHWM" if forgotten else "highest")
    return {"seconds": seconds, "peak": max(0.0, peak - loaded), "loaded": loaded}


def _forget_peak() -> bool:
    """Let the kernel count the peak from here on, where it can; else it counts from the process's begin."""
    try:
        _RESET.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def resident(what: str) -> float:
    """Resident memory of this process in MB, now or at its highest."""
    if _STATUS.is_file() and what.startswith("Vm"):
        lines = _STATUS.read_text(encoding="ascii").splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith(what))) / 1024
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest / (1024 * 1024 if sys.platform == "darwin" else 1024)


def in_fresh_process(work: Callable[..., dict[str, Any]], *arguments: Any, **settings: Any) -> dict[str, Any]:
    """`work`, where nothing has been allocated before."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as fresh:
        return fresh.submit(work, *arguments, **settings).result()


def measure(curves: Mapping[str, Curve], folder: Path, scratch: Path, sizes: Sizes) -> Iterator[Point]:
    """Each point of the curves."""
    warm = [Item("a text"), Item(image=Writer(scratch / "warm", sizes).image(224, 224))]
    for name, curve in curves.items():
        for value in curve.ours:
            items = curve.draw(Writer(scratch / f"{name}-{value}", sizes), value)
            for way in (OURS, STOCK) if value in curve.theirs else (OURS,):
                threads = torch.get_num_threads()
                settings = {"items": items, "warm": warm, "threads": threads}
                result = in_fresh_process(encode_apart, way, folder, **settings)
                yield Point(name, value, way, **result)


def summary(points: Sequence[Point]) -> dict[str, float]:
    """What is to be reached: memory that does not grow with the inputs, and far less than the other's."""
    inputs = [point for point in points if point.curve == "inputs" and point.way == OURS]
    ours = {point.value: point.peak for point in inputs}
    whole = {point.value: point.loaded + point.peak for point in inputs}
    theirs = {point.value: point.peak for point in points if point.curve == "inputs" and point.way != OURS}
    if not theirs:
        return {}
    both, most = max(theirs), max(ours)
    return {
        f"peak above the loaded model for {most} inputs over {both}": ours[most] / ours[both],
        f"peak of the whole process for {most} inputs over {both}": whole[most] / whole[both],
        f"{STOCK} at batch 32 over ours, {both} inputs": theirs[both] / ours[both],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=SHAPES, help="size of the model (default: small)")
    parser.add_argument("--curves", nargs="+", choices=CURVES, default=list(CURVES), help="what grows")
    parser.add_argument("--threads", type=int, help="threads of torch (default: its own choice)")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--quick", action="store_true", help="a tiny model and tiny inputs, to try the code")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    name = options.model or ("tiny" if options.quick else "small")
    curves = {curve: (QUICK if options.quick else CURVES)[curve] for curve in options.curves}
    print(f"{'growing':22s} {'':>6s} {'way':22s} {'seconds':>9s} {'peak MB':>9s} {'loaded MB':>9s}")
    points = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_model(Path(scratch), name)
        for one in measure(curves, folder, Path(scratch), Sizes(options.quick)):
            points.append(one)
            numbers = f"{one.seconds:9.2f} {one.peak:9.1f} {one.loaded:9.1f}"
            print(f"{one.curve:22s} {one.value:6d} {one.way:22s} {numbers}", flush=True)
            if options.json:  # after each point: some take minutes, and a run that is cut short has measured
                content = {"machine": machine(), "model": name, "summary": summary(points)}
                write_json(options.json, {**content, "points": [asdict(point) for point in points]})
    for what, ratio in summary(points).items():
        print(f"{what}: {ratio:.2f}")


if __name__ == "__main__":
    main()
