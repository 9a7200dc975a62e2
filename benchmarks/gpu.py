"""One short run on a GPU at the size of Qwen2-VL-2B and of Qwen3-VL-2B: weights are random, in bfloat16.

python benchmarks/gpu.py [--json FILE] [--models Qwen3-VL-2B] [--rows images-768 training] [--runs 2]
                         [--settings NAME=VALUE[,NAME=VALUE]] [--max-seconds 420]

Rows come in the order of their worth, so that a run that is cut short has told most. Beside the default way,
ours is timed with each switch of the engine that is off by default: one run decides about the defaults.

For each row: inputs a second, against sentence-transformers on the same GPU; the share of the GPU's measured
matrix rate that the whole call and the forward alone reach; the share of the time in which the GPU waits and
the kernels that take longest; memory at its peak, and the error. Of training: the time and memory of a step.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from baselines import HAS_TORCHVISION
from drawn import Drawn
from encode import OURS, STOCK, encode_ours, errors_of, mean_cosine, plans_of
from flops import flops_of_plans
from interleaved import write_json
from machine import machine
from models import SHAPES, write_settings
from sentence_transformers import SentenceTransformer
from transformers import TrainerCallback
from watch import Run, give_back, held_memory, matrix_rate, peak_above, profiled, wait, watched
from ways import Way, of_pages, off_by_default, way_of
from workloads import QUERY, Item, Sizes, Writer, corpus, one_query

DTYPE = torch.bfloat16
THEIRS = {f"{STOCK}, batch {size}": size for size in (32, 8)}
"""Batch sizes of sentence-transformers; the one that is slower at first is not timed."""

MODELS = {"Qwen2-VL-2B": ("qwen2_vl", "2b"), "Qwen3-VL-2B": ("qwen3_vl", "2b-qwen3")}
"""Network and size by name. The first that is measured is also timed against sentence-transformers."""

CHECKED = 8
"""Inputs whose vectors are held against one-by-one encoding in float32."""

BATCH_SIZES = (64, 256)
"""Pairs of a training step."""

PROFILED_PAIRS = 16


def _queries(writer: Writer) -> list[Item]:
    return [Item(writer.caption(), instruction=QUERY) for _ in range(writer.sizes.count(1024))]


def _texts(writer: Writer) -> list[Item]:
    lengths = writer.rng.integers(8, 301, writer.sizes.count(1024))
    return [Item(writer.prose(int(words))) for words in lengths]


def _images(side: int, count: int, writer: Writer) -> list[Item]:
    return [Item(image=writer.image(side, side)) for _ in range(writer.sizes.count(count))]


def _clips(writer: Writer) -> list[Item]:
    return [Item(video=writer.clip(10)) for _ in range(writer.sizes.count(16))]


def _pages(writer: Writer) -> list[Item]:
    count = writer.sizes.count(32)
    document = writer.document(count)
    return [Item(pdf=document, page=page) for page in range(1, count + 1)]


def _mixed(writer: Writer) -> list[Item]:
    return list(corpus(writer, writer.sizes.count(200)))


ROWS: dict[str, tuple[str, Callable[[Writer], list[Item]]]] = {
    "one-query": ("short query, alone", one_query),
    "queries": ("short queries that share an instruction", _queries),
    "texts": ("texts of 8 to 300 words", _texts),
    "images-336": ("JPEG files of 336 x 336", partial(_images, 336, 256)),
    "images-768": ("JPEG files of 768 x 768", partial(_images, 768, 64)),
    "clips": ("clips of 320 x 240, 8 frames of each", _clips),
    "pages": ("PDF pages", _pages),
    "mixed": ("mixed texts, images, pages and clips", _mixed),
}
TRAINING = "training"

MOST_TELLING = ("images-768", "texts", "pages", "one-query", TRAINING)
"""Rows that come first, of each model in turn; in them, what is off by default is timed, too."""


@dataclass(frozen=True)
class Bench:
    """What the rows share.

    Attributes:
        encoders: Of the network.
        scratch: A folder for the files of inputs.
        sizes: How many inputs there are, and how large they are.
        runs: Timed runs of each way.
        rate: Of products of matrices on the device, in operations a second.
        ways: Ours beside the default one.
        against_stock: Whether sentence-transformers is timed, too.
    """

    encoders: Drawn
    scratch: Path
    sizes: Sizes
    runs: int
    rate: float
    ways: Sequence[Way] = ()
    against_stock: bool = True

    def writer(self, row: str) -> Writer:
        """Draws the inputs of a row."""
        return Writer(self.scratch / row, self.sizes)


def encoding(name: str, bench: Bench) -> dict[str, Any]:
    """Times, shares, kernels, memory and errors of encoding one kind of input."""
    what, draw = ROWS[name]
    items = draw(bench.writer(name))
    ours = bench.encoders.load(OURS, DTYPE)
    plans = plans_of(ours, items)
    flops = flops_of_plans(ours[0].model.config, plans)
    # A single call of a single query is short: it takes more of them for a steady median.
    ways = [
        Way(OURS),
        *(bench.ways if name in MOST_TELLING else ()),
        *(of_pages() if name == "pages" else ()),
    ]
    taken, broken = in_turn(
        items,
        bench.encoders,
        runs=bench.runs * (10 if len(items) == 1 else 1),
        ways=ways,
        theirs=THEIRS if bench.against_stock else {},
    )
    found = {way: summary(runs, inputs=len(items), work=flops / bench.rate) for way, runs in taken.items()}
    theirs = [one["seconds"] for way, one in found.items() if way in THEIRS and one["timed_runs"]]
    return {
        "work": f"{len(items)} {what}",
        "tokens": sum(plan.tokens for plan in plans),
        "tflop": flops / 1e12,
        "ways": {**found, **broken},
        "ratio": theirs[0] / found[OURS]["seconds"] if theirs else None,
        "errors": attempt(partial(errors, taken, items, bench.encoders)),
        "profile": attempt(partial(profiled, partial(encode_ours, ours, items), bench.encoders.device)),
    }


def in_turn(
    items: Sequence[Item],
    encoders: Drawn,
    *,
    runs: int,
    ways: Sequence[Way],
    theirs: Mapping[str, int],
) -> tuple[dict[str, list[Run]], dict[str, dict[str, Any]]]:
    """Runs of ours and of theirs, A B A B, behind a first that does not count; and the errors of some.

    Of their batch sizes, the one that is faster at first goes on. The row fails where ours does by default.
    """
    ours = {way.name: way for way in ways}

    def run(name: str) -> Run:
        if name in ours:
            model = encoders.load(OURS, DTYPE)
            with ours[name].set_in(model):
                return watched(partial(encode_ours, model, items), model[0], encoders.device)
        stock = encoders.load(STOCK, DTYPE)
        encode = partial(stock.encode, items, batch_size=theirs[name])
        return watched(encode, stock.model[0], encoders.device)

    taken, broken = {OURS: [run(OURS)]}, {}
    for name in (*list(ours)[1:], *theirs):
        first = attempt(lambda name=name: {"run": run(name)})
        if "run" in first:
            taken[name] = [first["run"]]
        else:
            broken[name] = first
    faster = sorted(taken.keys() & theirs.keys(), key=lambda name: taken[name][0].seconds)[:1]
    for _ in range(runs):
        for name in (*(name for name in taken if name in ours), *faster):
            taken[name].append(run(name))
    return taken, broken


def summary(runs: Sequence[Run], *, inputs: int, work: float) -> dict[str, Any]:
    """What is told of a way.

    Args:
        runs: The first does not count, unless there is no other.
        inputs: Of a run.
        work: Seconds that it would take at the matrix rate.
    """
    counted = runs[1:] or runs
    seconds = median(run.seconds for run in counted)
    forward = median(run.forward_seconds for run in counted)
    return {
        "timed_runs": len(runs) - 1,
        "seconds": seconds,
        "inputs_per_second": inputs / seconds,
        "share_of_matrix_rate": work / seconds,
        "forward_seconds": forward,
        "forward_share_of_matrix_rate": work / forward,
        "peak_memory_mb": counted[-1].peak_mb,
    }


def errors(taken: Mapping[str, Sequence[Run]], items: Sequence[Item], encoders: Drawn) -> dict[str, Any]:
    """How far the vectors of some inputs are from those of one-by-one encoding in float32."""
    checked = items[:CHECKED]
    reference = encoders.reference(checked)
    found = {way: runs[0].result[:CHECKED] for way, runs in taken.items()}
    return {
        **{way: errors_of(way, vectors, reference, checked) for way, vectors in found.items()},
        "mean_cosine_between_inputs": mean_cosine(reference),
    }


class Steps(TrainerCallback):
    """Times the steps of a trainer."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.seconds: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        wait(self.device)
        self._begin = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        wait(self.device)
        self.seconds.append(time.perf_counter() - self._begin)


