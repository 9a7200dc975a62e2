"""What a job frees serves its next blocks, and does not come from the system anew."""

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
if "job" in sys.argv:
    HostMemory()
before = glibc.mallinfo2().hblks
glibc.malloc(ctypes.c_size_t(int(sys.argv[1]) * 2**20))
print(glibc.mallinfo2().hblks - before)
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33"
)
def test_only_very_large_blocks_are_mapped_one_by_one() -> None:
    def mapped(*options: str) -> int:
        command = [sys.executable, "-c", MAPPED_AFTER, *options]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert mapped("16") == 1
    assert mapped("16", "job") == 0
    assert mapped("40", "job") == 1
