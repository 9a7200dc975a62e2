"""The mini suite: nine small tasks in the public layouts, drawn from a seed, that run in a minute."""

from __future__ import annotations

from vlm2vec.mmeb.mini.drawing import write_mini

__all__ = ["write_mini"]
