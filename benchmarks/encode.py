"""What encoding costs, against sentence-transformers and padded transformers on the same inputs and weights.

python benchmarks/encode.py [--model small] [--network qwen2_vl qwen3_vl] [--rows queries mixed] [--runs 3]
                            [--threads 2] [--json FILE]

Several networks are timed in turn, so that their shares of the machine's matrix rate compare.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from baselines import HAS_TORCHVISION, Padded, Stock
from flops import flops_of_plans
from interleaved import Timed, interleave, write_json
from machine import machine, matrix_rates
from models import DEFAULT_NETWORK, NETWORKS, SHAPES, write_model
from PIL import Image
from workloads import WORKLOADS, Item, Sizes, Writer

from vlm2vec import VLM2Vec
from vlm2vec.encoding.plan import Planned
from vlm2vec.inputs.parse import parse_batch
from vlm2vec.media.pdf import render_page
from vlm2vec.media.source import Source
from vlm2vec.profiles import Profile

OURS, STOCK, PADDED = "ours", "sentence-transformers", "padded transformers"

THEIRS = (f"{STOCK}, batch 32", f"{STOCK}, batch 8", PADDED)
"""What is compared with: sentence-transformers with its default batch size and with a small one."""

ROWS = {**{name: (name, "float32") for name in WORKLOADS}, "mixed-bfloat16": ("mixed", "bfloat16")}
"""By name: the workload, and the type of the weights."""


class Encoders:
    """The three ways, loaded from one folder of weights.

    Args:
        folder: A saved model.
        device: Where they compute.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.folder, self.device = folder, device
        self.load = cache(self._load)

    def _load(self, way: str, dtype: torch.dtype) -> Any:
        if way == OURS:
            return VLM2Vec(self.folder, device=self.device, model_kwargs={"dtype": dtype})
        return {STOCK: Stock, PADDED: Padded}[way](self.folder, dtype=dtype, device=self.device)

    def ways(self, items: Sequence[Item], dtype: torch.dtype) -> dict[str, Callable[[], np.ndarray]]:
        """What is to be timed."""
        stock = self.load(STOCK, dtype)
        theirs = (
            partial(stock.encode, items, batch_size=32),
            partial(stock.encode, items, batch_size=8),
            partial(self.load(PADDED, dtype).encode, items, batch_size=32),
        )
        return {
            OURS: partial(encode_ours, self.load(OURS, dtype), items),
            **dict(zip(THEIRS, theirs, strict=True)),
        }

    def reference(self, items: Sequence[Item]) -> np.ndarray:
        """One by one in float32, by transformers."""
        padded = self.load(PADDED, torch.float32)
        rules = Profile.load(self.folder).pixels

        def our_page(path: Path, page: int) -> Image.Image:
            # Drawn as this package draws it, so that errors of vectors are not differences of drawing.
            return Image.fromarray(render_page(Source.from_path(path), page, rules))

        return np.concatenate([padded.encode([item], batch_size=1, draw_page=our_page) for item in items])


def encode_ours(model: VLM2Vec, items: Sequence[Item]) -> np.ndarray:
    """One call, as a user would."""
    vectors: np.ndarray = model.encode(
        [item.ours() for item in items],
        instruction=[item.instruction for item in items],
        show_progress_bar=False,
    )
    return vectors


def plans_of(model: VLM2Vec, items: Sequence[Item]) -> list[Planned]:
    """What this package plans to compute of the inputs."""
    parsed = parse_batch([item.ours() for item in items], [item.instruction for item in items])
    plans: list[Planned] = model[0].preparer.planner.plan(list(enumerate(parsed)))
    return plans


def measure(
    name: str,
    networks: Mapping[str, Encoders],
    writer: Writer,
    *,
    runs: int,
    rates: Mapping[str, float],
    dtype: str | None = None,
) -> list[dict[str, Any]]:
    """Time one row on each network, and hold its vectors against those of one-by-one encoding.

    Args:
        name: Of the row.
        networks: Encoders by the name of their network. A way of one is timed next to the same of another.
        writer: Draws the inputs, the same for all.
        runs: Timed runs.
        rates: Of products of matrices, in GFLOP/s, as `matrix_rates` gives them.
        dtype: Type of the weights, in place of the row's own.
    """
    workload, weights = ROWS[name]
    weights = dtype or weights
    what, draw = WORKLOADS[workload]
    items = draw(writer)
    by_network = {
        network: encoders.ways(items, getattr(torch, weights)) for network, encoders in networks.items()
    }
    # A single call of a single query is short: it takes more of them for a steady median.
    timed = interleave(
        {(network, way): by_network[network][way] for way in (OURS, *THEIRS) for network in networks},
        runs=runs * (10 if len(items) == 1 else 1),
    )
    rate = max(rates[product] for product in rates if product.startswith(weights))
    return [
        {
            "name": name,
            "network": network,
            "work": f"{len(items)} {what}" + (", bfloat16" if weights == "bfloat16" else ""),
            "dtype": weights,
            "inputs": len(items),
            "runs": runs,
            **numbers(items, encoders, {way: timed[network, way] for way in (OURS, *THEIRS)}, rate),
        }
        for network, encoders in networks.items()
    ]


