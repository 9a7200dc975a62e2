"""From training rows to a batch of `Pairs`: parsed inputs, and numbers by which equal ones are known."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from typing import Any

from vlm2vec.encoding.prompt import with_default_instruction
from vlm2vec.inputs.parse import parse_input
from vlm2vec.inputs.parts import Input
from vlm2vec.training.data.row_inputs import identity
from vlm2vec.training.data.rows import Row
from vlm2vec.training.loss.grad_cache import Pairs

__all__ = ["RowParser", "owner_of"]


class RowParser:
    """Makes `Pairs` of rows.

    Args:
        prompts: The model's default instructions, under `query` and `document`, for rows without.
        allow_urls: Whether a string under a media key may be a URL.

    Example:
        >>> rows = [Row("a cat", "a picture of a cat"), Row("a dog", "a picture of a dog", ("a wolf",))]
        >>> pairs = RowParser({"query": "Find it."})(rows)
        >>> [item.instruction for item in pairs.queries], len(pairs.documents), list(pairs.positives)
        (['Find it.', 'Find it.'], 3, [0, 1])
    """

    def __init__(self, prompts: dict[str, str | None] | None = None, *, allow_urls: bool = False) -> None:
        self._prompts = prompts or {}
        self.allow_urls = allow_urls

    def __call__(self, rows: Sequence[Row]) -> Pairs:
        """The batch: all queries, their documents in the same order, then all negatives.

        Raises:
            VLM2VecError: An input cannot be understood. Its index counts queries, documents and negatives in
                that order, as do the indices of errors that come up later; `owner_of` has the row.
        """
        negatives = [(row, negative) for row in rows for negative in row.negatives]
        queries = [("query", row.query, row.query_instruction) for row in rows]
        documents = [("document", row.document, row.document_instruction) for row in rows]
        documents += [("document", negative, row.document_instruction) for row, negative in negatives]
        parsed = [self._parse(index, *each) for index, each in enumerate([*queries, *documents])]
        contents = [identity(value) for _, value, _ in [*queries, *documents]]
        questions = [
            (content, item.instruction) for content, item in zip(contents, parsed[: len(rows)], strict=False)
        ]
        return Pairs(
            queries=parsed[: len(rows)],
            documents=parsed[len(rows) :],
            positives=range(len(rows)),
            query_ids=[_number(each) for each in questions],
            query_contents=[_number(each) for each in contents[: len(rows)]],
            document_ids=[_number(each) for each in contents[len(rows) :]],
        )

    def _parse(self, index: int, role: str, value: Any, instruction: str | None) -> Input:
        item = parse_input(value, index=index, allow_urls=self.allow_urls)
        default = instruction if instruction is not None else self._prompts.get(role)
        return with_default_instruction(item, default)


def owner_of(place: int, rows: Sequence[Row]) -> int:
    """Which of the rows brought the input at this index of the batch.

    Example:
        >>> rows = [Row("q", "d", ("n",)), Row("r", "e"), Row("s", "f", ("m", "o"))]
        >>> [owner_of(place, rows) for place in range(9)]
        [0, 1, 2, 0, 1, 2, 0, 2, 2]
    """
    if place < 2 * len(rows):
        return place % len(rows)
    owners = [number for number, row in enumerate(rows) for _ in row.negatives]
    return owners[place - 2 * len(rows)]


def _number(key: Hashable) -> int:
    """64 bits of a key, the same in every process."""
    hashed = hashlib.blake2b(digest_size=8)
    _feed(hashed, key)
    return int.from_bytes(hashed.digest(), "little", signed=True)


def _feed(hashed: Any, key: Hashable) -> None:
    if isinstance(key, tuple):
        hashed.update(f"({len(key)}".encode())
        for each in key:
            _feed(hashed, each)
        return
    content = key if isinstance(key, bytes) else repr(key).encode("utf-8", "surrogatepass")
    hashed.update(f"{type(key).__name__}{len(content)}:".encode())
    hashed.update(content)
