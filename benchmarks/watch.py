"""What a call takes on a device: time, that of the forward passes in it, memory, and the longest kernels."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

_KERNELS, _LONGEST_NAME = 10, 160


@dataclass(frozen=True)
class Run:
    """One call.

    Attributes:
        seconds: Of the whole call.
        forward_seconds: Of the forward passes in it.
        peak_mb: Memory at its peak above what was held before; `None` without a GPU.
        result: What the call gave.
    """

    seconds: float
    forward_seconds: float
    peak_mb: float | None
    result: Any


class HostEvent:
    """What `torch.cuda.Event` is to a GPU, for a CPU."""

    def record(self) -> None:
        """Note the time."""
        self.at = time.perf_counter()

    def elapsed_time(self, end: HostEvent) -> float:
        """Milliseconds until a later event."""
        return (end.at - self.at) * 1e3


def on_gpu(device: str) -> bool:
    """Whether there are events, kernels and memory of CUDA to look at."""
    return device == "cuda"


def wait(device: str) -> None:
    """Until the device has done all that was asked of it."""
    if on_gpu(device):
        torch.cuda.synchronize()


def give_back(device: str) -> None:
    """Free what nobody refers to."""
    gc.collect()
    if on_gpu(device):
        torch.cuda.empty_cache()


def held_memory(device: str) -> int:
    """Bytes in use; the peak counts from here on."""
    if not on_gpu(device):
        return 0
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def peak_above(held: int, device: str) -> float | None:
    """Memory at its peak above what was held, in MB; `None` without a GPU."""
    return (torch.cuda.max_memory_allocated() - held) / 2**20 if on_gpu(device) else None


def watched(call: Callable[[], Any], network: nn.Module, device: str) -> Run:
    """Time a call, and the forward passes of a network in it by the device's own clock."""
    passes: list[list[Any]] = []

    def begin(*_: Any) -> None:
        events = [torch.cuda.Event(enable_timing=True) if on_gpu(device) else HostEvent() for _ in range(2)]
        passes.append(events)
        events[0].record()

    def end(*_: Any) -> None:
        passes[-1][1].record()

    hooks = network.register_forward_pre_hook(begin), network.register_forward_hook(end)
    held = held_memory(device)
    wait(device)
    started = time.perf_counter()
    try:
        result = call()
        wait(device)
        seconds = time.perf_counter() - started
    finally:
        for hook in hooks:
            hook.remove()
    forward = sum(first.elapsed_time(last) for first, last in passes) / 1e3
    return Run(seconds, forward, peak_above(held, device), result)


def profiled(call: Callable[[], Any], device: str) -> dict[str, Any]:
    """Share of the time of a call in which the device waits, and the kernels that take longest.

    The profiler slows the host down, so that the device waits longer than without it.
    """
    kind = DeviceType.CUDA if on_gpu(device) else DeviceType.CPU
    with profile(activities=[getattr(ProfilerActivity, kind.name)]) as seen:
        begin = time.perf_counter()
        call()
        wait(device)
        seconds = time.perf_counter() - begin
    ranges = ((one.time_range.start, one.time_range.end) for one in seen.events() if one.device_type == kind)
    own_time = "self_device_time_total" if on_gpu(device) else "self_cpu_time_total"
    kernels = [(getattr(one, own_time), one) for one in seen.key_averages() if one.device_type == kind]
    total = sum(taken for taken, _ in kernels)
    longest = sorted(kernels, key=lambda kernel: kernel[0], reverse=True)[:_KERNELS]
    return {
        "waiting_share": 1 - covered(ranges) * 1e-6 / seconds,
        "kernels": [
            {
                "name": one.key[:_LONGEST_NAME],
                "calls": one.count,
                "seconds": taken * 1e-6,
                "share": taken / total,
            }
            for taken, one in longest
        ],
    }


def covered(ranges: Iterable[tuple[float, float]]) -> float:
    """Length of the union of ranges."""
    total, until = 0.0, float("-inf")
    for begin, end in sorted(ranges):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


def matrix_rate(device: str, size: int, dtype: torch.dtype) -> float:
    """Operations a second in a large square product: the peak that shares refer to."""
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    taken = []
    for _ in range(10):
        wait(device)
        begin = time.perf_counter()
        left @ right
        wait(device)
        taken.append(time.perf_counter() - begin)
    return 2 * size**3 / min(taken)
