"""Reading what `encode_to` wrote, of one folder or of several that hold the parts of one job."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vlm2vec.arguments import possible_path
from vlm2vec.errors import InputError, VectorsMismatchError
from vlm2vec.jobs.shards import Row, Shard, VectorShards

__all__ = ["read_vectors", "stream_vectors"]


def stream_vectors(
    folder: str | Path | Sequence[str | Path], *, partial: bool = False
) -> Iterator[tuple[npt.NDArray[np.float32], list[Row]]]:
    """The vectors that `encode_to` wrote, shard by shard, in the order of the inputs.

    Args:
        folder: The folder; or several, where machines wrote their parts of one job into folders of their own.
        partial: Whether shards may be missing.

    Yields:
        `(n, dim)` float32 vectors, read from the disk where they are looked at, and a row for each.

    Raises:
        InputError: A folder has no vectors, or a shard is damaged or missing.
        VectorsMismatchError: Folders have vectors of several models, settings or lists of inputs.

    Example:
        >>> import vlm2vec
        >>> from tempfile import mkdtemp
        >>> folder = mkdtemp()
        >>> _ = vlm2vec.encode_to(folder, ["a red circle", "a blue square"], rows_per_shard=1)
        >>> [(vectors.shape, rows[0].source) for vectors, rows in stream_vectors(folder)]
        [((1, 224), 'text "a red circle"'), ((1, 224), 'text "a blue square"')]
    """
    folders = _opened(folder)
    homes = _homes(folders)
    if not partial:
        _check_complete(folders, homes)
    for number in sorted(homes):
        shards = [shard for home in homes[number] if (shard := home.read(number, mapped=True))]
        _check_same(shards, homes[number])
        yield np.asarray(shards[0].vectors), shards[0].rows


def read_vectors(
    folder: str | Path | Sequence[str | Path], *, partial: bool = False
) -> tuple[npt.NDArray[np.float32], list[Row]]:
    """All vectors that `encode_to` wrote, in the order of the inputs.

    Args:
        folder: As `stream_vectors`, which holds a shard in memory at a time.
        partial: Whether shards may be missing.

    Returns:
        `(n, dim)` float32 vectors, NaN where an input failed, and a row for each: `index`, `id`, `source`,
        `page`, `start`, `end`, `error`.

    Raises:
        InputError: As `stream_vectors`.
        VectorsMismatchError: The same.

    Example:
        >>> import vlm2vec
        >>> from tempfile import mkdtemp
        >>> folder = mkdtemp()
        >>> _ = vlm2vec.encode_to(folder, ["a red circle", None])
        >>> vectors, rows = read_vectors(folder)
        >>> vectors.shape, rows[1].error
        ((2, 224), 'None is not an input. ...')
    """
    width = _opened(folder)[0].manifest.identity.dimensions
    arrays: list[npt.NDArray[np.float32]] = [np.empty((0, width), np.float32)]
    rows: list[Row] = []
    for vectors, rows_of_shard in stream_vectors(folder, partial=partial):
        arrays.append(vectors)
        rows += rows_of_shard
    return np.concatenate(arrays), rows


def _opened(folder: str | Path | Sequence[str | Path]) -> list[VectorShards]:
    names = [folder] if isinstance(folder, str | os.PathLike) else list(folder)
    if not names:
        raise InputError("there are no folders of vectors", fix="Pass one at least.")
    opened = [VectorShards.open(possible_path(name)) for name in names]
    first = opened[0]
    for other in opened[1:]:
        first.manifest.identity.check(
            other.manifest.identity, source=f"{first.folder} and {other.folder}", fix="Read them one by one."
        )
        if first.manifest.rows_per_shard != other.manifest.rows_per_shard:
            raise InputError(
                f"shards of {first.folder} have {first.manifest.rows_per_shard:,} rows, and those of "
                f"{other.folder} {other.manifest.rows_per_shard:,}",
                fix="Read them one by one.",
            )
    return opened


def _homes(folders: Sequence[VectorShards]) -> dict[int, list[VectorShards]]:
    """Folders by the number of a shard that they have."""
    homes: dict[int, list[VectorShards]] = {}
    for folder in folders:
        for number in folder.numbers():
            homes.setdefault(number, []).append(folder)
    return homes


def _check_complete(folders: Sequence[VectorShards], homes: dict[int, list[VectorShards]]) -> None:
    source = ", ".join(str(folder.folder) for folder in folders)
    fix = "Run the job again, which goes on, and each of its parts; or pass partial=True for what is there."
    rows = max((folder.manifest.rows or 0 for folder in folders), default=0)
    if all(folder.manifest.rows is None for folder in folders):
        raise InputError("no run has come to the end of the inputs yet", fix=fix, source=source)
    size = folders[0].manifest.rows_per_shard
    missing = [number for number in range(-(-rows // size)) if number not in homes]
    if missing:
        raise InputError(
            f"of {-(-rows // size):,} shards, {len(missing):,} are not there, the first of them number "
            f"{missing[0]}",
            fix=fix,
            source=source,
        )


def _check_same(shards: Sequence[Shard], homes: Sequence[VectorShards]) -> None:
    """Raise if copies of a shard are of several inputs."""
    inputs = [[(row.id, row.input) for row in shard.rows] for shard in shards]
    for others, home in zip(inputs[1:], homes[1:], strict=True):
        if others != inputs[0]:
            raise VectorsMismatchError(
                f"shard {shards[0].number} of {homes[0].folder} and of {home.folder} have other inputs",
                fix="Read them one by one: they are of several jobs.",
            )
