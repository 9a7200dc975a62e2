"""`encode_to`: vectors of any number of inputs into a folder; stopped anywhere, it goes on where it was."""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm2vec.arguments import possible_path, whole_number
from vlm2vec.describe import describe_value
from vlm2vec.duration import duration
from vlm2vec.errors import InputError
from vlm2vec.inputs.parse import is_single, paired, with_instructions
from vlm2vec.inputs.parts import Role
from vlm2vec.jobs.job import Id, Job, Read, checked_id, identity_of
from vlm2vec.jobs.part import Part
from vlm2vec.jobs.progress import Progress
from vlm2vec.jobs.shards import ROWS_PER_SHARD, Row, VectorShards

if TYPE_CHECKING:
    from vlm2vec.encoding.policy import ErrorPolicy
    from vlm2vec.model import VLM2Vec

__all__ = ["EncodingReport", "encode_to"]


@dataclass(frozen=True)
class EncodingReport:
    """What a call of `encode_to` has done.

    Attributes:
        path: The folder.
        rows: Rows that the folder has of this job, or of its part.
        encoded: Inputs that were encoded by this call.
        kept: Rows that were there before.
        failed: Rows without a vector.
        seconds: That it took.
        part: Which part of the job it was.
        failed_before: Rows without a vector since an earlier call, which were not tried again.
    """

    path: Path
    rows: int
    encoded: int
    kept: int
    failed: int
    seconds: float
    part: Part
    failed_before: int = 0

    def failures(self) -> Iterator[Row]:
        """Its rows that have no vector, in order, each with its error; they are read from the folder."""
        folder = VectorShards.open(self.path)
        for number in filter(self.part.has, folder.numbers()):
            shard = folder.read(number, mapped=True)
            yield from (row for row in (shard.rows if shard else ()) if row.error is not None)

    def __str__(self) -> str:
        kept = f"; {self.kept:,} were there" if self.kept else ""
        failed = f"; {self.failed:,} {'has' if self.failed == 1 else 'have'} no vector" if self.failed else ""
        if self.failed_before:
            failed += f", {self.failed_before:,} since an earlier run: retry_failed=True tries them again"
        took = duration(self.seconds)
        return f"{self.rows:,} rows in {self.path}: {self.encoded:,} encoded in {took}{kept}{failed}"


