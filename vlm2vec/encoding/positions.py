"""Rotary positions of one prompt, in the scheme of its profile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["token_positions"]


def token_positions(
    spans: Sequence[int | tuple[int, int, int]], scheme: Literal["1d", "mrope"]
) -> npt.NDArray[np.int64]:
    """Positions of the tokens of one prompt.

    Args:
        spans: The prompt in order: a number of text tokens, or the merged grid (time, height, width) of a
            picture or clip, in tokens.
        scheme: "1d" numbers all tokens in a row, media too. "mrope" is Qwen2-VL's: text tokens count on in
            all three axes, media tokens have their place in the grid, and what follows goes on after the
            grid's longer side (arXiv 2409.12191, section 2.1; transformers' `Qwen2VLModel.get_rope_index`).

    Returns:
        `(tokens, 3)`: time, height and width position of each token.

    Example:
        >>> token_positions([1, (1, 2, 2), 1], "mrope").tolist()
        [[0, 0, 0], [1, 1, 1], [1, 1, 2], [1, 2, 1], [1, 2, 2], [3, 3, 3]]
        >>> token_positions([1, (1, 1, 2)], "1d").tolist()
        [[0, 0, 0], [1, 1, 1], [2, 2, 2]]
    """
    if scheme == "1d":
        total = sum(span if isinstance(span, int) else int(np.prod(span)) for span in spans)
        return np.repeat(np.arange(total)[:, None], 3, axis=1)
    rows, start = [], 0
    for span in spans:
        if isinstance(span, int):
            rows.append(np.repeat(np.arange(start, start + span)[:, None], 3, axis=1))
            start += span
        else:
            rows.append(np.indices(span).reshape(3, -1).T + start)
            start += max(span[1], span[2])
    return np.concatenate(rows) if rows else np.zeros((0, 3), dtype=np.int64)
