"""Worker processes for several devices, as sentence-transformers starts them, for one call at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vlm2vec.describe import describe_value
from vlm2vec.errors import InputError

__all__ = ["in_pool"]


@contextmanager
def in_pool(model: Any, pool: dict[str, Any] | None) -> Iterator[None]:
    """Within it, one call of `encode` has a pool to itself.

    Results in the queue of a pool are numbered by chunk and not by call. Two calls at once, or a call after
    one that was broken off, would take vectors of the other for their own.

    Args:
        model: The model, which is on its device again at the end.
        pool: From `start_multi_process_pool`; `None` where the call starts one of its own, for which
            sentence-transformers takes the model to the CPU and leaves it there.

    Raises:
        InputError: The pool has been stopped.
    """
    if pool is None:
        home = model.device
        try:
            yield
        finally:
            model.to(home)
        return
    if not isinstance(pool, dict):
        raise InputError(
            f"pool is {describe_value(pool)}", fix="Pass what start_multi_process_pool has returned."
        )
    with pool.setdefault("lock", threading.Lock()):
        if not all(map(_is_open, pool["processes"])) or not pool["processes"]:
            raise InputError("the pool has been stopped", fix="Start another with start_multi_process_pool.")
        try:
            yield
        except BaseException as error:
            # What a worker reports is raised when all results are there; else chunks of this call are left.
            if "lost" in pool or not isinstance(error, Exception):
                model.stop_multi_process_pool(pool)
                pool["processes"].clear()
            raise


def _is_open(process: Any) -> bool:
    try:
        process.is_alive()
    except ValueError:  # multiprocessing's word for a process that was closed
        return False
    return True
