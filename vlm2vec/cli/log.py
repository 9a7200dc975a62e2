"""What the library logs, as lines for those who have no terminal with a progress bar."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["log_lines"]


@contextmanager
def log_lines(name: str) -> Iterator[None]:
    """News of a part of the library, one a line with the time of day, unless standard error is a terminal.

    Args:
        name: Of the logger, such as "vlm2vec.mmeb".
    """
    if sys.stderr.isatty():
        yield
        return
    logger, handler = logging.getLogger(name), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
