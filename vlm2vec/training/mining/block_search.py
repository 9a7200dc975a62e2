"""The nearest documents of each query, found block by block: all similarities never exist at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

__all__ = ["Nearest", "nearest"]

Vectors = npt.NDArray[np.float32]


class Nearest(NamedTuple):
    """What was found for `n` queries.

    Attributes:
        scores: `(n, k)` cosines, the greatest first; minus infinity where there are fewer than `k` documents.
        places: `(n, k)` positions in the corpus.
        above: `(n,)` how many documents lie above the query's limit.
    """

    scores: Vectors
    places: npt.NDArray[np.int64]
    above: npt.NDArray[np.int64]


def nearest(
    queries: Vectors,
    corpus: Vectors,
    *,
    k: int,
    limits: Vectors,
    excluded: Callable[[int], Sequence[int]],
    device: torch.device | str = "cpu",
    block: tuple[int, int] = (1024, 16384),
    show_progress_bar: bool | None = None,
) -> Nearest:
    """The `k` documents nearest to each query, of those that are not excluded and not above its limit.

    Args:
        queries: `(n, dim)`, of unit length.
        corpus: `(m, dim)`, of unit length.
        k: How many to find; of `m` documents no more than `m` are found.
        limits: `(n,)` greatest cosine that a document may have.
        excluded: From a query's position to the positions in the corpus that are not for it.
        device: Where to multiply.
        block: Queries and documents at a time: 64 MiB of similarities by default.
        show_progress_bar: By default where there is a terminal and it takes longer than two seconds.

    Example:
        >>> corpus = np.eye(3, dtype=np.float32)
        >>> found = nearest(corpus[:1], corpus, k=2, limits=np.ones(1, np.float32), excluded=lambda _: [0])
        >>> sorted(found.places[0].tolist())
        [1, 2]
    """
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    disable = None if show_progress_bar is None else not show_progress_bar
    bar = tqdm(total=len(queries) * len(corpus), desc="Ranking", disable=disable, delay=2, unit_scale=True)
    with bar, torch.inference_mode():
        for start in range(0, len(queries), block[0]):
            stop = min(start + block[0], len(queries))
            pairs = [(row, place) for row in range(stop - start) for place in excluded(start + row)]
            hidden = torch.tensor(pairs, dtype=torch.int64, device=device).reshape(-1, 2)
            some = torch.from_numpy(queries[start:stop]).to(device)
            limit = torch.from_numpy(limits[start:stop, None]).to(device)
            scores = torch.empty(stop - start, 0, device=device)
            places = torch.empty(stop - start, 0, dtype=torch.int64, device=device)
            above = torch.zeros(stop - start, dtype=torch.int64, device=device)
            for first in range(0, len(corpus), block[1]):
                cosines = some @ torch.from_numpy(corpus[first : first + block[1]]).to(device).T
                width = cosines.shape[1]
                here = hidden[(hidden[:, 1] >= first) & (hidden[:, 1] < first + width)]
                cosines[here[:, 0], here[:, 1] - first] = -torch.inf
                too_near = cosines > limit
                above += too_near.sum(dim=1)
                best, order = cosines.masked_fill_(too_near, -torch.inf).topk(min(k, width))
                scores = torch.cat([scores, best], dim=1)
                places = torch.cat([places, order + first], dim=1)
                scores, order = scores.topk(min(k, scores.shape[1]))
                places = places.gather(1, order)
                bar.update((stop - start) * width)
            parts.append((scores.cpu(), places.cpu(), above.cpu()))
    return Nearest(*(torch.cat(part).numpy() for part in zip(*parts, strict=True)))
