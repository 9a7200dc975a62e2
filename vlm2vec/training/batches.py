"""Batches for one rank: rows drawn by a sampler, read ahead, and replaced where one cannot be used."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Collection, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from vlm2vec.encoding.prompt import with_default_instruction, with_role
from vlm2vec.errors import InputError, VLM2VecError
from vlm2vec.inputs.access import Allowed
from vlm2vec.notices import between_bars
from vlm2vec.sameness import identity
from vlm2vec.training.data.mixture import Mixture
from vlm2vec.training.data.rows import Row, check_row, read_row
from vlm2vec.training.loss.grad_cache import Pairs
from vlm2vec.training.protocol import BatchSampler

__all__ = ["RowBatch", "RowBatches", "RowParser", "owner_of"]

logger = logging.getLogger(__name__)

_READER = "vlm2vec-rows"
_STREAM = 2  # the second number of the seed; those of the sampler are 0 and 1


class _Drawn(NamedTuple):
    source_index: int
    row_index: int
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
        sampler: Says which rows; an iterator starts at its current step.
        parser: Makes `Pairs` of rows.
        replace: Whether a row that cannot be used is replaced by another of its source; otherwise its error
            ends the iteration.
        seed: Of the replacements.
        allowed: `allow_urls` and `allow_files`, as `parse_input` takes them.
        bad: Index of the source, and of the row in it, of each row that was replaced.
    """

    mixture: Mixture
    sampler: BatchSampler
    parser: RowParser
    replace: bool = False
    seed: int = 0
    allowed: Allowed = field(default_factory=Allowed)
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
            for source_index, index in keys:
                drawn.append(self._drawn(source_index, index, taken))
                taken.add((source_index, drawn[-1].row_index))
            return self._parsed(drawn)
        except VLM2VecError as error:
            return error

    def _parsed(self, drawn: Sequence[_Drawn]) -> RowBatch:
        return RowBatch(drawn, self.parser([item.row for item in drawn]))

    def _mended(self, drawn: Sequence[_Drawn], error: VLM2VecError) -> list[_Drawn]:
        if error.index is None:
            raise error
        position = owner_of(error.index, [item.row for item in drawn])
        bad = drawn[position]
        origin = self.mixture.sources[bad.source_index]
        self._leave_out(
            bad.source_index, bad.row_index, error.under(f"{origin.name}, row {origin.number(bad.row_index)}")
        )
        taken = {(item.source_index, item.row_index) for item in drawn}
        return [
            *drawn[:position],
            self._drawn(bad.source_index, bad.row_index, taken),
            *drawn[position + 1 :],
        ]

    def _drawn(self, source_index: int, index: int, taken: Collection[tuple[int, int]]) -> _Drawn:
        """The row, or the first usable one that the batch does not have, in an order of its own."""
        for candidate in self._candidates(source_index, index, taken):
            try:
                return _Drawn(source_index, candidate, self._checked(source_index, candidate))
            except VLM2VecError as error:
                self._leave_out(source_index, candidate, error)
        name = self.mixture.sources[source_index].name
        raise InputError(
            "none of its rows can be used", fix="Look at the warnings.", source=f'source "{name}"'
        )

    def _candidates(self, source_index: int, index: int, taken: Collection[tuple[int, int]]) -> Iterator[int]:
        if (source_index, index) not in self.bad:
            yield index
        size = len(self.mixture.sources[source_index])
        order = np.random.default_rng([self.seed, _STREAM, source_index, index]).permutation(size).tolist()
        # Twice in a batch only where there are too few.
        for avoided in (taken, ()):
            yield from (
                candidate
                for candidate in order
                if (source_index, candidate) not in self.bad and (source_index, candidate) not in avoided
            )

    def _checked(self, source_index: int, index: int) -> Row:
        origin = self.mixture.sources[source_index]
        name, number = origin.name, origin.number(index)
        try:
            row = read_row(origin, index)
        except VLM2VecError as error:
            raise error.under(f"{name}, row {number}") from error
        return check_row(row, source=name, number=number, open_files=True, **self.allowed)

    def _leave_out(self, source_index: int, index: int, error: VLM2VecError) -> None:
        if not self.replace:
            raise error
        if (source_index, index) not in self.bad:
            with between_bars():
                logger.warning("Left out, another row of its source is drawn: %s", error)
        self.bad.add((source_index, index))


class RowParser:
    """Makes `Pairs` of rows.

    Args:
        prompts: The model's default instructions, under `query` and `document`, for rows without.

    Example:
        >>> from vlm2vec.training.data.rows import check_row
        >>> cat = {"query": "a cat", "document": "a picture of a cat"}
        >>> dog = {"query": "a dog", "document": "a picture of a dog", "negatives": ["a wolf"]}
        >>> pairs = RowParser({"query": "Find it."})([check_row(cat), check_row(dog)])
        >>> [item.instruction for item in pairs.queries], len(pairs.documents), list(pairs.positives)
        (['Find it.', 'Find it.'], 3, [0, 1])
    """

    def __init__(self, prompts: dict[str, str | None] | None = None) -> None:
        self._prompts = prompts or {}

    def __call__(self, rows: Sequence[Row]) -> Pairs:
        """The batch: all queries, their documents in the same order, then all negatives.

        The index of an input counts queries, documents and negatives in that order, as do the indices of
        errors that come up later; `owner_of` has the row.
        """
        queries = [("query", row.query) for row in rows]
        documents = [("document", row.document) for row in rows]
        documents += [("document", negative) for row in rows for negative in row.negatives]
        items = [
            with_role(with_default_instruction(replace(item, index=index), self._prompts.get(role)), role)
            for index, (role, item) in enumerate([*queries, *documents])
        ]
        contents = [identity(item) for item in items]
        questions = [
            (content, item.instruction) for content, item in zip(contents, items[: len(rows)], strict=False)
        ]
        return Pairs(
            queries=items[: len(rows)],
            documents=items[len(rows) :],
            positives=range(len(rows)),
            query_ids=[_number(key) for key in questions],
            query_contents=[_number(key) for key in contents[: len(rows)]],
            document_ids=[_number(key) for key in contents[len(rows) :]],
        )


def owner_of(index: int, rows: Sequence[Row]) -> int:
    """Which of the rows brought the input at this index of the batch.

    Example:
        >>> from vlm2vec.inputs import Input, Text
        >>> one = Input((Text("one"),))
        >>> rows = [Row(one, one, (one,)), Row(one, one), Row(one, one, (one, one))]
        >>> [owner_of(index, rows) for index in range(9)]
        [0, 1, 2, 0, 1, 2, 0, 2, 2]
    """
    if index < 2 * len(rows):
        return index % len(rows)
    owners = [number for number, row in enumerate(rows) for _ in row.negatives]
    return owners[index - 2 * len(rows)]


def _number(key: Hashable) -> int:
    """64 bits of a key, the same in every process."""
    hashed = hashlib.blake2b(digest_size=8)
    _feed(hashed, key)
    return int.from_bytes(hashed.digest(), "little", signed=True)


def _feed(hashed: Any, key: Hashable) -> None:
    if isinstance(key, tuple):
        hashed.update(f"({len(key)}".encode())
        for part in key:
            _feed(hashed, part)
        return
    content = key if isinstance(key, bytes) else repr(key).encode("utf-8", "surrogatepass")
    hashed.update(f"{type(key).__name__}{len(content)}:".encode())
    hashed.update(content)
