"""`Part`: the share of a job that one process does, and that no other does meanwhile."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm2vec.arguments import is_whole
from vlm2vec.describe import describe_value
from vlm2vec.errors import InputError
from vlm2vec.folder_lock import locked

__all__ = ["Part"]

_LOCK = re.compile(r"\.part-\d+-of-(\d+)\.lock")


@dataclass(frozen=True)
class Part:
    """Every `count`-th shard, from the `number`-th on.

    Attributes:
        number: Which part, the first being 1.
        count: Of how many.
    """

    number: int = 1
    count: int = 1

    @classmethod
    def of(cls, given: Any) -> Part:
        """What a caller passed.

        Raises:
            InputError: It is no part.

        Example:
            >>> Part.of((2, 4))
            Part(number=2, count=4)
        """
        if given is None:
            return cls()
        whole = isinstance(given, tuple | list) and len(given) == 2 and all(is_whole(n, 1) for n in given)
        if not whole or given[0] > given[1]:
            values = given if isinstance(given, tuple | list) else [given]
            shown = " and ".join(map(describe_value, values[:3]))
            raise InputError(f"part is {shown}", fix="Pass two numbers such as (1, 4), the first of four.")
        return cls(int(given[0]), int(given[1]))

    def has(self, shard: int) -> bool:
        """Whether the shard of this number is in it."""
        return shard % self.count == self.number - 1

    @property
    def shards(self) -> range:
        """The numbers of all shards that may be in it."""
        return range(self.number - 1, sys.maxsize, self.count)

    def rows(self, total: int, size: int) -> int:
        """How many of `total` rows are in it, with `size` rows in a shard.

        Example:
            >>> Part(1, 2).rows(25, size=10), Part(2, 2).rows(25, size=10)
            (15, 10)
        """
        starts = range((self.number - 1) * size, total, self.count * size)
        return sum(min(size, total - start) for start in starts)

    @contextmanager
    def alone(self, folder: Path) -> Iterator[None]:
        """Keeps others from doing the same shards in a folder meanwhile; other parts of as many may be done.

        Raises:
            InputError: Another job is at work there.
        """
        own = folder / f".part-{self.number}-of-{self.count}.lock"
        with ExitStack() as stack:
            stack.enter_context(_held(own))
            for entry in sorted(entry.name for entry in os.scandir(folder)):
                match = _LOCK.fullmatch(entry)
                if match and int(match[1]) != self.count:
                    with _held(folder / entry):  # nobody's, or this raises
                        pass
            yield


def _held(lock: Path) -> Any:
    refusal = InputError(
        "another job is writing into this folder",
        fix=f"Wait for it, stop it, or use another folder. Where none is running, remove {lock.name}.",
        source=str(lock.parent),
    )
    return locked(lock, refusal)