def training(bench: Bench) -> dict[str, Any]:
    """Time and memory of a step with GradCache and the default adapter, and what it spends its time on."""
    encoders, count = bench.encoders, bench.sizes.count
    writer = bench.writer(TRAINING)
    pairs = [(writer.caption(), writer.image(336, 336)) for _ in range(count(max(BATCH_SIZES)))]
    rows = [{"query": text, "query_instruction": QUERY, "document": {"image": file}} for text, file in pairs]

    def fit(batch_size: int, *, steps: int) -> tuple[list[float], float]:
        clock = Steps(encoders.device)
        settings = {"lora": True, "bf16": True, "show_progress_bar": False, "callbacks": [clock]}
        done = encoders.ours(DTYPE).fit(rows[:batch_size], batch_size=batch_size, max_steps=steps, **settings)
        return clock.seconds, done.losses[-1][1]

    measured = []
    for batch_size in map(count, BATCH_SIZES):
        give_back(encoders.device)
        held = held_memory(encoders.device)
        (_, *seconds), loss = fit(batch_size, steps=1 + bench.runs)
        step = {
            "pairs": batch_size,
            "seconds": median(seconds),
            "pairs_per_second": batch_size / median(seconds),
        }
        measured.append({**step, "peak_memory_mb": peak_above(held, encoders.device), "loss": loss})
    profile = attempt(partial(profiled, partial(fit, count(PROFILED_PAIRS), steps=1), encoders.device))
    return {"work": "pairs of a caption and a JPEG file", "steps": measured, "profile": profile}


