"""The process that reads cases, one after the other; started by `runner.py`, which watches it.

It takes lines of "READER FOLDER" and answers each with a line of JSON: what came of it, and what it cost.
"""

from __future__ import annotations

import faulthandler
import json
import os
import re
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .reader import WrongResultError

__all__ = ["MEMORY_BYTES", "main"]

MEMORY_BYTES = 2 * 2**30
"""What a case may take beyond what the process holds before it."""

_ROOM = MEMORY_BYTES // 4  # address space is not memory yet
_LONGEST = 1500  # characters of an error
_ADDRESS, _CONTROL = re.compile(r"0x[0-9a-f]{9,}"), re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_STATUS = Path("/proc/self/status")


def main() -> None:
    """Read cases until there are no more."""
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    faulthandler.enable()
    warnings.simplefilter("ignore")

    from .readers import READERS

    started: dict[str, Callable[[Path], None]] = {}
    for line in sys.stdin:
        name, folder = line.rstrip("\n").split(" ", 1)
        if name not in started:
            started[name] = READERS[name].start()
        answer = _tried(started[name], Path(folder), READERS[name].seconds)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _tried(read: Callable[[Path], None], folder: Path, seconds: float) -> dict[str, Any]:
    from vlm2vec.errors import VLM2VecError

    held = _memory("VmRSS")
    _limit_memory()
    start = time.process_time()
    found: dict[str, Any] = {"finding": None}
    try:
        read(folder)
        found["outcome"] = "read"
    except VLM2VecError as error:
        found |= {"outcome": type(error).__name__, "text": str(error), **_of_error(error, folder)}
    except BaseException as error:
        found |= {"outcome": type(error).__name__, **_foreign(error)}
    found["seconds"] = time.process_time() - start
    found["bytes"] = max(_memory("VmHWM") - held, 0)
    if found["finding"] is None and found["seconds"] > seconds:
        found |= {"finding": "time", "key": f"time {found['outcome']}"}
    if found["finding"] is None and found["bytes"] > MEMORY_BYTES:
        found |= {"finding": "memory", "key": f"memory {found['outcome']}"}
    return found


def _of_error(error: BaseException, folder: Path) -> dict[str, Any]:
    """What is wrong with one of our own errors about a folder, if anything."""
    text, link = str(error), error
    while link is not None:
        # FFmpeg's own, which is derived of it, refuses sizes that it does not even ask the system for.
        if type(link) is MemoryError:
            return {**_foreign(link), "finding": "memory"}
        link = link.__cause__ or link.__context__  # type: ignore[assignment]
    address = _ADDRESS.search(text)
    # What looks like an address may stand in the case.
    has_address = address is not None and not any(
        address[0].encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file()
    )
    if len(text) > _LONGEST or has_address or _CONTROL.search(text):
        return {**_foreign(error), "finding": "message"}
    return {}


def _foreign(error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if f"{os.sep}vlm2vec{os.sep}" in frame.filename] or frames[-1:]
    where = f"{Path(ours[-1].filename).name}:{ours[-1].name}" if ours else "nowhere"
    wrong = isinstance(error, WrongResultError)
    return {
        "finding": "wrong" if wrong else "foreign",
        "key": f"{type(error).__name__} {where} {str(error)[:40] if wrong else ''}".rstrip(),
        "text": "".join(traceback.format_exception(error))[-6000:],
    }


def _memory(name: str) -> int:
    """Bytes that the system counts for this process; 0 where it does not tell."""
    if not _STATUS.exists():
        return 0
    found = re.search(rf"{name}:\s+(\d+) kB", _STATUS.read_text(encoding="ascii"))
    return int(found[1]) * 1024 if found else 0


def _limit_memory() -> None:
    """Count the peak anew, and refuse what is far beyond `MEMORY_BYTES` more than there is."""
    if not _STATUS.exists():
        return
    import resource

    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    resource.setrlimit(resource.RLIMIT_AS, (_memory("VmSize") + MEMORY_BYTES + _ROOM, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main()
