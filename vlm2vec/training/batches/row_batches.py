"""Batches for one rank: rows drawn by a sampler, read ahead, and replaced where one cannot be used."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from vlm2vec.errors import InputError, VLM2VecError
from vlm2vec.training.batches.row_pairs import RowParser, owner_of
from vlm2vec.training.data.mixture import Mixture
from vlm2vec.training.data.rows import Row, check_row, placed, read_row
from vlm2vec.training.loss.grad_cache import Pairs
from vlm2vec.training.protocol import BatchSampler

__all__ = ["RowBatch", "RowBatches"]

logger = logging.getLogger(__name__)

_READER = "vlm2vec-rows"
_STREAM = 2  # the second number of the seed; those of the sampler are 0 and 1


class _Drawn(NamedTuple):
    source: int
    place: int
    row: Row


@dataclass(frozen=True)
class RowBatch:
    """A batch of one rank.

    Attributes:
        drawn: Its rows, and where they lie.
        pairs: The same, parsed.
    """

    drawn: Sequence[_Drawn]
    pairs: Pairs


@dataclass
class RowBatches:
    """An endless iterable of batches, each read while the one before it is used.

    Attributes:
        mixture: The sources.
        sampler: Says which rows; an iterator begins where it stands.
        parser: Makes `Pairs` of rows.
        replace: Whether a row that cannot be used is replaced by another of its source; otherwise its error
            ends the iteration.
        seed: Of the replacements.
        bad: Source and place of each row that was replaced.
    """

    mixture: Mixture
    sampler: BatchSampler
    parser: RowParser
    replace: bool = False
    seed: int = 0
    bad: set[tuple[int, int]] = field(default_factory=set)

    def __iter__(self) -> Iterator[dict[str, RowBatch | VLM2VecError]]:
        """Batches without end, or the error that ends them, under `batch`, as trainers pass them around."""
        reader = ThreadPoolExecutor(1, _READER)
        try:
            coming = reader.submit(self._read, next(self.sampler))
            while True:
                batch = coming.result()
                coming = reader.submit(self._read, next(self.sampler))
                yield {"batch": batch}
        finally:
            # The garbage collector may close this in the reader's own thread, which cannot wait for itself.
            reader.shutdown(wait=not threading.current_thread().name.startswith(_READER))

    def without(self, batch: RowBatch, error: VLM2VecError) -> RowBatch:
        """The batch with another row in place of the one that an error is about.

        Args:
            batch: A batch of this object.
            error: Its index is that of an input of `batch.pairs`: queries first, then documents.

        Raises:
            VLM2VecError: Rows are not to be replaced, the source has no other, or the error is about none.
        """
        return self._parsed(self._mended(batch.drawn, error))

    def _read(self, keys: Sequence[tuple[int, int]]) -> RowBatch | VLM2VecError:
        try:
            drawn: list[_Drawn] = []
            taken = set(keys)
            for source, index in keys:
                drawn.append(self._drawn(source, index, taken))
                taken.add((source, drawn[-1].place))
            return self._parsed(drawn)
        except VLM2VecError as error:
            return error

    def _parsed(self, drawn: Sequence[_Drawn]) -> RowBatch:
        while True:
            try:
                return RowBatch(drawn, self.parser([each.row for each in drawn]))
            except VLM2VecError as error:
                drawn = self._mended(drawn, error)

    def _mended(self, drawn: Sequence[_Drawn], error: VLM2VecError) -> list[_Drawn]:
        if error.index is None:
            raise error
        place = owner_of(error.index, [each.row for each in drawn])
        bad = drawn[place]
        origin = self.mixture.sources[bad.source]
        self._leave_out(bad.source, bad.place, placed(error, origin.name, origin.number(bad.place)))
        taken = {(each.source, each.place) for each in drawn}
        return [*drawn[:place], self._drawn(bad.source, bad.place, taken), *drawn[place + 1 :]]

    def _drawn(self, source: int, index: int, taken: Collection[tuple[int, int]]) -> _Drawn:
        """The row, or the first usable one that the batch does not have, in an order of its own."""
        for candidate in self._candidates(source, index, taken):
            try:
                return _Drawn(source, candidate, self._checked(source, candidate))
            except VLM2VecError as error:
                self._leave_out(source, candidate, error)
        name = self.mixture.sources[source].name
        raise InputError(
            "none of its rows can be used", fix="Look at the warnings.", source=f'source "{name}"'
        )

    def _candidates(self, source: int, index: int, taken: Collection[tuple[int, int]]) -> Iterator[int]:
        if (source, index) not in self.bad:
            yield index
        size = len(self.mixture.sources[source])
        order = np.random.default_rng([self.seed, _STREAM, source, index]).permutation(size).tolist()
        # Twice in a batch only where there are too few.
        for avoided in (taken, ()):
            yield from (
                one for one in order if (source, one) not in self.bad and (source, one) not in avoided
            )

    def _checked(self, source: int, index: int) -> Row:
        origin = self.mixture.sources[source]
        name, number = origin.name, origin.number(index)
        try:
            row = read_row(origin, index)
        except VLM2VecError as error:
            raise placed(error, name, number) from error
        return check_row(row, source=name, number=number, allow_urls=self.parser.allow_urls)

    def _leave_out(self, source: int, index: int, error: VLM2VecError) -> None:
        if not self.replace:
            raise error
        if (source, index) not in self.bad:
            logger.warning("Left out, another row of its source is drawn: %s", error)
        self.bad.add((source, index))
