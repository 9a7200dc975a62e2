"""Warnings and log lines that do not land inside a progress bar."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from vlm2vec.errors import VLM2VecWarning

__all__ = ["between_bars", "quiet_import", "warn", "without_bars_of_transformers"]

# bitsandbytes looks for optional kernels for 4-bit weights on a CPU when it is imported, which peft does
# wherever it is installed, and warns where there are none.
_OPTIONAL_KERNELS = "bitsandbytes.backends.cpu.ops"


def quiet_import(module: str) -> Any:
    """Import a module, without news of other packages' optional kernels.

    Example:
        >>> quiet_import("json").dumps([1])
        '[1]'
    """
    logger = logging.getLogger(_OPTIONAL_KERNELS)
    logger.addFilter(_is_no_kernel_news)
    try:
        return import_module(module)
    finally:
        logger.removeFilter(_is_no_kernel_news)


def _is_no_kernel_news(record: logging.LogRecord) -> bool:
    return "from kernels-community" not in record.getMessage()


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
    """No bars of transformers inside the block, such as those of the weights that it reads or writes."""
    import transformers.utils.logging as bars
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars

    if not bars.is_progress_bar_enabled():
        yield
        return
    downloads_have_bars = not are_progress_bars_disabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        bars.enable_progress_bar()
        if not downloads_have_bars:
            disable_progress_bars()


def warn(message: str, category: type[Warning] = VLM2VecWarning, *, stacklevel: int = 1) -> None:
    """As `warnings.warn`, between progress bars.

    Args:
        message: What to say, with the name of the file that it is about.
        category: Of the warning.
        stacklevel: 1 is the line that calls this function.
    """
    with between_bars():
        warnings.warn(message, category, stacklevel=stacklevel + 1)