def attempt(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What some work gives; where it fails, its error, for what comes after it is worth having too."""
    try:
        return work()
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}


def failed(row: Mapping[str, Any]) -> bool:
    """Whether a row, or a part of it that is ours, ended with an error."""
    return any("error" in part for part in (row, row.get("errors", {}), row.get("profile", {})))


def print_row(row: dict[str, Any]) -> None:
    """A line of the table, or one for each size of a training step."""
    if "ways" in row:
        ours = row["ways"][OURS]
        numbers = (
            f"{ours['inputs_per_second']:.1f}/s",
            "" if row["ratio"] is None else f"{row['ratio']:.2f}x",
            f"{ours['share_of_matrix_rate']:.1%}",
            f"{ours['forward_share_of_matrix_rate']:.1%}",
            f"{row['profile'].get('waiting_share', math.nan):.1%}",
            _megabytes(ours["peak_memory_mb"]),
            f"{1 - row['errors'].get(OURS, {}).get('min_cosine', math.nan):.1e}",
        )
        lines = [" ".join(f"{number:>10s}" for number in numbers)]
        for way, one in row["ways"].items():
            if way not in (OURS, *THEIRS):
                found = one.get("error") or f"{ours['seconds'] / one['seconds']:.2f}x as fast"
                lines.append(f"{way.removeprefix(OURS + ', '):>40s}: {found}")
    elif "steps" in row:
        lines = [
            f"{step['pairs']} pairs: {step['seconds']:.2f} s a step {_megabytes(step['peak_memory_mb'])}"
            for step in row["steps"]
        ]
    else:
        lines = [row.get("error") or row["skipped"]]
    for line in lines:
        print(f"{row['model']:12s} {row['name']:12s} {line}  ({row['elapsed']:.0f} s)", flush=True)


def _megabytes(memory: float | None) -> str:
    return "" if memory is None else f"{memory:.0f} MB"


def in_order_of_worth(models: Sequence[str], rows: Sequence[str]) -> list[tuple[str, str]]:
    """Models and rows: of each model what tells most, and then the rest."""
    telling = [row for row in MOST_TELLING if row in rows]
    rest = [row for row in rows if row not in telling]
    return [(model, row) for part in (telling, rest) for model in models for row in part]


def main(arguments: Sequence[str] | None = None) -> None:
    begin = time.perf_counter()
    measures = {**{name: partial(encoding, name) for name in ROWS}, TRAINING: training}
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="default: cuda")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="default: both")
    parser.add_argument("--size", choices=SHAPES, help="another size, for all of them")
    parser.add_argument(
        "--rows", nargs="+", choices=measures, default=list(measures), help="what is measured"
    )
    parser.add_argument(
        "--settings",
        nargs="+",
        type=way_of,
        metavar="NAME=VALUE[,...]",
        help="of the engine, timed beside the default (default: each that is off, and all of them)",
    )
    parser.add_argument("--runs", type=int, default=2, help="timed runs of each way (default: 2)")
    parser.add_argument(
        "--max-seconds", type=float, default=420, help="after which no row begins (default: 420)"
    )
    parser.add_argument("--json", type=Path, help="also write the numbers here, after each row")
    parser.add_argument("--quick", action="store_true", help="a tiny model and tiny inputs, to try the code")
    options = parser.parse_args(arguments)
    if not hasattr(SentenceTransformer, "_inference"):
        raise SystemExit(
            "sentence-transformers is older than 6.2, and would encode past this package's engine"
        )
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch finds no CUDA device; --quick --device cpu tries the code without one")
    sizes = {name: options.size or ("tiny" if options.quick else size) for name, (_, size) in MODELS.items()}
    rate = matrix_rate(options.device, 256 if options.quick else 8192, DTYPE)
    about = {
        "machine": machine(),
        "matrix_tflops": rate / 1e12,
        "torchvision": HAS_TORCHVISION,
        "models": {name: sizes[name] for name in options.models},
    }
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)

        @cache
        def bench_of(name: str) -> Bench:
            settings = write_settings(scratch, sizes[name], MODELS[name][0])
            return Bench(
                Drawn(settings, options.device, DTYPE),
                scratch / name,
                Sizes(options.quick),
                options.runs,
                rate,
                off_by_default() if options.settings is None else options.settings,
                against_stock=name == options.models[0],
            )

        ready = time.perf_counter() - begin
        print(f"matrix product in bfloat16: {rate / 1e12:.1f} TFLOP/s ({ready:.0f} s)")
        heads = ("ours", STOCK[:9], "of peak", "forward", "waiting", "memory", "1 - cos")
        print(f"{'':25s}", *(f"{head:>10s}" for head in heads), flush=True)
        for name, row in in_order_of_worth(options.models, options.rows):
            if time.perf_counter() - begin > options.max_seconds:
                done = {"skipped": f"{options.max_seconds:g} seconds are over"}
            else:
                done = attempt(lambda name=name, row=row: measures[row](bench_of(name)))
                give_back(options.device)
            rows.append({"name": row, "model": name, **done, "elapsed": time.perf_counter() - begin})
            print_row(rows[-1])
            if options.json:  # after each row, for a run that is cut short
                write_json(options.json, {**about, "rows": rows})
    if bad := [f"{row['name']} of {row['model']}" for row in rows if failed(row)]:
        raise SystemExit(f"failed: {', '.join(bad)}")


if __name__ == "__main__":
    main()
