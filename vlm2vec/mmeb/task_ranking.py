"""What each query of a task finds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vlm2vec.mmeb.ranking import rank
from vlm2vec.mmeb.samples import Key, TaskData

__all__ = ["rank_task"]

_TOP = 10
"""Places that metrics look at."""


def rank_task(
    data: TaskData,
    queries: Sequence[np.ndarray | None],
    candidates: Sequence[np.ndarray | None],
    *,
    late_interaction: bool,
) -> list[tuple[Key, ...]]:
    """Keys of the first candidates of each query, best first.

    Args:
        data: The task.
        queries: A vector for each query, or `None`: it finds nothing.
        candidates: A vector for each candidate, or `None`: it is not found.
        late_interaction: Whether there is a vector for each token instead.
    """
    keys = list(data.candidates)
    there = [place for place, vector in enumerate(candidates) if vector is not None]
    asking = [place for place, vector in enumerate(queries) if vector is not None]
    found: list[tuple[Key, ...]] = [()] * len(queries)
    if not there or not asking:
        return found
    position = {keys[place]: number for number, place in enumerate(there)}
    pools = None
    if any(query.candidates is not None for query in data.queries):
        # In the order of the task's pool: in a row's own list the right one often stands first, and would win
        # all ties.
        pools = [
            np.array(
                sorted(position[key] for key in (data.queries[place].candidates or keys) if key in position),
                dtype=np.int64,
            )
            for place in asking
        ]
    asked, known = [queries[place] for place in asking], [candidates[place] for place in there]
    if late_interaction:
        ranked = rank(asked, known, pools, k=_TOP)
    else:
        ranked = rank(np.stack(asked), np.stack(known), pools, k=_TOP)  # type: ignore[arg-type]  # all are there
    for place, row in zip(asking, ranked, strict=True):
        found[place] = tuple(keys[there[int(number)]] for number in row)
    return found
