"""What a measurement ran on: the machine, the libraries, and how fast it multiplies matrices."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

_LIBRARIES = ("torch", "transformers", "sentence-transformers")


def machine() -> dict[str, Any]:
    """Name, cores, threads in use and versions."""
    found: dict[str, Any] = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in _LIBRARIES},
    }
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def processor() -> str:
    """Name of the processor as the system knows it, and numbers that tell its generation."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        first, _, _ = cpuinfo.read_text(encoding="utf-8").partition("\n\n")
        pairs = (line.partition(":") for line in first.splitlines())
        known = {name.strip(): value.strip() for name, _, value in pairs}
        name = known.get("model name")
        if name and "cpu family" in known:
            # A virtual machine's name is often no more than the maker's: family 26 of AMD is Zen 5.
            return f"{name} (family {known['cpu family']}, model {known['model']})"
        if name:
            return name
    return platform.processor() or platform.machine()


def matrix_rates(*, quick: bool = False) -> dict[str, float]:
    """Rates of one product of Qwen2-VL-2B's width on the CPU, in GFLOP/s, by how it is computed.

    `F.linear` is what stock code runs. Where oneDNN with packed weights is faster than that in float32, the
    difference is a gain that other processors will not show.
    """
    rows, width, inner = (32, 128, 256) if quick else (512, 1536, 8960)
    x, weight = torch.randn(rows, width), torch.randn(inner, width)
    x16, weight16 = x.bfloat16(), weight.bfloat16()
    products: dict[str, Callable[[], Any]] = {
        "float32 F.linear": lambda: torch.nn.functional.linear(x, weight),
        "bfloat16 F.linear": lambda: torch.nn.functional.linear(x16, weight16),
    }
    if torch.backends.mkldnn.is_available():
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
        products["float32 oneDNN, packed"] = lambda: torch.ops.mkldnn._linear_pointwise(
            x, packed, None, "none", [], ""
        )
    work = 2 * rows * width * inner
    with torch.inference_mode():
        return {name: round(work / _best_seconds(product) / 1e9, 1) for name, product in products.items()}


def _best_seconds(product: Callable[[], Any], runs: int = 5) -> float:
    product()
    taken = []
    for _ in range(runs):
        begin = time.perf_counter()
        product()
        taken.append(time.perf_counter() - begin)
    return min(taken)
