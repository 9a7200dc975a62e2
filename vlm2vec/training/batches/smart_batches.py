"""`SmartBatches`: the rows of each source in groups that are hard negatives of each other."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vlm2vec.errors import InputError

if TYPE_CHECKING:
    from vlm2vec.training.data.mixture import Mixture

__all__ = ["GroupedSource", "SmartBatches"]

Rows = npt.NDArray[np.int64]

_MINE = "Mine the groups anew with mine_sub_batches."


@dataclass(frozen=True, eq=False)
class GroupedSource:
    """The groups of one source.

    Each of its rows is in one group, or left over, or was skipped.

    Attributes:
        name: The source's name.
        rows: Its number of rows.
        groups: `(g, size)` row numbers.
        left_over: `(r,)` rows that fill no group, fewer than `size`.
        skipped: What cannot be used, counted by reason: rows, and the documents that several may have.
        similarity: Mean cosine of a query and another document of its group.
        random_similarity: The same for a group drawn at random.
        clashing: Rows with a document in their group that is right for them too, or the other way round. It
            is no negative, so the row has fewer. Where few documents are different, that cannot be helped.
    """

    name: str
    rows: int
    groups: Rows = field(repr=False)
    left_over: Rows = field(repr=False)
    skipped: Mapping[str, int] = field(default_factory=dict)
    similarity: float = 0.0
    random_similarity: float = 0.0
    clashing: int = 0

    def __post_init__(self) -> None:
        if self.groups.ndim != 2 or not self.groups.size:
            raise self._wrong("it has no groups")
        used = np.concatenate([self.groups.ravel(), self.left_over])
        if used.min() < 0 or used.max() >= self.rows:
            raise self._wrong(f"a group has a row that is not one of its {self.rows:,}")
        if len(np.unique(used)) < len(used):
            raise self._wrong("a row is in its groups twice")

    def _wrong(self, cause: str) -> InputError:
        return InputError(cause, fix=_MINE, source=f'source "{self.name}"')


@dataclass(frozen=True, eq=False)
class SmartBatches:
    """Groups of rows for `SmartBatchSampler`; `str()` of it is a table.

    Attributes:
        sources: The sources, in the order of the mixture.
        neighbours: Documents that counted as hard negatives of a row.
        skip: Documents nearer than these, which were passed over.

    Raises:
        InputError: There is no source, or their groups differ in size.

    Example:
        >>> pets = GroupedSource("pets", 5, np.array([[0, 3], [1, 4]]), np.array([2]))
        >>> batches = SmartBatches((pets,), neighbours=1, skip=0)
        >>> batches.sub_batch_size, batches.sizes
        (2, [5])
    """

    sources: tuple[GroupedSource, ...]
    neighbours: int
    skip: int

    def __post_init__(self) -> None:
        if not self.sources:
            raise InputError("there are no sources", fix=_MINE)
        if len({source.groups.shape[1] for source in self.sources}) > 1:
            raise InputError("the groups of the sources differ in size", fix=_MINE)

    @property
    def sub_batch_size(self) -> int:
        """Rows of each group."""
        return int(self.sources[0].groups.shape[1])

    @property
    def sizes(self) -> list[int]:
        """Rows of each source, whether in a group or not."""
        return [source.rows for source in self.sources]

    @property
    def digest(self) -> str:
        """A name for these groups: other groups have another."""
        whole = hashlib.sha256()
        for source in self.sources:
            whole.update(json.dumps([source.name, *source.groups.shape]).encode())
            whole.update(source.groups.astype("<i8").tobytes())
        return whole.hexdigest()[:32]

    def check(self, mixture: Mixture) -> None:
        """Raise unless a mixture has the sources that these groups are of.

        Names and numbers of rows are compared, not the rows.

        Raises:
            InputError: A source has another name or size; the message names it.
        """
        theirs = list(zip(mixture.names, mixture.sizes, strict=True))
        ours = [(source.name, source.rows) for source in self.sources]
        for (name, rows), (old_name, old_rows) in zip(theirs, ours, strict=False):
            if (name, rows) != (old_name, old_rows):
                raise InputError(
                    f'it has {rows:,} rows, and the groups are of "{old_name}" with {old_rows:,}',
                    fix=_MINE,
                    source=f'source "{name}"',
                )
        if len(theirs) != len(ours):
            raise InputError(
                f"the mixture has {len(theirs)} sources, and the groups are of {len(ours)}", fix=_MINE
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one file; a file that is there is replaced.

        Example:
            >>> import tempfile
            >>> pets = GroupedSource("pets", 5, np.array([[0, 3], [1, 4]]), np.array([2]))
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     SmartBatches((pets,), neighbours=1, skip=0).save(f"{folder}/pets.npz")
            ...     SmartBatches.load(f"{folder}/pets.npz").sources[0].groups.tolist()
            [[0, 3], [1, 4]]
        """
        arrays: dict[str, Any] = {}
        sources = []
        for number, source in enumerate(self.sources):
            narrow = np.int32 if source.rows <= 2**31 else np.int64
            arrays[f"groups_{number}"] = source.groups.astype(narrow)
            arrays[f"left_over_{number}"] = source.left_over.astype(narrow)
            plain = {name: value for name, value in vars(source).items() if not isinstance(value, np.ndarray)}
            sources.append({**plain, "skipped": dict(source.skipped)})
        about = {"neighbours": self.neighbours, "skip": self.skip, "sources": sources}
        path = Path(path)
        unfinished = path.with_name(path.name + ".part")
        try:
            with unfinished.open("wb") as file:  # given a name, numpy would add a suffix to it
                np.savez_compressed(file, about=np.array(json.dumps(about)), **arrays)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SmartBatches:
        """Read what `save` wrote.

        Raises:
            InputError: The file is missing, or something else.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                sources = tuple(
                    GroupedSource(
                        **source,
                        groups=file[f"groups_{number}"].astype(np.int64),
                        left_over=file[f"left_over_{number}"].astype(np.int64),
                    )
                    for number, source in enumerate(about["sources"])
                )
            return cls(sources, neighbours=about["neighbours"], skip=about["skip"])
        except InputError:
            raise
        except FileNotFoundError as error:
            raise InputError(
                "the file does not exist", fix="Check the path.", source=Path(path).name
            ) from error
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise InputError(
                f"the file has no smart batches ({error})",
                fix="Pass a file that SmartBatches.save wrote.",
                source=Path(path).name,
            ) from error

    def __str__(self) -> str:
        width = max(len("source"), *(len(source.name) for source in self.sources))
        heads = ("rows", "groups", "left over", "skipped", "clashing", "cosine", "at random")
        lines = [f"{'source':<{width}}  " + "  ".join(f"{head:>9}" for head in heads)]
        for source in self.sources:
            left_over = len(source.left_over)
            skipped = source.rows - source.groups.size - left_over
            counts = (source.rows, len(source.groups), left_over, skipped, source.clashing)
            cells = [f"{count:>9,}" for count in counts]
            cells += [f"{mean:>9.3f}" for mean in (source.similarity, source.random_similarity)]
            lines.append(f"{source.name:<{width}}  " + "  ".join(cells))
        lines.append(
            f"groups of {self.sub_batch_size}; neighbours are the documents at ranks "
            f"{self.skip + 1} to {self.skip + self.neighbours} of a query"
        )
        lines += [
            f"{source.name}: skipped {count:,} {reason}"
            for source in self.sources
            for reason, count in source.skipped.items()
        ]
        return "\n".join(lines)
