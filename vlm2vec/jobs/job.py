"""`Job`: the shards of one part of a job, one after the other.

Inputs are read in order, a shard at a time. Of a shard that is there, inputs are compared with what its rows
say, without opening their files. A shard that is not there is encoded on its own, so that its vectors do not
depend on where a job was stopped, and written in one go.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from vlm2vec.arguments import is_whole
from vlm2vec.describe import describe_value
from vlm2vec.encoding.prompt import with_role
from vlm2vec.errors import InputError, VectorsMismatchError, VLM2VecError
from vlm2vec.inputs.parse import parse_input
from vlm2vec.inputs.parts import Clip, Document, Input, Role, Text
from vlm2vec.jobs.part import Part
from vlm2vec.jobs.progress import Progress
from vlm2vec.jobs.shards import Row, Shard, VectorShards
from vlm2vec.media.source import Source
from vlm2vec.sameness import input_digest
from vlm2vec.vectors_identity import VectorsIdentity

if TYPE_CHECKING:
    from vlm2vec.encoding.policy import ErrorPolicy
    from vlm2vec.model import VLM2Vec

__all__ = ["Id", "Job", "Read", "checked_id", "identity_of"]

Id: TypeAlias = "str | int"
Read: TypeAlias = "tuple[Callable[[], Any], str | None, Id]"
"""What gives an input when it is called, its instruction, and what it is called."""

Item: TypeAlias = "Input | VLM2VecError"


class Job:
    """One call of `encode_to`: what it does with each of its shards, and what has come of them.

    Args:
        shards: The folder.
        model: The model.
        part: Which shards are its own.
        role: What inputs are encoded as.
        retry_failed: Whether rows that failed are encoded again.
        on_error: What an error does.
        settings: Of `encode_stream`.

    Attributes:
        encoded: Inputs that were encoded, with or without success.
        kept: Rows that were there before.
        failed: Rows without a vector.
        failed_before: Those of them that were there before, and were not tried again.
    """

    def __init__(
        self,
        shards: VectorShards,
        model: VLM2Vec,
        part: Part,
        *,
        role: Role,
        retry_failed: bool,
        on_error: ErrorPolicy,
        settings: dict[str, Any],
    ) -> None:
        self.shards = shards
        self.model = model
        self.part = part
        self.role = role
        self.retry_failed = retry_failed
        self.on_error = on_error
        self.settings = {**settings, "prompt_name": role if role in model.prompts else None}
        self.size = shards.manifest.rows_per_shard
        self.encoded = self.kept = self.failed = self.failed_before = 0

    def run(self, reads: Iterator[Read], progress: Progress) -> None:
        """Do all shards of the part, in order.

        Args:
            reads: All inputs of the job.
            progress: Is told of each row.

        Raises:
            VectorsMismatchError: There are vectors of other inputs, or of more.
            VLM2VecError: An input failed, and `on_error` is "raise".
            OSError: A shard cannot be written.
        """
        there = self.shards.numbers()
        self.shards.clean(self.part.shards)
        total = 0
        for number in itertools.count():
            some = itertools.islice(reads, self.size)
            count = self.do(number, some, progress) if self.part.has(number) else sum(1 for _ in some)
            total += count
            if count < self.size:
                break
        self.finish(total, there)

    def finish(self, total: int, there: Sequence[int]) -> None:
        """Note how many inputs the job has, once all were read.

        Args:
            total: So many.
            there: Numbers of the shards that were there before, in order.

        Raises:
            VectorsMismatchError: There are vectors of more.
        """
        if (there and there[-1] * self.size >= total) or (self.shards.manifest.rows or 0) > total:
            raise self._too_few(total)
        self.shards.finish(total)

    def do(self, number: int, reads: Iterable[Read], progress: Progress) -> int:
        """Do one shard, and tell how many inputs it has.

        Args:
            number: Which.
            reads: Its inputs.
            progress: Is told of each row.

        Raises:
            VectorsMismatchError: There are vectors of other inputs, or of more.
            VLM2VecError: An input failed, and `on_error` is "raise".
            OSError: The shard cannot be written.
        """
        start = number * self.size
        before = self.shards.read(number, mapped=True)
        known = before.rows if before else []
        rows: list[Row] = []
        todo: list[tuple[int, Item]] = []  # with their places in the shard
        for place, (read, instruction, name) in enumerate(reads):
            item = self._parsed(read(), instruction, start + place)
            row = _row(item, start + place, name)
            if place >= len(known) or (self.retry_failed and known[place].error is not None):
                todo.append((place, item))
                rows.append(row)
            else:
                self._check_same(known[place], row)
                rows.append(known[place])
                self.failed_before += known[place].error is not None
        if len(rows) < len(known):
            raise self._too_few(start + len(rows))
        progress.skip(len(rows) - len(todo))
        if todo or (before and before.torn):
            vectors = np.full((len(rows), self.shards.manifest.identity.dimensions), np.nan, np.float32)
            if before is not None:
                vectors[: len(known)] = before.vectors
                before = None  # some systems do not replace a file that is mapped
            for place, found in self._encoded(todo, start):
                if isinstance(found, VLM2VecError):
                    rows[place] = rows[place].failed(found)
                else:
                    vectors[place] = found
                progress.did(failed=isinstance(found, VLM2VecError))
            self.shards.write(Shard(number, rows, vectors))
        self.encoded += len(todo)
        self.kept += len(rows) - len(todo)
        self.failed += sum(row.error is not None for row in rows)
        return len(rows)

    def _parsed(self, item: Any, instruction: str | None, index: int) -> Item:
        try:
            parsed = parse_input(
                item,
                index=index,
                instruction=instruction,
                **self.model[0].allowed,
                open_files=False,
            )
        except VLM2VecError as error:
            return error
        return with_role(parsed, self.role)

    def _encoded(
        self, todo: Sequence[tuple[int, Item]], start: int
    ) -> Iterator[tuple[int, npt.NDArray[np.float32] | VLM2VecError]]:
        """Places and vectors, or what went wrong, in order; errors are settled."""
        inputs = [item for _, item in todo if isinstance(item, Input)]
        failed: list[VLM2VecError] = []
        vectors: Any = self.model.encode_stream(
            inputs,
            on_error=lambda _, error: failed.append(error),
            window=max(1, len(inputs)),  # the whole shard: batches do not depend on what was done before
            **self.settings,
        )
        with closing(vectors):
            for place, item in todo:
                row: Any = item
                if isinstance(item, Input):
                    _, row = next(vectors)
                    row = failed.pop() if failed else row
                if isinstance(row, VLM2VecError):
                    row.index = start + place
                    if self.on_error == "raise":
                        raise row
                    if callable(self.on_error):
                        self.on_error(row.index, row)
                yield place, row

    def _check_same(self, before: Row, now: Row) -> None:
        """Raise unless the input in a place is the one that stood there."""
        if (before.id, before.input) == (now.id, now.input):
            return
        fix = "Pass the inputs that the job began with, in their order, or use another folder."
        if before.id != now.id:
            cause = f"it is called {before.id!r} there, and {now.id!r} here"
        elif before.error is not None:
            cause = f"there, {before.source or 'another input'} has failed, and this is {now.source}"
            fix = f"retry_failed=True (--retry-failed) puts it in that place. {fix}"
        elif before.source != now.source:
            cause = f"the vector there is of {before.source}, and this is {now.source}"
        else:
            cause = f"the vector there is of {before.source} with other content, options or instruction"
        raise VectorsMismatchError(cause, fix=fix, index=now.index, source=str(self.shards.folder))

    def _too_few(self, count: int) -> VectorsMismatchError:
        return VectorsMismatchError(
            f"there are vectors of more than {count:,} inputs, and these are {count:,}",
            fix="Pass all inputs that the job began with, or use another folder.",
            source=str(self.shards.folder),
        )


def identity_of(
    model: VLM2Vec, role: Role, instruction: Any, *, truncate: bool, truncate_dim: int | None
) -> VectorsIdentity:
    """What vectors depend on besides their inputs, whose own instructions belong to them."""
    for_all = isinstance(instruction, str)
    return VectorsIdentity.of(
        model,
        instruction=instruction if for_all else model.prompts.get(role) or "",
        truncate_dim=truncate_dim,
        settings={
            "role": role,
            "truncate": truncate,
            "instructions": "one for all" if for_all or instruction is None else "one for each",
        },
    )


def checked_id(name: Any) -> Id:
    """An id as it is kept.

    Raises:
        InputError: It is neither a string nor a whole number.
    """
    if isinstance(name, str):
        return str(name)
    if is_whole(name):
        return int(name)
    raise InputError(f"an id is {describe_value(name)}", fix="Pass strings or whole numbers.")


def _row(item: Item, index: int, name: Id) -> Row:
    if isinstance(item, VLM2VecError):
        return Row(index, name, item.source or "", "")
    media = [part for part in item.parts if not isinstance(part, Text)]
    source, page, start, end = item.describe(), None, None, None
    if len(media) == 1:
        content = media[0].content
        if isinstance(content, Source) and content.data is None:
            # As a whole, without what follows the path of an address, which may be a secret.
            source = str(content.path) if content.url is None else content.url.partition("?")[0]
        if isinstance(media[0], Document) and isinstance(media[0].pages, int):
            page = media[0].pages
        if isinstance(media[0], Clip):
            start, end = media[0].start, media[0].end
    return Row(index, name, source, input_digest(item), page, start, end)
