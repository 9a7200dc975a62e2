"""`ShardWorker`: the actor that encodes and writes one shard after the other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ray.data.block import BlockAccessor

from vlm2vec.errors import InputError
from vlm2vec.inputs.parts import Role
from vlm2vec.integrations.ray.cell import input_of_cell
from vlm2vec.integrations.ray.loading import load_model
from vlm2vec.jobs.job import Id, Job, Read, checked_id, identity_of
from vlm2vec.jobs.part import Part
from vlm2vec.jobs.progress import Progress
from vlm2vec.jobs.shards import ROWS_PER_SHARD, VectorShards

if TYPE_CHECKING:
    from vlm2vec.model import VLM2Vec

__all__ = ["Counts", "ShardWorker", "WorkerSettings"]


class Counts(NamedTuple):
    """What a worker did of a shard, in rows, as `Job` counts them."""

    encoded: int = 0
    kept: int = 0
    failed: int = 0
    failed_before: int = 0


@dataclass(frozen=True)
class WorkerSettings:
    """What all workers of a job work by. It holds the name of a model, never its weights.

    Attributes:
        folder: Where shards go, which each machine sees under this name.
        column: Where the inputs are.
        id_column: Where their names are; `None` for their positions.
        paths: Whether strings are paths.
        model: Folder or hub id.
        model_kwargs: What else `VLM2Vec` takes.
        role: What inputs are encoded as.
        instruction: One for all.
        retry_failed: Whether rows that failed are encoded again.
        rows_per_shard: `None` for those that the folder has.
        truncate: As in `encode`.
        truncate_dim: As in `encode`.
        max_tokens_per_batch: As in `encode`.
    """

    folder: Path
    column: str
    id_column: str | None
    paths: bool
    model: str | None
    model_kwargs: Mapping[str, Any] | None
    role: Role
    instruction: str | None
    retry_failed: bool
    rows_per_shard: int | None
    truncate: bool
    truncate_dim: int | None
    max_tokens_per_batch: int | None


class ShardWorker:
    """Does shards as `encode_to` does, so that a shard that is there is kept, whoever has written it.

    The model is loaded by the first call and not before: what is wrong with it is an error of that call,
    which comes back to the caller as it is. An error of a constructor would kill the actor.

    Args:
        settings: Of the job.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self.settings = settings

    def start(self) -> int:
        """Load the model, make or open the folder, and tell the rows of a shard.

        Raises:
            VectorsMismatchError: Its vectors are of another model or setting.
            InputError: It holds something else.
            CheckpointError: The model cannot be loaded.
        """
        return self._shards.manifest.rows_per_shard

    def do(self, number: int, spans: Sequence[tuple[int, int]], *blocks: Any) -> Counts:
        """Do one shard.

        Args:
            number: Which.
            spans: Of each block, the first of its rows that belong to the shard, and the one after the last.
            *blocks: Where its inputs are, in order.

        Raises:
            VectorsMismatchError: There are vectors of other inputs.
            InputError: An id is neither a string nor a whole number.
            OSError: The shard cannot be written.
        """
        job = self._job()
        with Progress(None, show=False) as progress:
            job.do(number, self._reads(number, spans, blocks), progress)
        return Counts(job.encoded, job.kept, job.failed, job.failed_before)

    def finish(self, total: int) -> None:
        """Once all shards are there: remove what dead processes left, and note how many rows there are.

        Raises:
            VectorsMismatchError: There are vectors of more.
        """
        self._shards.clean(Part().shards)
        self._job().finish(total, self._shards.numbers())

    @cached_property
    def _model(self) -> VLM2Vec:
        return load_model(self.settings.model, self.settings.model_kwargs)

    @cached_property
    def _shards(self) -> VectorShards:
        from vlm2vec.encoding.policy import check_settings, check_truncation

        settings = self.settings
        if not settings.folder.is_dir():  # it was made where the job was started
            raise InputError(
                "one of the machines does not see this folder",
                fix="Pass one that all of them share, under the same name.",
                source=str(settings.folder),
            )
        check_settings(
            "nan", max_tokens_per_batch=settings.max_tokens_per_batch, truncate_dim=settings.truncate_dim
        )
        check_truncation(settings.truncate_dim, self._model.full_width)
        identity = identity_of(
            self._model,
            settings.role,
            settings.instruction,
            truncate=settings.truncate,
            truncate_dim=settings.truncate_dim,
        )
        return VectorShards.make(
            settings.folder, identity, rows_per_shard=settings.rows_per_shard, default=ROWS_PER_SHARD
        )

    def _job(self) -> Job:
        settings = self.settings
        return Job(
            self._shards,
            self._model,
            Part(),
            role=settings.role,
            retry_failed=settings.retry_failed,
            on_error="nan",
            settings={
                "truncate": settings.truncate,
                "truncate_dim": settings.truncate_dim,
                "max_tokens_per_batch": settings.max_tokens_per_batch,
            },
        )

    def _reads(self, number: int, spans: Sequence[tuple[int, int]], blocks: Sequence[Any]) -> Iterator[Read]:
        settings = self.settings
        positions = itertools.count(number * self._shards.manifest.rows_per_shard)
        for (start, stop), block in zip(spans, blocks, strict=True):
            table = BlockAccessor.for_block(block).to_arrow()
            for place in range(start, stop):
                read = partial(self._input, table[settings.column], place)
                yield read, settings.instruction, self._id(table, place, next(positions))

    def _id(self, table: Any, place: int, position: int) -> Id:
        column = self.settings.id_column
        if column is None:
            return position
        try:
            return checked_id(table[column][place].as_py())
        except InputError as error:
            raise error.at(position, f'column "{column}"') from None

    def _input(self, column: Any, place: int) -> Any:
        return input_of_cell(column[place].as_py(), paths=self.settings.paths)
