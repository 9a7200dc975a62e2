"""`sync` in a process that kills itself at a given moment; it notes what it gives to the model.

usage: killed_sync.py FOLDER STORE LOG INPUTS SECONDS
It dies so long after so many inputs were given to the model; with 0 inputs, it lives.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vlm2vec import Index, VLM2Vec


def main(folder: Path, store: Path, log: Path, inputs_until_death: int, seconds: float) -> None:
    """Sync, and die meanwhile as a process dies that is killed, whatever it does."""
    noted = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    stream, fatal = VLM2Vec.encode_stream, threading.Event()

    def encode_stream(self: VLM2Vec, inputs: Any, **settings: Any) -> Iterator[Any]:
        def seen() -> Iterator[Any]:
            for number, item in enumerate(inputs, start=1):
                if number == inputs_until_death:
                    fatal.set()
                os.write(noted, f"encode {item.parts[0].describe()}\n".encode())
                yield item

        return stream(self, seen(), **settings)

    def end() -> None:
        fatal.wait()
        time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGKILL)

    model = VLM2Vec(device="cpu")
    model.encode(["a text", np.zeros((56, 56, 3), np.uint8)])  # what is loaded at first use takes seconds
    Index(Path(tempfile.mkdtemp()) / "other", model).add("a text")
    VLM2Vec.encode_stream = encode_stream  # type: ignore[method-assign]
    threading.Thread(target=end, daemon=True).start()
    Index(store, model).sync(folder, batch_size=16, show_progress_bar=False)
    os.write(noted, b"done\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), int(sys.argv[4]), float(sys.argv[5]))
