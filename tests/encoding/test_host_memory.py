"""What a job frees serves its next blocks, and does not come from the system anew."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

NEW_PAGES = """
import ctypes, resource, sys
from vlm2vec.encoding.host_memory import HostMemory

glibc = ctypes.CDLL(None)
glibc.malloc.restype = ctypes.c_void_p
glibc.free.argtypes = [ctypes.c_void_p]
glibc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
size, kind = int(sys.argv[1]) * 2**20, sys.argv[2]
HostMemory(reuse=kind == "reuse")


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


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="needs glibc"
)
@pytest.mark.parametrize("kind", ["job", "reuse"])
def test_only_very_large_blocks_have_new_pages_each_time(kind: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}

    def new_pages(mib: int) -> int:
        command = [sys.executable, "-c", NEW_PAGES, str(mib), kind]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        return int(done.stdout)

    assert new_pages(16) < 100
    assert new_pages(40) > 30 * PAGES_OF_MIB
