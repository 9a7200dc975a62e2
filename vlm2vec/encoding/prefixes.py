"""Prefixes that inputs share, found in their tokens, so that each is computed once.

Attention is causal, so the states of a prefix do not depend on what follows. The inputs of a batch form a
tree: a node is a run of tokens that all inputs below it share, and an input is the path to its end. Ten
questions about one picture are a node of a thousand tokens and ten short ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

__all__ = ["Node", "paths", "shared_prefixes"]

MIN_SAVED = 16
"""Tokens that a node must save: below that, one more attention call costs more than it spares."""

Symbols = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Node:
    """A run of tokens that is computed once.

    Attributes:
        sequence: A sequence that holds it.
        start: Its first token there; all before are its ancestors'.
        end: One past its last token.
        users: Sequences that it belongs to.
    """

    sequence: int
    start: int
    end: int
    users: tuple[int, ...]


def shared_prefixes(sequences: Sequence[Symbols]) -> list[Node]:
    """Nodes that together hold each sequence once, as few tokens as pays.

    Args:
        sequences: The tokens of each as numbers, equal where tokens and their media are equal.

    Example:
        >>> text = np.arange(20)
        >>> nodes = shared_prefixes([np.append(text, 7), np.append(text, 8), np.array([5])])
        >>> [(node.start, node.end, node.users) for node in nodes]
        [(0, 1, (2,)), (0, 20, (0, 1)), (20, 21, (0,)), (20, 21, (1,))]
    """
    # Big-endian bytes compare like the numbers themselves, and much faster.
    order = sorted(range(len(sequences)), key=lambda i: sequences[i].astype(">u8").tobytes())
    common = [_common(sequences[a], sequences[b]) for a, b in pairwise(order)]
    nodes: list[Node] = []
    groups = [(0, len(order), 0)]
    while groups:
        first, stop, start = groups.pop()
        shared = min(common[first : stop - 1], default=len(sequences[order[first]]))
        count = stop - first
        end = shared if count == 1 or (count - 1) * (shared - start) >= MIN_SAVED else start
        if end > start:
            nodes.append(Node(order[first], start, end, tuple(sorted(order[first:stop]))))
        if count > 1:
            parts = [first, *(i + 1 for i in range(first, stop - 1) if common[i] == shared), stop]
            groups += [(a, b, end) for a, b in pairwise(parts)]
    # Equal shapes next to each other: they attend in one call.
    return sorted(nodes, key=lambda node: (node.end, node.end - node.start, node.users))


def paths(nodes: Sequence[Node], lengths: Sequence[int]) -> list[npt.NDArray[np.int64]]:
    """Where the tokens of each sequence are, when the nodes lie one after the other.

    Args:
        nodes: As `shared_prefixes` gives them.
        lengths: Tokens of each sequence.
    """
    rows = [np.empty(length, dtype=np.int64) for length in lengths]
    for node, offset in zip(nodes, _offsets(nodes), strict=True):
        for user in node.users:
            rows[user][node.start : node.end] = np.arange(offset, offset + node.end - node.start)
    return rows


def _offsets(nodes: Sequence[Node]) -> Iterator[int]:
    offset = 0
    for node in nodes:
        yield offset
        offset += node.end - node.start


def _common(first: Symbols, second: Symbols) -> int:
    """Tokens at the start that are the same in both."""
    length = min(len(first), len(second))
    different = np.flatnonzero(first[:length] != second[:length])
    return int(different[0]) if len(different) else length
