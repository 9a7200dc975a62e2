"""Searching an index: time, recall and room on disk, beside numpy; and memory while a folder is indexed.

python benchmarks/index.py [--rows 100000] [--dimensions 1536] [--files 500 5000] [--json FILE]

Vectors are drawn around 2,000 centres, as those of real files lie together. Needs the extra `index`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from interleaved import write_json
from machine import machine
from memory import resident

from vlm2vec import Index, VLM2Vec
from vlm2vec.index import ann
from vlm2vec.index.rows import Row, Rows
from vlm2vec.index.search import nearest_ids

TOP = 10


def drawn(rows: int, dimensions: int, seed: int, centres: int = 2000) -> np.ndarray:
    """`(rows, dimensions)` vectors of unit length around the same centres for every seed."""
    middle = np.random.default_rng(0).normal(size=(centres, dimensions)).astype(np.float32)
    chance = np.random.default_rng(seed)
    found = middle[chance.integers(0, centres, rows)]
    found += 0.7 * chance.standard_normal((rows, dimensions), dtype=np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def filled(folder: Path, vectors: np.ndarray, storage: str) -> tuple[Rows, float]:
    """A table of these vectors, and the seconds that writing it took."""
    rows = Rows.create(folder, dimensions=vectors.shape[1], half=storage == "float16")
    start = time.perf_counter()
    for first in range(0, len(vectors), 8192):
        part = vectors[first : first + 8192]
        rows.append([Row(f"r{first + n}", 0, 0, None, "image") for n in range(len(part))], part)
    rows.compact()
    return rows, time.perf_counter() - start


def timed(ways: dict[str, Callable[[np.ndarray], Any]], queries: np.ndarray) -> dict[str, dict[str, float]]:
    """Median and 99th percentile of each way in milliseconds, the ways in turn for each query."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way(queries[0])
    for query in queries:
        for name, way in ways.items():
            start = time.perf_counter()
            way(query)
            taken[name].append(1000 * (time.perf_counter() - start))
    return {
        name: {"p50 ms": float(np.percentile(times, 50)), "p99 ms": float(np.percentile(times, 99))}
        for name, times in taken.items()
    }


def searched(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Numbers of searching."""
    vectors = drawn(options.rows, options.dimensions, seed=1)
    queries = drawn(options.queries, options.dimensions, seed=2)

    def numpy_ids(query: np.ndarray) -> set[str]:
        scores = vectors @ query
        return {f"r{place}" for place in np.argpartition(-scores, TOP)[:TOP]}

    found: dict[str, Any] = {"rows": options.rows, "dimensions": options.dimensions, "queries": len(queries)}
    for storage in ("float32", "float16"):
        folder = scratch / storage
        folder.mkdir()
        rows, seconds = filled(folder, vectors, storage)
        rows.clean(timedelta(0))
        of_storage: dict[str, Any] = {"writing s": seconds, "bytes": size(folder)}
        ways = {"exact": partial(nearest_ids, rows, k=TOP, exact=True), "numpy": numpy_ids}
        exact = timed(ways, queries)
        report = ann.build(rows)
        rows.clean(timedelta(0))
        del ways["exact"]
        ways["ann"] = partial(nearest_ids, rows, k=TOP, exact=False, probes=report.probes)
        approximate = timed(ways, queries)
        shares = [len(numpy_ids(query) & ways["ann"](query)) / TOP for query in queries]
        of_storage |= {
            "exact": exact["exact"],
            "ann": approximate["ann"],
            "numpy": exact["numpy"],
            "ann building s": report.seconds,
            "ann recall": float(np.mean(shares)),
            "ann recall that was told": report.recall,
            "bytes with ann": size(folder),
        }
        found[storage] = of_storage
        print(f"{storage}: {json.dumps(of_storage, indent=1)}", flush=True)
    return found


def sync_memory(files: int, scratch: Path) -> dict[str, Any]:
    """Peak memory of a process that indexes so many small pictures, in MiB, and files a second."""
    folder = scratch / f"files-{files}"
    for number in range(files):
        path = folder / f"{number // 500}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        squares = np.random.default_rng(number).integers(0, 256, (2, 2, 3), dtype=np.uint8)
        PIL.Image.fromarray(np.kron(squares, np.ones((28, 28, 1), np.uint8))).save(path)
    command = [sys.executable, __file__, "--child", str(folder)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
    measured: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    print(f"sync of {files:,} files: {measured}", flush=True)
    return {"files": files, **measured}


def child(folder: Path) -> None:
    """Index a folder twice, and print what that took."""
    model = VLM2Vec(device="cpu")
    index = Index(folder, model)
    index.add("a text")  # what is loaded at first use
    before = resident("VmHWM")  # `ru_maxrss` begins with the peak of the process that started this one
    start = time.perf_counter()
    index.sync(show_progress_bar=False)
    seconds = time.perf_counter() - start
    peak = resident("VmHWM")
    start = time.perf_counter()
    report = Index(folder).sync(show_progress_bar=False)
    print(
        json.dumps(
            {
                "MiB before": round(before),
                "peak MiB": round(peak),
                "files a second": round(report.unchanged / seconds, 1),
                "s with nothing new": round(time.perf_counter() - start, 3),
            }
        )
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000, help="vectors")
    parser.add_argument("--dimensions", type=int, default=1536, help="components of each")
    parser.add_argument("--queries", type=int, default=200, help="searches of each kind")
    parser.add_argument("--files", type=int, nargs="*", default=[500, 5000], help="pictures to index")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--quick", action="store_true", help="few rows and files, to try the code")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        child(options.child)
        return
    if options.quick:
        options.rows, options.dimensions, options.queries, options.files = 1200, 32, 5, [4]
    with tempfile.TemporaryDirectory() as scratch:
        found = {"machine": machine(), "search": searched(options, Path(scratch)), "sync": []}
        for files in options.files:
            found["sync"].append(sync_memory(files, Path(scratch)))
    if options.json:
        write_json(options.json, found)


if __name__ == "__main__":
    main()
