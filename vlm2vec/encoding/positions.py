"""Rotary positions of one prompt, in the scheme of its profile."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Span", "token_positions"]

Span: TypeAlias = int | tuple[int, int, int] | tuple[int, int, int, int]


def token_positions(
    spans: Sequence[Span], scheme: Literal["1d", "mrope", "mrope_max", "mrope_time"]
) -> npt.NDArray[np.int64]:
    """Positions of the tokens of one prompt.

    Args:
        spans: The prompt in order: a number of text tokens, or the merged grid (time, height, width) of a
            picture or clip, in tokens; for "mrope_time" with the ticks from one time step to the next.
        scheme: "1d" numbers all tokens in a row, media too. "mrope" is Qwen2-VL's: text tokens count on in
            all three axes, media tokens have their place in the grid, and what follows goes on after the
            grid's longer side (arXiv 2409.12191, section 2.1; transformers' `Qwen2VLModel.get_rope_index`).
            "mrope_max" goes on after the largest position of all three axes, as transformers 4 does: another
            place behind a clip with more time steps than tokens a side. "mrope_time" does too, and its time
            steps are ticks apart (Qwen2.5-VL, arXiv 2502.13923, section 2.1.2).

    Returns:
        `(tokens, 3)`: time, height and width position of each token.

    Example:
        >>> token_positions([1, (1, 2, 2), 1], "mrope").tolist()
        [[0, 0, 0], [1, 1, 1], [1, 1, 2], [1, 2, 1], [1, 2, 2], [3, 3, 3]]
        >>> token_positions([1, (1, 1, 2)], "1d").tolist()
        [[0, 0, 0], [1, 1, 1], [2, 2, 2]]
        >>> token_positions([(3, 1, 1, 2), 1], "mrope_time").tolist()
        [[0, 0, 0], [2, 0, 0], [4, 0, 0], [5, 5, 5]]
    """
    if scheme == "1d":
        total = sum(span if isinstance(span, int) else prod(span[:3]) for span in spans)
        return np.repeat(np.arange(total)[:, None], 3, axis=1)
    rows, start = [], 0
    for span in spans:
        if isinstance(span, int):
            rows.append(np.repeat(np.arange(start, start + span)[:, None], 3, axis=1))
            start += span
            continue
        grid = np.indices(span[:3]).reshape(3, -1).T
        if scheme == "mrope_time":
            grid[:, 0] *= span[3] if len(span) == 4 else 1
        rows.append(grid + start)
        start += max(span[1:3]) if scheme == "mrope" else int(grid.max(initial=-1)) + 1
    return np.concatenate(rows) if rows else np.zeros((0, 3), dtype=np.int64)
