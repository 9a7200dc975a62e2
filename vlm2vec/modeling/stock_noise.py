"""What transformers says on its way, kept from those who cannot do anything about it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging as stock_logging

__all__ = ["without_stock_noise"]


@contextmanager
def without_stock_noise() -> Iterator[None]:
    """Bars of reading and writing weights in a terminal alone; no warning of names that it uses itself."""
    bars = stock_logging.is_progress_bar_enabled() and not sys.stderr.isatty()
    if bars:
        stock_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*activation_checkpointing", FutureWarning)
            yield
    finally:
        if bars:
            stock_logging.enable_progress_bar()