def numbers(
    items: Sequence[Item], encoders: Encoders, timed: Mapping[str, Timed], rate: float
) -> dict[str, Any]:
    """Times, shares of the matrix rate (in GFLOP/s, of all threads) and errors of one network."""
    reference = encoders.reference(items)
    errors = {way: errors_of(way, one.result, reference, items) for way, one in timed.items()}
    seconds = {way: one.seconds for way, one in timed.items()}
    # Of all threads: steadier than the clock where others use the machine.
    cpu_seconds = {way: one.cpu_seconds for way, one in timed.items()}
    ours = encoders.load(OURS, torch.float32)
    # Counted for every input, whether or not a way finds that it need not compute it: it can be above 1.
    gflop = flops_of_plans(ours[0].model.config, plans_of(ours, items)) / 1e9
    return {
        "gflop": gflop,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "share_of_matrix_rate": {way: gflop / rate / seconds[way] for way in timed},
        "cpu_share_of_matrix_rate": {
            way: gflop / rate / cpu_seconds[way] * torch.get_num_threads() for way in timed
        },
        "ratio": {way: seconds[way] / seconds[OURS] for way in THEIRS},
        **{kind: {way: errors[way][kind] for way in errors} for kind in ("max_abs_error", "min_cosine")},
        # How far apart the inputs themselves are: what the errors are small against.
        "mean_cosine_between_inputs": mean_cosine(reference),
    }


def errors_of(
    way: str, vectors: np.ndarray, reference: np.ndarray, items: Sequence[Item]
) -> dict[str, float]:
    """How far vectors are from those of one-by-one encoding, at most; nothing where none can be compared."""
    # Others draw PDF pages differently, so their vectors of pages have other values.
    compared = [number for number, item in enumerate(items) if way == OURS or item.pdf is None]
    if not compared:
        return {}
    found, expected = vectors[compared], reference[compared]
    return {
        "max_abs_error": float(np.abs(found - expected).max()),
        "min_cosine": float((found * expected).sum(axis=1).min()),
    }


def mean_cosine(vectors: np.ndarray) -> float | None:
    """Of each pair of unit vectors; `None` for a single one."""
    count = len(vectors)
    return float((vectors @ vectors.T).sum() - count) / (count * (count - 1)) if count > 1 else None


def print_row(row: dict[str, Any]) -> None:
    """One line of the table."""
    ratios = " ".join(f"{row['ratio'][way]:8.2f}x" for way in THEIRS)
    print(
        f"{row['work']:50s} {row['network']:>10s} {row['seconds'][OURS] * 1e3:9.1f} ms "
        f"{row['share_of_matrix_rate'][OURS]:7.1%} {row['cpu_share_of_matrix_rate'][OURS]:7.1%} {ratios} "
        f"{row['max_abs_error'][OURS]:9.1e} {1 - row['min_cosine'][OURS]:9.1e}",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=SHAPES, help="size of the model (default: small)")
    parser.add_argument(
        "--network",
        nargs="+",
        action="extend",
        choices=NETWORKS,
        help=f"one or several, timed in turn (default: {DEFAULT_NETWORK})",
    )
    parser.add_argument(
        "--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help=" ".join(ROWS)
    )
    parser.add_argument("--runs", type=int, default=3, help="timed runs of each way (default: 3)")
    parser.add_argument("--threads", type=int, help="threads of torch (default: its own choice)")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="weights, in place of the row's own")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--quick", action="store_true", help="a tiny model and tiny inputs, to try the code")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    name = options.model or ("tiny" if options.quick else "small")
    rates = matrix_rates(quick=options.quick)
    print(", ".join(f"{product}: {rate:g} GFLOP/s" for product, rate in rates.items()))
    columns = " ".join(f"{way:>9s}" for way in ("ST 32", "ST 8", "padded", "max-abs", "1 - cos"))
    print(f"{'work':50s} {'network':>10s} {'ours':>12s} {'share':>7s} {'of CPU':>7s} {columns}")
    about = {"machine": machine(), "gflops": rates, "model": name, "torchvision": HAS_TORCHVISION}
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        names = dict.fromkeys(options.network or [DEFAULT_NETWORK])
        networks = {network: Encoders(write_model(Path(scratch), name, network)) for network in names}
        for row in options.rows:
            writer = Writer(Path(scratch) / row, Sizes(options.quick))
            found = measure(row, networks, writer, runs=options.runs, rates=rates, dtype=options.dtype)
            rows.extend(found)
            for one in found:
                print_row(one)
            if options.json:  # after each row: some take minutes, and a run that is cut short has measured
                write_json(options.json, {**about, "rows": rows})


if __name__ == "__main__":
    main()