def encode_to(
    folder: str | Path,
    inputs: Any,
    *,
    model: VLM2Vec | str | Path | None = None,
    ids: Iterable[Id] | None = None,
    instruction: str | Iterable[str | None] | None = None,
    role: Role = "document",
    on_error: ErrorPolicy = "nan",
    retry_failed: bool = False,
    part: tuple[int, int] | None = None,
    rows_per_shard: int | None = None,
    truncate: bool = False,
    truncate_dim: int | None = None,
    max_tokens_per_batch: int | None = None,
    show_progress_bar: bool | None = None,
) -> EncodingReport:
    """Write the vectors of inputs into a folder, shard by shard; called again, it goes on where it was.

    A job that is stopped, by whatever, loses the shard under way. When it goes on, inputs whose rows are
    there are compared with these by name, not opened and not encoded. `read_vectors` and `stream_vectors`
    read the folder, and so do numpy and any reader of JSON lines.

    Args:
        folder: Where shards and a manifest go; it is made.
        inputs: Any iterable of inputs, as `encode` takes them, the same on each call; more may follow at the
            end. A sequence is read where something is to be done, anything else from its beginning.
        model: A `VLM2Vec`, or its folder or hub id; by default the small one in the package.
        ids: What to call the inputs, one for each; by default their positions.
        instruction: As in `encode`: one for all, or one for each.
        role: Whether the inputs are documents or queries, as for `encode_document` and `encode_query`.
        on_error: What a bad input does: "nan" makes its row NaN, and its error is kept; a callable is called
            with `(index, error)` as well; "raise" ends the job, the shard under way is not written.
        retry_failed: Encode again what has failed before. In place of such an input another may stand.
        part: `(i, n)`, the first being `(1, n)`: do the i-th of n shares, every n-th shard. The shares may be
            done by several machines, into one folder or each into its own; whatever is missing in a folder is
            done by a call without a part.
        rows_per_shard: Inputs that are encoded and written together, 1,024 by default. A stop loses at most
            so many, and pictures that are passed in memory are in memory that long.
        truncate: As in `encode`.
        truncate_dim: As in `encode`.
        max_tokens_per_batch: As in `encode`.
        show_progress_bar: By default only in a terminal. Now and then the log says the same, at INFO.

    Returns:
        Counts, seconds, and the failures.

    Raises:
        VectorsMismatchError: The folder has vectors of another model, instruction, or pixel or frame setting,
            or of other inputs; the difference is named.
        InputError: An argument makes no sense, another job writes into the folder, or it holds other files.
        OSError: The disk is full or cannot be written to; what was written before is whole.

    Example:
        >>> import vlm2vec
        >>> from tempfile import mkdtemp
        >>> folder = mkdtemp()
        >>> vlm2vec.encode_to(folder, ["a red circle", "a blue square"]).encoded
        2
        >>> report = vlm2vec.encode_to(folder, ["a red circle", "a blue square", "a green star"])
        >>> report.kept, report.encoded
        (2, 1)
    """
    from vlm2vec.encoding.policy import check_settings, check_truncation

    start = time.perf_counter()
    share = Part.of(part)
    check_settings(on_error, max_tokens_per_batch=max_tokens_per_batch, truncate_dim=truncate_dim)
    if rows_per_shard is not None:
        rows_per_shard = whole_number("rows_per_shard", rows_per_shard)
    if role not in ("document", "query"):
        raise InputError(f"role is {describe_value(role)}", fix='Pass "document" or "query".')
    if is_single(inputs):
        inputs = [inputs]
    reads = _reads(inputs, instruction, ids)
    encoder = _model_of(model)
    check_truncation(truncate_dim, encoder.full_width)
    settings: dict[str, Any] = {"truncate": truncate, "truncate_dim": truncate_dim}
    path = possible_path(folder)
    path.mkdir(parents=True, exist_ok=True)
    with share.alone(path):
        shards = VectorShards.make(
            path,
            identity_of(encoder, role, instruction, **settings),
            rows_per_shard=rows_per_shard,
            default=ROWS_PER_SHARD,
        )
        job = Job(
            shards,
            encoder,
            share,
            role=role,
            retry_failed=retry_failed,
            on_error=on_error,
            settings={**settings, "max_tokens_per_batch": max_tokens_per_batch},
        )
        total = share.rows(len(inputs), job.size) if isinstance(inputs, Sized) else None
        show = sys.stderr.isatty() if show_progress_bar is None else show_progress_bar
        with Progress(total, show=show) as progress:
            job.run(reads, progress)
    seconds = time.perf_counter() - start
    return EncodingReport(
        path=path,
        rows=job.encoded + job.kept,
        encoded=job.encoded,
        kept=job.kept,
        failed=job.failed,
        seconds=seconds,
        part=share,
        failed_before=job.failed_before,
    )


def _model_of(model: Any) -> VLM2Vec:
    from vlm2vec.model import VLM2Vec

    if isinstance(model, VLM2Vec):
        return model
    if model is None or isinstance(model, str | os.PathLike):
        return VLM2Vec(None if model is None else os.fspath(model))
    raise InputError(
        f"model is {describe_value(model)}", fix="Pass a VLM2Vec, or the folder or hub id of one."
    )


def _reads(inputs: Any, instruction: Any, ids: Iterable[Id] | None) -> Iterator[Read]:
    """What is to be read, in order; nothing of a sequence is read yet."""
    if isinstance(ids, str):
        raise InputError(f"ids is {describe_value(ids)}", fix="Pass a list with one per input.")
    with_instructions(inputs, instruction)  # which compares their lengths; nothing is read
    if ids is not None:
        paired(inputs, ids, "ids")
    later: Iterable[Callable[[], Any]] = (
        (partial(inputs.__getitem__, index) for index in range(len(inputs)))
        if isinstance(inputs, Sequence)
        else (partial(_itself, item) for item in inputs)
    )
    named = zip(later, itertools.count()) if ids is None else paired(later, map(checked_id, ids), "ids")
    return ((read, own, name) for (read, name), own in with_instructions(named, instruction))


def _itself(item: Any) -> Any:
    return item
