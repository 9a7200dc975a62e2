"""What a job frees serves its next blocks, and does not come from the system anew."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from vlm2vec.encoding import host_memory
from vlm2vec.encoding.host_memory import HostMemory

NEW_PAGES = """
import ctypes, resource, sys
from vlm2vec.encoding.host_memory import HostMemory, give_back_end

glibc = ctypes.CDLL(None)
glibc.malloc.restype = ctypes.c_void_p
glibc.free.argtypes = [ctypes.c_void_p]
glibc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
size, kind = int(sys.argv[1]) * 2**20, sys.argv[2]
HostMemory(reuse=kind == "reuse")
give_back_end()  # leaves that as it is


def use_and_free():
    block = glibc.malloc(size)
    glibc.memset(block, 1, size)
    glibc.free(block)


use_and_free()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use_and_free()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES_OF_MIB = 2**20 // os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0


needs_glibc = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="needs glibc"
)


def plain_environment() -> dict[str, str]:
    """Without what would decide in this package's place."""
    others = "GLIBC_TUNABLES", "LD_PRELOAD"
    return {
        name: value
        for name, value in os.environ.items()
        if name not in others and not name.startswith("MALLOC_")
    }


@needs_glibc
@pytest.mark.parametrize("kind", ["job", "reuse"])
def test_only_very_large_blocks_have_new_pages_each_time(kind: str) -> None:
    def new_pages(mib: int) -> int:
        command = [sys.executable, "-c", NEW_PAGES, str(mib), kind]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=plain_environment())
        return int(done.stdout)

    assert new_pages(16) < 100
    assert new_pages(40) > 30 * PAGES_OF_MIB


KEPT_BY_A_THREAD = """
import ctypes, sys, threading, time
from pathlib import Path
from vlm2vec.encoding.host_memory import HostMemory, give_back_end

glibc = ctypes.CDLL(None)
glibc.malloc.restype = ctypes.c_void_p
glibc.free.argtypes = [ctypes.c_void_p]
glibc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]


def resident():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Rss"))) // 1024


def work():
    before = resident()
    block = glibc.malloc(20 * 2**20)
    glibc.memset(block, 1, 20 * 2**20)
    glibc.free(block)
    glibc.malloc_trim(0)
    print(resident() - before)
    for _ in range(int(sys.argv[1])):
        give_back_end()
    print(resident() - before)


HostMemory()
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


@needs_glibc
def test_a_thread_gives_back_the_end_of_its_heap() -> None:
    def kept(calls: int) -> list[int]:
        command = [sys.executable, "-c", KEPT_BY_A_THREAD, str(calls)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=plain_environment())
        return [int(line) for line in done.stdout.split()]

    if kept(0)[1] < 15:
        pytest.skip("this glibc gives back the ends of all heaps by itself")
    before, after = kept(1)
    assert before >= 15
    assert after <= 5


@pytest.mark.parametrize(("reuse", "share"), [(False, 0.02), (True, 0.01)])
def test_giving_back_takes_a_small_share_of_the_time(
    monkeypatch: pytest.MonkeyPatch, reuse: bool, share: float
) -> None:
    clock, taken = 0.0, 0.0

    def trim(_: int) -> None:
        nonlocal clock, taken
        memory.give_back()  # as another thread would meanwhile
        seconds = 0.002 + 0.008 * (clock % 1)
        clock, taken = clock + seconds, taken + seconds

    monkeypatch.setattr(host_memory, "time", SimpleNamespace(monotonic=lambda: clock))
    monkeypatch.setattr(host_memory, "keep_freed_memory", lambda **_: None)
    monkeypatch.setattr(host_memory, "_glibc", {"malloc_trim": trim}.__getitem__)
    memory = HostMemory(reuse=reuse)
    memory.give_back()
    assert not taken  # a short job gives nothing back
    while clock < 100:
        clock += 0.01
        memory.give_back()
    assert 0.95 * share < taken / clock < 1.05 * share
    clock, taken = clock + 3600, 0.0  # waiting for inputs
    for _ in range(1000):
        memory.give_back()
    assert 0.4 < taken < 0.51


def test_a_call_that_waited_long_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, calls = 0.0, 0

    def trim(_: int) -> None:
        nonlocal clock, calls
        clock, calls = clock + 5, calls + 1

    monkeypatch.setattr(host_memory, "time", SimpleNamespace(monotonic=lambda: clock))
    monkeypatch.setattr(host_memory, "keep_freed_memory", lambda **_: None)
    monkeypatch.setattr(host_memory, "_glibc", {"malloc_trim": trim}.__getitem__)
    memory = HostMemory()
    for _ in range(1000):
        clock += 0.01
        memory.give_back()
    assert calls > 2
