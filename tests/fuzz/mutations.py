"""Damage to bytes and to JSON that needs no knowledge of a format, drawn from a seeded generator."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

__all__ = ["INTEGERS", "VALUES", "damaged", "damaged_json", "damaged_text", "damaged_tree", "times"]

# Where parsers go wrong: around powers of two, of either sign, as numbers of any width.
_POWERS = [2**bits + near for bits in (0, 4, 7, 8, 15, 16, 24, 31, 32, 62, 63) for near in (-1, 0, 1)]
INTEGERS = tuple(sorted({sign * power for power in _POWERS for sign in (1, -1)}))
# Where JSON has another value than the reader expects.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 3, 2**31, -(2**63), 10**20, 10**400, 0.5, -0.0, 1e-320, 1e308),
    *(
        float("nan"),
        float("inf"),
        -float("inf"),
        "",
        " ",
        "0",
        "null",
        "../..",
        "/",
        "a\0b",
        "\ud800",
        "é" * 9,
    ),
    *("x" * 5000, [], [[]], [None], {}, {"": {}}, {"a": [1]}, [0] * 300),
)
_WIDTHS = (1, 2, 3, 4, 8)
_MAX_BYTES = 2_000_000


def times(rng: Random) -> int:
    """How often a case is damaged: mostly once or twice."""
    return min(1 + int(rng.expovariate(0.7)), 12)


def damaged(data: bytes, rng: Random, others: Sequence[bytes] = ()) -> bytes:
    """The data with a few places changed, cut, doubled, moved, or taken from another file."""
    content = bytearray(data)
    for _ in range(times(rng)):
        rng.choice(_CHANGES)(content, rng, others)
    return bytes(content[:_MAX_BYTES])


def _place(content: bytearray, rng: Random) -> int:
    """A position; headers are at the start more often than not."""
    end = len(content) if rng.random() < 0.5 else min(len(content), 256)
    return rng.randrange(max(end, 1))


def _span(content: bytearray, rng: Random) -> slice:
    start = _place(content, rng)
    return slice(start, start + min(len(content), int(rng.expovariate(1 / rng.choice((4, 64, 4096)))) + 1))


def _flip(content: bytearray, rng: Random, _: Sequence[bytes]) -> None:
    if content:
        content[_place(content, rng)] ^= 1 << rng.randrange(8)


def _set(content: bytearray, rng: Random, _: Sequence[bytes]) -> None:
    if content:
        content[_place(content, rng)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _integer(content: bytearray, rng: Random, _: Sequence[bytes]) -> None:
    width, start = rng.choice(_WIDTHS), _place(content, rng)
    value = rng.choice((*INTEGERS, len(content), len(content) - start))
    order = rng.choice(("little", "big"))
    content[start : start + width] = (value % 256**width).to_bytes(width, order)


def _near(content: bytearray, rng: Random, _: Sequence[bytes]) -> None:
    """A number that stands there, a little greater or smaller."""
    width, start, order = rng.choice(_WIDTHS), _place(content, rng), rng.choice(("little", "big"))
    value = int.from_bytes(content[start : start + width], order) + rng.randint(-16, 16)
    content[start : start + width] = (value % 256**width).to_bytes(width, order)


def _delete(content: bytearray, rng: Random, _: Sequence[bytes]) -> None:
    del content[_span(content, rng)]


def _double(content: bytearray, rng: Random, _: Sequence[bytes]) -> None:
    span = _span(content, rng)
    content[span.stop : span.stop] = bytes(content[span]) * rng.choice((1, 1, 2, 50))


def _move(content: bytearray, rng: Random, _: Sequence[bytes]) -> None:
    span = _span(content, rng)
    taken = bytes(content[span])
    del content[span]
    place = _place(content, rng)
    content[place:place] = taken


def _fill(content: bytearray, rng: Random, _: Sequence[bytes]) -> None:
    span = _span(content, rng)
    content[span] = bytes([rng.choice((0, 0xFF, 0x20, 0x41))]) * len(content[span])


def _noise(content: bytearray, rng: Random, _: Sequence[bytes]) -> None:
    span = _span(content, rng)
    content[span] = rng.randbytes(len(content[span]))


def _cut(content: bytearray, rng: Random, _: Sequence[bytes]) -> None:
    del content[rng.randrange(len(content) + 1) :]


def _splice(content: bytearray, rng: Random, others: Sequence[bytes]) -> None:
    """The end of another file behind the start of this one, or a piece of it in the middle."""
    if others and (other := rng.choice(others)):
        if rng.random() < 0.5:
            content[rng.randrange(len(content) + 1) :] = other[rng.randrange(len(other)) :]
        else:
            start = rng.randrange(len(other))
            place = _place(content, rng)
            content[place:place] = other[start : start + rng.choice((8, 128, 4096))]


_CHANGES: tuple[Callable[[bytearray, Random, Sequence[bytes]], None], ...] = (
    *(_flip, _flip, _set, _set, _integer, _integer, _integer, _near, _delete, _double),
    *(_move, _fill, _noise, _cut, _splice),
)


def damaged_tree(tree: Any, rng: Random, values: Sequence[Any] = VALUES) -> Any:
    """A tree of dicts and lists with a few of its values replaced, lost, renamed, wrapped or swapped."""
    tree = [copy.deepcopy(tree)]
    for _ in range(times(rng)):
        places = list(_places(tree))
        holder, key = rng.choice(places)
        value = holder[key]
        action = rng.randrange(9)
        if action < 3 or holder is tree:
            holder[key] = copy.deepcopy(rng.choice(values))
        elif action == 3:
            del holder[key]
        elif action == 4:
            other, place = rng.choice(places)
            holder[key] = copy.deepcopy(other[place])
        elif action == 5:
            holder[key] = _nested(value, rng)
        elif action == 6 and isinstance(holder, dict):
            name = rng.choice((key + "_", "", key.upper(), rng.choice(list(holder))))
            holder[name] = holder.pop(key)
        elif action == 7 and isinstance(holder, list):
            holder[key:key] = [copy.deepcopy(value)] * rng.choice((1, 2, 40))
        elif isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**64:
            holder[key] = rng.choice((*INTEGERS, value + 1, value - 1, -value, value * 2, str(value)))
        else:
            holder[key] = copy.deepcopy(rng.choice(values))
    return tree[0]


def _places(tree: Any) -> Any:
    if isinstance(tree, dict | list):
        for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
            yield tree, key
            yield from _places(tree[key])


def _nested(value: Any, rng: Random) -> Any:
    for _ in range(rng.choice((1, 1, 2, 100))):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def damaged_json(data: bytes, rng: Random, others: Sequence[bytes] = ()) -> bytes:
    """A JSON file with other values, seldom with other bytes; what is no JSON is damaged as bytes."""
    if rng.random() < 0.2:
        return damaged(data, rng, others)
    if rng.random() < 0.03:
        return b"[" * rng.choice((10, 100_000)) + data
    try:
        tree = json.loads(data)
    except ValueError:
        return damaged(data, rng, others)
    return json.dumps(damaged_tree(tree, rng)).encode("utf-8", "surrogatepass")


def damaged_text(data: bytes, rng: Random, words: Sequence[bytes]) -> bytes:
    """Text whose numbers and words are other ones, or other words of the format."""
    content = bytearray(data)
    for _ in range(times(rng)):
        start = rng.randrange(len(content) + 1)
        while start < len(content) and not chr(content[start]).isalnum():
            start += 1
        end = start
        while end < len(content) and chr(content[end]).isalnum():
            end += 1
        if content[start:end].isdigit():
            content[start:end] = str(rng.choice((*INTEGERS, rng.randrange(40), end - start))).encode()
        elif rng.random() < 0.7:
            content[start:end] = rng.choice(words)
        else:
            content[start:start] = content[start:end] + b" "
    return bytes(content[:_MAX_BYTES])
