"""Large blocks get a place of their own, so that freeing one leaves no gap."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

MAPPED_AFTER = """
import ctypes, sys
from vlm2vec.encoding.host_memory import HostMemory


class Counts(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]


glibc = ctypes.CDLL(None)
glibc.mallinfo2.restype = Counts
glibc.malloc.restype = ctypes.c_void_p
glibc.free.argtypes = [ctypes.c_void_p]
if "apart" in sys.argv:
    HostMemory()
if "reuse" in sys.argv:
    HostMemory(reuse=True)
glibc.free(glibc.malloc(ctypes.c_size_t(16 * 2**20)))  # from here on glibc by itself maps what is larger
before = glibc.mallinfo2().hblks
glibc.malloc(ctypes.c_size_t(2 * 2**20))
print(glibc.mallinfo2().hblks - before)
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33"
)
def test_large_blocks_are_mapped_one_by_one() -> None:
    def mapped(*options: str) -> int:
        command = [sys.executable, "-c", MAPPED_AFTER, *options]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert mapped("apart") == 1
    assert mapped("apart", "reuse") == 0  # as a training step does after an evaluation
    assert mapped() == 0
