"""What a model would run on: each device of this machine, and what is computed with there."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch
from sentence_transformers.util import get_device_name

from vlm2vec.blocks.attention import why_no_kernel
from vlm2vec.blocks.device import LARGE, default_dtype, emulates_bfloat16
from vlm2vec.blocks.fused import why_not_fused
from vlm2vec.blocks.linear import onednn_wins
from vlm2vec.encoding.engine import Budget
from vlm2vec.media.cores import core_count

__all__ = ["devices"]

_HEAD_DIM = 128  # of Qwen2-VL's language model, and of most others
_GIB = 2**30


def devices() -> list[dict[str, Any]]:
    """Of each device its name, memory, the types of weights, and how attention and products are computed.

    The first is the one that a model gets where no other is asked for. Of one that fails, "error" says
    why, in place of all else.
    """
    names = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    names += [*(["mps"] if torch.backends.mps.is_available() else []), "cpu"]
    chosen = torch.device(get_device_name())
    default = "cuda:0" if str(chosen) == "cuda" else str(chosen)
    found = [_looked_at(torch.device(name)) for name in sorted(names, key=lambda name: name != default)]
    if found[0]["device"] != "cpu":
        found[0]["default"] = "the first GPU that torch finds"
    else:
        built = "" if torch.version.cuda or torch.version.hip else "; this torch is built for CPUs"
        found[0]["default"] = f"torch finds no GPU{built}"
    return found


def _looked_at(device: torch.device) -> dict[str, Any]:
    try:
        return _device(device)
    except RuntimeError as error:  # of its driver, or all its memory is taken; more lines are for developers
        return {"device": str(device), "error": str(error).partition("\n")[0]}


def _device(device: torch.device) -> dict[str, Any]:
    small = default_dtype(device, torch.bfloat16, parameters=0)
    large = default_dtype(device, torch.bfloat16, parameters=LARGE)
    total, free = _memory(device)
    found: dict[str, Any] = {
        "device": str(device),
        "name": _name(device),
        "memory_gib": total,
        "free_gib": free,
        "dtype": _type_name(small),
        "dtype_of_large_models": _type_name(large),
        "attention": _attention(device, small),
        "products": _products(device),
        "max_tokens_per_batch": Budget.of(device).cost,
    }
    if device.type == "cpu":
        found |= {"cores": core_count(), "threads": torch.get_num_threads()}
    if device.type == "cuda":
        found["capability"] = ".".join(map(str, torch.cuda.get_device_capability(device)))
        found["fused_kernels"] = _fused_kernels(device)
    return found


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    if device.type == "cpu" and cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory(device: torch.device) -> tuple[float | None, float | None]:
    """All memory and what is free, in GiB; `None` where it cannot be asked for."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return round(total / _GIB, 1), round(free / _GIB, 1)
    if not hasattr(os, "sysconf"):
        return None, None
    return _pages("SC_PHYS_PAGES"), _available() or _pages("SC_AVPHYS_PAGES")


def _pages(name: str) -> float | None:
    """A count of pages that the system knows, in GiB."""
    if name not in os.sysconf_names:
        return None
    return round(os.sysconf(name) * os.sysconf("SC_PAGE_SIZE") / _GIB, 1)


def _available() -> float | None:
    """Memory that Linux can give to a process, caches that it would drop included, in GiB."""
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return round(int(line.split()[1]) * 1024 / _GIB, 1)
    return None


def _attention(device: torch.device, dtype: torch.dtype) -> str:
    why_not = why_no_kernel(torch.empty(1, 1, _HEAD_DIM, dtype=dtype, device=device))
    if why_not is None:
        return "torch's variable-length kernel, one launch a layer"
    return (
        f"scaled-dot-product attention for each run of equal lengths (no variable-length kernel: {why_not})"
    )


def _products(device: torch.device) -> str:
    if device.type != "cpu":
        return "torch's own"
    single = "oneDNN's, packed, which won a trial just now" if onednn_wins() else "torch's own"
    if emulates_bfloat16(device):
        return f"{single}; bfloat16 is multiplied in float32, as this CPU has no instructions for it"
    return f"{single}; bfloat16 by the CPU's own instructions"


def _fused_kernels(device: torch.device) -> str:
    why_not = why_not_fused(device)
    if why_not is None:
        return "built and tried just now; EngineSettings(fuse_elementwise=True) uses them"
    return f"none ({why_not})"


def _type_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
