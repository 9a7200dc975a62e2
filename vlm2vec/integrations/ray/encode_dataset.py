"""`encode_dataset`: a Ray dataset into a folder of shards, by actors on any number of machines.

A shard is `rows_per_shard` rows that follow one another, and its number says which: so it is the same shard
in each run, whichever actor does it, and one that is there is not done again. For that, the blocks of the
dataset must come in order. This process only counts their rows. Actors fetch the rows from where they are.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from vlm2vec.arguments import whole_number
from vlm2vec.describe import describe_value
from vlm2vec.errors import InputError
from vlm2vec.inputs.parts import Role
from vlm2vec.integrations.ray.loading import check_model, check_role
from vlm2vec.integrations.ray.pieces import Piece, pieces_of_shards
from vlm2vec.integrations.ray.pool import WorkerPool
from vlm2vec.integrations.ray.shard_worker import Counts, WorkerSettings
from vlm2vec.jobs.encode_to import EncodingReport
from vlm2vec.jobs.part import Part
from vlm2vec.jobs.progress import Progress

__all__ = ["encode_dataset"]


def encode_dataset(
    dataset: ray.data.Dataset,
    column: str,
    *,
    output: str | Path,
    model: str | Path | None = None,
    id_column: str | None = None,
    paths: bool = False,
    role: Role = "document",
    instruction: str | None = None,
    retry_failed: bool = False,
    rows_per_shard: int | None = None,
    truncate: bool = False,
    truncate_dim: int | None = None,
    max_tokens_per_batch: int | None = None,
    model_kwargs: Mapping[str, Any] | None = None,
    concurrency: int = 1,
    num_cpus: float | None = None,
    num_gpus: float = 0,
    show_progress_bar: bool | None = None,
) -> EncodingReport:
    """Write the vectors of a Ray dataset into a folder; called again, it goes on where it was.

    The folder is one of `encode_to`: `read_vectors` reads it, and either function goes on with what the other
    began. A row that fails has NaN for a vector and keeps its error. An actor that dies is started again, and
    its shards are done again as far as they are not there.

    Args:
        dataset: Its rows in an order that is the same on each call; more may follow at the end.
        column: Where the inputs are, in the forms that `Encoder` takes.
        output: The folder, which all machines see under this name.
        model: Folder or hub id, which each actor loads; by default the small model in the package.
        id_column: What the inputs are called: strings or whole numbers; by default their positions.
        paths: Whether the strings of the column are paths of files that each machine can read.
        role: Whether the inputs are documents or queries, as for `encode_document` and `encode_query`.
        instruction: As in `encode`, one for all.
        retry_failed: Encode again what has failed before.
        rows_per_shard: Inputs that are encoded and written together, 1,024 by default.
        truncate: As in `encode`.
        truncate_dim: As in `encode`.
        max_tokens_per_batch: As in `encode`.
        model_kwargs: What else `VLM2Vec` takes, such as `{"profile": "vlm2vec-v2", "dtype": "bfloat16"}`.
        concurrency: How many actors, each with a model.
        num_cpus: That each actor takes; by default 1, or none if it takes a GPU. On a CPU it computes with as
            many threads.
        num_gpus: That each actor takes. One with none computes on the CPU.
        show_progress_bar: Rows that are done, by default in a terminal. Ray shows its own bars beside it.

    Returns:
        Counts, seconds, and the failures.

    Raises:
        VectorsMismatchError: The folder has vectors of another model, instruction, or pixel or frame setting,
            or of other inputs; the difference is named.
        InputError: An argument makes no sense, another job writes into the folder, it holds other files, or a
            machine does not see it.
        VLM2VecError: An actor died again and again at the same rows.
        OSError: The disk is full or cannot be written to; what was written before is whole.

    Example:
        >>> dataset = ray.data.from_items(["a red circle", ""])  # doctest: +SKIP
        >>> report = encode_dataset(dataset, "item", output="vectors")  # doctest: +SKIP
        >>> report.encoded, report.failed  # doctest: +SKIP
        (2, 1)
    """
    start = time.perf_counter()
    folder = _folder(output)
    _check(dataset, column, id_column, role)
    if rows_per_shard is not None:
        rows_per_shard = whole_number("rows_per_shard", rows_per_shard)
    settings = WorkerSettings(
        folder=folder,
        column=column,
        id_column=id_column,
        paths=paths,
        model=check_model(model),
        model_kwargs=model_kwargs,
        role=role,
        instruction=instruction,
        retry_failed=retry_failed,
        rows_per_shard=rows_per_shard,
        truncate=truncate,
        truncate_dim=truncate_dim,
        max_tokens_per_batch=max_tokens_per_batch,
    )
    if num_cpus is None:
        num_cpus = 0 if num_gpus else 1
    concurrency = whole_number("concurrency", concurrency)
    _check_room(concurrency * num_cpus)
    show = sys.stderr.isatty() if show_progress_bar is None else show_progress_bar
    rows = dataset.select_columns([name for name in dict.fromkeys((column, id_column)) if name is not None])
    folder.mkdir(parents=True, exist_ok=True)
    with (
        Part().alone(folder),
        WorkerPool(settings, concurrency, num_cpus=num_cpus, num_gpus=num_gpus) as workers,
        Progress(None, show=show) as progress,
    ):
        done = _run(rows, workers, progress)
    return EncodingReport(
        path=folder,
        rows=done.encoded + done.kept,
        encoded=done.encoded,
        kept=done.kept,
        failed=done.failed,
        seconds=time.perf_counter() - start,
        part=Part(),
        failed_before=done.failed_before,
    )


def _run(dataset: ray.data.Dataset, workers: WorkerPool, progress: Progress) -> Counts:
    """Have all shards done."""
    size = workers.start()
    total = Counts()
    with _in_order(dataset):
        for counts in workers.run(pieces_of_shards(_blocks(dataset), size), size):
            total = Counts(*map(sum, zip(total, counts, strict=True)))
            progress.skip(counts.kept)
            failed = counts.failed - counts.failed_before
            for place in range(counts.encoded):
                progress.did(failed=place < failed)
    workers.finish(total.encoded + total.kept)
    return total


@contextmanager
def _in_order(dataset: ray.data.Dataset) -> Iterator[None]:
    """Meanwhile, the blocks of a dataset come in the order of its source."""
    options = dataset.context.execution_options
    before, options.preserve_order = options.preserve_order, True
    try:
        yield
    finally:
        options.preserve_order = before


def _blocks(dataset: ray.data.Dataset) -> Iterator[Piece]:
    for bundle in dataset.iter_internal_ref_bundles():
        for block, metadata, part in zip(bundle.block_refs, bundle.metadata, bundle.slices, strict=True):
            start, stop = (0, metadata.num_rows) if part is None else (part.start_offset, part.end_offset)
            yield Piece(block, start, stop)


def _folder(output: Any) -> Path:
    if not isinstance(output, str | Path):
        raise InputError(f"output is {describe_value(output)}", fix="Pass a folder.")
    if "://" in str(output):
        raise InputError(
            f"output is {output}, an address",
            fix="Pass a folder that all machines share, such as a mounted one.",
        )
    return Path(output).resolve()


def _check(dataset: Any, column: str, id_column: str | None, role: str) -> None:
    if not isinstance(dataset, ray.data.Dataset):
        raise InputError(
            f"dataset is {describe_value(dataset)}",
            fix="Pass one of Ray Data, such as ray.data.from_items(items).",
        )
    check_role(role)
    known = dataset.columns(fetch_if_missing=False)
    for name in (column, id_column):
        if name is not None and known is not None and name not in known:
            raise InputError(f'the dataset has no column "{name}"', fix=f"It has {', '.join(known)}.")


def _check_room(taken: float) -> None:
    """Refuse actors that would leave nothing for reading: all would wait for ever."""
    there = ray.cluster_resources().get("CPU", 0)
    if taken >= there:
        raise InputError(
            f"the actors would take {taken:g} CPUs, of {there:g} that Ray has, and reading needs one",
            fix="Pass a smaller concurrency or num_cpus, or start Ray with more.",
        )
