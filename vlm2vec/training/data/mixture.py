"""`Mixture`: the sources that a model is trained on, and how often each is drawn from."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Unpack

from vlm2vec.describe import describe_media, describe_value
from vlm2vec.errors import InputError
from vlm2vec.inputs.access import Allowed
from vlm2vec.training.data.rows import check_rows
from vlm2vec.training.sources.lazy_rows import KeptRows
from vlm2vec.training.sources.source import TrainingSource

if TYPE_CHECKING:
    from vlm2vec.training.settings import FitSettings

__all__ = ["Mixture", "MixturePlan", "PlannedBatches", "PlannedSource"]


@dataclass(frozen=True)
class PlannedSource:
    """One line of a plan.

    Attributes:
        source: The source's name.
        rows: Its number of rows, after its cap.
        weight: Its weight.
        share: Its part of all draws, from 0 to 1.
    """

    source: str
    rows: int
    weight: float
    share: float


@dataclass(frozen=True)
class PlannedBatches:
    """The batches that a run draws from a mixture.

    Attributes:
        batch_size: Rows of a global batch.
        sub_batch_size: Rows of one source that stay together; 0 where each row draws its own source.
        steps: Batches of the run.
        steps_per_epoch: Batches that are as many rows as there are.
    """

    batch_size: int
    sub_batch_size: int
    steps: int
    steps_per_epoch: int

    @property
    def rows(self) -> int:
        """Rows that are drawn, repeated ones included."""
        return self.steps * self.batch_size


@dataclass(frozen=True)
class MixturePlan:
    """What a mixture is made of; `str()` of it is a table.

    Attributes:
        sources: A line for each source, in order.
        batches: What a run draws from them, if its settings are known.
    """

    sources: tuple[PlannedSource, ...]
    batches: PlannedBatches | None = None

    @property
    def rows(self) -> int:
        """Rows of all sources."""
        return sum(line.rows for line in self.sources)

    @property
    def passes(self) -> tuple[float, ...]:
        """How often the run draws each row of a source, on average, in the order of the sources."""
        drawn = 0 if self.batches is None else self.batches.rows
        return tuple(drawn * line.share / line.rows for line in self.sources)

    def __str__(self) -> str:
        width = max(len("source"), *(len(line.source) for line in self.sources))
        lines = [f"{'source':<{width}}  {'rows':>11}  {'weight':>8}  {'share':>7}"]
        lines += [
            f"{line.source:<{width}}  {line.rows:>11,}  {line.weight:>8g}  {line.share:>7.2%}"
            for line in self.sources
        ]
        lines.append(f"{'all':<{width}}  {self.rows:>11,}")
        if self.batches is not None:
            lines += ["", f"batch     {self._batch(self.batches)}", f"steps     {self._steps(self.batches)}"]
        return "\n".join(lines)

    def _batch(self, batches: PlannedBatches) -> str:
        rows = f"{batches.batch_size:,} rows"
        if len(self.sources) == 1:
            return rows
        if not batches.sub_batch_size:
            return f"{rows}, each of a source that it draws"
        count = batches.batch_size // batches.sub_batch_size
        sub_batches = f"{count:,} sub-batch{'es' if count > 1 else ''} of {batches.sub_batch_size:,}"
        return f"{rows}: {sub_batches}, each of one source"

    def _steps(self, batches: PlannedBatches) -> str:
        text = (
            f"{batches.steps:,}: {batches.rows:,} rows, {_short(batches.rows / self.rows)} passes over the "
            f"data of {batches.steps_per_epoch:,} steps each"
        )
        if len(self.sources) == 1:
            return text
        named = sorted(zip(self.passes, (line.source for line in self.sources), strict=True))
        (minimum, first), (maximum, last) = named[0], named[-1]
        return f"{text}, from {_short(minimum)} over {first} to {_short(maximum)} over {last}"


class Mixture:
    """Sources with weights: what `fit` draws its batches from.

    A row is read when it is asked for, by source and position. `(source, row)` pairs, as `SubBatchSampler`
    yields them, are its keys.

    Args:
        sources: The sources.
        training: Settings for training that came with them, such as a recipe's; kept as they are.
        model: The model to start from, if the mixture names one.
        profile: The profile to open it with.
        description: What it is, in a few words.

    Raises:
        InputError: There is no source, one has no rows, or two have the same name.

    Example:
        >>> pairs = [{"query": "a cat", "document": "a photo of a cat"}]
        >>> words = [{"query": "one", "document": "1"}, {"query": "two", "document": "2"}]
        >>> mixture = Mixture([TrainingSource("pets", pairs, weight=3), TrainingSource("numbers", words)])
        >>> mixture[1, 0]
        {'query': 'one', 'document': '1'}
        >>> print(mixture.plan())
        source          rows    weight    share
        pets               1         3   75.00%
        numbers            2         1   25.00%
        all                3
    """

    def __init__(
        self,
        sources: Iterable[TrainingSource],
        *,
        training: Mapping[str, Any] | None = None,
        model: str | None = None,
        profile: str | None = None,
        description: str | None = None,
    ) -> None:
        self.sources = tuple(sources)
        self.training = dict(training or {})
        self.model = model
        self.profile = profile
        self.description = description
        if not self.sources:
            raise InputError("the mixture has no sources", fix="Pass at least one TrainingSource.")
        for source in self.sources:
            if not isinstance(source, TrainingSource):
                raise InputError(
                    f"a source is of the type {type(source).__name__}",
                    fix='Wrap rows as TrainingSource("name", rows).',
                )
            if not len(source):
                raise InputError("it has no rows", fix="Leave it out.", source=f'source "{source.name}"')
        if len(set(self.names)) < len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise InputError(f'two sources are named "{twice}"', fix="Give each a name of its own.")

    @classmethod
    def of(cls, given: Any, *, name: str = "train") -> Mixture:
        """What `fit` is given, as a mixture.

        Args:
            given: A `Mixture`; a `TrainingSource` or several; rows, as a list, a `datasets.Dataset`, a table
                of pandas or pyarrow, or anything with a length and positions; or a dict of such by source
                name, weighted by length.
            name: Of the source, where rows alone are given.

        Raises:
            InputError: It is none of these, or has no rows.

        Example:
            >>> pets = [{"query": "a cat", "document": "a photo of a cat"}]
            >>> Mixture.of(pets).names
            ['train']
            >>> Mixture.of({"pets": pets, "more pets": pets}).sizes
            [1, 1]
        """
        if isinstance(given, Mixture):
            return given
        if isinstance(given, TrainingSource):
            return cls([given])
        if type(given).__name__ in ("DatasetDict", "IterableDatasetDict"):
            # A dict of splits, not of sources: the test split is not to be trained on.
            raise InputError(f"all splits are given: {', '.join(given)}", fix='Pass one, dataset["train"].')
        if isinstance(given, Mapping):
            return cls(
                TrainingSource(source, rows, weight=max(1, _length(rows))) for source, rows in given.items()
            )
        if isinstance(given, (str, os.PathLike)):
            raise InputError(
                f"{name} is a path ({describe_media(os.fspath(given))})",
                fix='Read it first: datasets.load_dataset("json", data_files=..., split="train") for JSON '
                "lines, Mixture.from_yaml for a mixture.",
            )
        if (
            isinstance(given, (list, tuple))
            and given
            and all(isinstance(item, TrainingSource) for item in given)
        ):
            return cls(given)
        if not _length(given):
            raise InputError(
                f"there are no rows ({describe_value(given)})",
                fix='Pass a list of rows, [{"query": ..., "document": ...}], a dataset or a Mixture.',
                source=None if name == "train" else name,
            )
        return cls([TrainingSource(name, given)])

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> Mixture:
        """The mixture that a YAML file describes.

        Args:
            path: The file: `sources`, each with a `loader`, and optionally `description`, `model`, `root`,
                `defaults` for all sources and `training`. `vlm2vec.training.recipes` has some.
            root: The data folder, which the sources' folders are relative to; by default the file's `root`,
                which is relative to the file itself.

        Raises:
            InputError: Something in the file is unknown, wrong or missing on disk.
        """
        from vlm2vec.training.data.mixture_file import read_mixture_file

        read = read_mixture_file(path, root)
        return cls(
            read.sources,
            training=read.training,
            model=read.model,
            profile=read.profile,
            description=read.description,
        )

    @property
    def names(self) -> list[str]:
        """The sources' names."""
        return [source.name for source in self.sources]

    @property
    def sizes(self) -> list[int]:
        """Rows of each source, after its cap."""
        return [len(source) for source in self.sources]

    @property
    def weights(self) -> list[float]:
        """The sources' weights, as they were given."""
        return [float(source.weight) for source in self.sources]

    def __len__(self) -> int:
        """Rows of all sources."""
        return sum(self.sizes)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        """The row at `(source_index, row)`, with its source's instructions and number of frames."""
        source_index, row = key
        if not 0 <= source_index < len(self.sources):
            raise IndexError(f"there are {len(self.sources)} sources, and none at {source_index}")
        return self.sources[source_index][row]

    def plan(self, settings: FitSettings | None = None) -> MixturePlan:
        """What the mixture is made of, source by source; `print` shows it as a table. No row is read.

        Args:
            settings: Those of a run, to plan its batches and steps too: `FitSettings.of(mixture.training)`.

        Example:
            >>> from vlm2vec.training import FitSettings
            >>> rows = [{"query": "a cat", "document": "a photo of a cat"}] * 40
            >>> plan = Mixture([TrainingSource("pets", rows)]).plan(FitSettings(batch_size=8, epochs=2))
            >>> plan.batches.steps, plan.batches.steps_per_epoch, plan.passes
            (10, 5, (2.0,))
        """
        total = sum(self.weights)
        sources = tuple(
            PlannedSource(source.name, len(source), float(source.weight), source.weight / total)
            for source in self.sources
        )
        if settings is None:
            return MixturePlan(sources)
        batch_size = settings.rows_per_batch(len(self))
        return MixturePlan(
            sources,
            PlannedBatches(
                batch_size=batch_size,
                sub_batch_size=settings.rows_per_sub_batch(batch_size, sources=len(sources)),
                steps=settings.steps(len(self)),
                steps_per_epoch=math.ceil(len(self) / batch_size),
            ),
        )

    def checked(
        self,
        *,
        on_error: Literal["raise", "skip"] = "raise",
        open_files: bool = False,
        show_progress_bar: bool = True,
        **allowed: Unpack[Allowed],
    ) -> Mixture:
        """The mixture after a look at every row, without the bad ones if they are to be skipped.

        Args:
            on_error: "raise" stops at the first bad row; "skip" leaves bad rows out and logs how many
                and why, one line for each source.
            open_files: Also read the first bytes of each file.
            show_progress_bar: Show one for each source that takes longer than two seconds, in a terminal.
            **allowed: `allow_urls` and `allow_files`, as `parse_input` takes them.

        Raises:
            VLM2VecError: A row is bad and `on_error` is "raise", or a source has no row left. It names the
                source and the row.

        Example:
            >>> rows = [{"query": "a cat", "document": "a photo"}, {"query": "", "document": "a photo"}]
            >>> Mixture([TrainingSource("pets", rows)]).checked(on_error="skip").sizes
            [1]
        """
        sources = []
        for source in self.sources:
            report = check_rows(
                source,
                source=source.name,
                on_error=on_error,
                open_files=open_files,
                show_progress_bar=show_progress_bar,
                **allowed,
            )
            if report.skipped:
                source = replace(source, rows=KeptRows(source.rows, report.kept), cap=None)  # noqa: PLW2901
            sources.append(source)
        return Mixture(
            sources,
            training=self.training,
            model=self.model,
            profile=self.profile,
            description=self.description,
        )


def _short(number: float) -> str:
    return f"{number:,.1f}" if number >= 1 else f"{number:.2g}"


def _length(rows: Any) -> int:
    return len(rows) if hasattr(rows, "__len__") and hasattr(rows, "__getitem__") else 0
