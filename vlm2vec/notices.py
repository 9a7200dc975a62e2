"""Warnings and log lines that do not land inside a progress bar."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from importlib import import_module
from typing import Any

from vlm2vec.errors import VLM2VecWarning

__all__ = [
    "between_bars",
    "quiet_import",
    "warn",
    "without_bars_in_logs",
    "without_bars_of_transformers",
    "without_news",
]

# bitsandbytes looks for optional kernels for 4-bit weights on a CPU when it is imported, which peft does
# wherever it is installed, and warns where there are none.
_OPTIONAL_KERNELS = "bitsandbytes.backends.cpu.ops"


def quiet_import(module: str) -> Any:
    """Import a module, without news of other packages' optional kernels.

    Example:
        >>> quiet_import("json").dumps([1])
        '[1]'
    """
    with without_news(_OPTIONAL_KERNELS, "from kernels-community"):
        return import_module(module)


@contextmanager
def without_news(logger: str, *parts: str) -> Iterator[None]:
    """Without the lines of another package's logger, inside the block, that its users can do nothing about.

    Args:
        logger: Its name.
        parts: Each such line has one of them.
    """

    def is_news_to_users(record: logging.LogRecord) -> bool:
        return not any(part in record.getMessage() for part in parts)

    theirs = logging.getLogger(logger)
    theirs.addFilter(is_news_to_users)
    try:
        yield
    finally:
        theirs.removeFilter(is_news_to_users)


@contextmanager
def between_bars() -> Iterator[None]:
    """What is written in here stands above the progress bars, which are drawn again below it."""
    tqdm = sys.modules.get("tqdm")
    # Without a bar nothing is to be done; tqdm would make its lock, which all processes share.
    if tqdm is None or not getattr(tqdm.tqdm, "_instances", None):
        yield
        return
    # Not by tqdm's `external_write_mode`, which holds the lock of all bars meanwhile: a log handler that
    # writes through tqdm takes that after its own, and two threads would wait for each other.
    with tqdm.tqdm.get_lock():
        bars = [bar for bar in tqdm.tqdm._instances if hasattr(bar, "start_t")]
    shown = [bar for bar in bars if bar.fp in (sys.stdout, sys.stderr)]
    for bar in shown:
        bar.clear()
    try:
        yield
    finally:
        for bar in shown:
            bar.refresh()


@contextmanager
def without_bars_of_transformers() -> Iterator[None]:
    """No bars of transformers in this thread, such as those of weights that it reads or writes.

    Those of downloads are the hub's, and stay.
    """
    quiet_before = _BARS.quiet.set(True)
    _BARS.hook()
    try:
        yield
    finally:
        _BARS.unhook()
        _BARS.quiet.reset(quiet_before)


class _BarsOfTransformers:
    """Makes the bars of transformers while there is a thread that wants none; those of others are shown."""

    def __init__(self) -> None:
        self.quiet = ContextVar("quiet", default=False)
        self._lock, self._blocks = threading.Lock(), 0
        self._hook_before: Callable[..., Any] | None = None

    def hook(self) -> None:
        from transformers.utils.logging import set_tqdm_hook

        with self._lock:
            if not self._blocks:
                self._hook_before = set_tqdm_hook(self._made)
            self._blocks += 1

    def unhook(self) -> None:
        from transformers.utils.logging import set_tqdm_hook

        with self._lock:
            self._blocks -= 1
            if not self._blocks:
                set_tqdm_hook(self._hook_before)

    def _made(self, factory: Callable[..., Any], args: Sequence[Any], options: Mapping[str, Any]) -> Any:
        if self.quiet.get():
            options = {**options, "disable": True}
        before = self._hook_before
        return factory(*args, **options) if before is None else before(factory, args, options)


_BARS = _BarsOfTransformers()


@contextmanager
def without_bars_in_logs() -> Iterator[None]:
    """No bars of transformers in this thread where they would land in a file or a pipe."""
    from huggingface_hub.constants import HF_HUB_DISABLE_PROGRESS_BARS

    wanted = HF_HUB_DISABLE_PROGRESS_BARS is False  # by the environment, which has the last word
    with nullcontext() if sys.stderr.isatty() or wanted else without_bars_of_transformers():
        yield


def warn(message: str, category: type[Warning] = VLM2VecWarning, *, stacklevel: int = 1) -> None:
    """As `warnings.warn`, between progress bars.

    Args:
        message: What to say, with the name of the file that it is about.
        category: Of the warning.
        stacklevel: 1 is the line that calls this function.
    """
    with between_bars():
        warnings.warn(message, category, stacklevel=stacklevel + 1)
