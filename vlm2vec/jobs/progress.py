"""`Progress`: how far a job is, how fast, and what remains: as a bar, and as lines of the log."""

from __future__ import annotations

import logging
import time
from typing import Any

from tqdm.auto import tqdm

from vlm2vec.duration import duration
from vlm2vec.notices import between_bars

__all__ = ["Progress"]

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 30.0


class Progress:
    """A context manager; the rate counts what was done, not what was there before.

    Args:
        total: Rows of the job; `None` where nobody knows.
        show: Whether to show a bar.
    """

    def __init__(self, total: int | None, *, show: bool) -> None:
        self.total = total
        self.there = self.done = self.failed = 0
        self._start = self._line = time.perf_counter()
        # A bar that is not shown would start tqdm's monitor thread all the same.
        self._bar: Any = tqdm(total=total, desc="Encoding", unit=" rows", smoothing=0) if show else None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def skip(self, rows: int) -> None:
        """Some rows were there."""
        self.there += rows
        if self._bar is not None:
            self._bar.initial += rows
            self._bar.update(rows)

    def did(self, *, failed: bool) -> None:
        """An input was encoded, or failed."""
        self.done += 1
        self.failed += failed
        if self._bar is not None:
            if failed:
                self._bar.set_postfix_str(f"{self.failed:,} failed", refresh=False)
            self._bar.update()
        now = time.perf_counter()
        if now - self._line >= _SECONDS_BETWEEN_LINES:
            self._line = now
            with between_bars():
                logger.info(self.line(now - self._start))

    def line(self, seconds: float) -> str:
        """How far it is after some seconds.

        Example:
            >>> progress = Progress(100, show=False)
            >>> progress.skip(10)
            >>> for failed in (False, False, True):
            ...     progress.did(failed=failed)
            >>> progress.line(6.0)
            '13 of 100 rows, 0.5 rows a second, 2 min 54 s remain, 1 failed'
        """
        rate = self.done / seconds
        of = "" if self.total is None else f" of {self.total:,}"
        parts = [f"{self.there + self.done:,}{of} rows", f"{rate:,.1f} rows a second"]
        if self.total is not None:
            parts.append(f"{duration((self.total - self.there - self.done) / rate)} remain")
        return ", ".join([*parts, *([f"{self.failed:,} failed"] if self.failed else [])])
