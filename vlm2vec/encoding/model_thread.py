"""A thread that computes for event loops: one for each model, which is called off with the task that waits.

Calls come one after the other, so that many of them take no more memory than one, and do not slow down each
other on the same cores. `vlm2vec.serve.batcher` encodes inputs of several callers together.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TypeVar
from weakref import WeakKeyDictionary

from vlm2vec.media.deadline import cancellable, raise_if_cancelled

__all__ = ["in_model_thread"]

T = TypeVar("T")

# Beside the models, not in them: a thread can neither be copied nor pickled.
_threads: WeakKeyDictionary[object, ThreadPoolExecutor] = WeakKeyDictionary()


async def in_model_thread(model: object, work: Callable[[], T]) -> T:
    """What `work` returns, which a thread of the model does when those who came before are done.

    When the task is cancelled, it waits no longer: work that has not begun is dropped, and other work stops
    after the forward pass, packet, frame or picture in hand.

    Args:
        model: Whose thread it is; the thread ends with it.
        work: Encodes something.

    Example:
        >>> asyncio.run(in_model_thread(threading.Event(), lambda: "done"))
        'done'
    """
    stop = threading.Event()
    call = partial(copy_context().run, _until, stop, work)
    try:
        return await asyncio.get_running_loop().run_in_executor(_thread_of(model), call)
    finally:
        stop.set()


def _until(stop: threading.Event, work: Callable[[], T]) -> T:
    with cancellable(stop):
        raise_if_cancelled()
        return work()


def _thread_of(model: object) -> ThreadPoolExecutor:
    known = _threads.get(model)
    return known or _threads.setdefault(model, ThreadPoolExecutor(1, "model of vlm2vec"))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.clear)  # their threads are the parent's
