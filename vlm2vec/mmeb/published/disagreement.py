"""Where published numbers contradict each other: the paper's tables, and the score files behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vlm2vec.mmeb.averages import summarize
from vlm2vec.mmeb.published.scores import published_names, table, version_of
from vlm2vec.mmeb.published.tables import read

__all__ = ["Disagreement", "disagreements"]

_FILES = ("v2.0.0", "v2.0.1", "v2.1")
_ROUNDED = 0.05 + 1e-9
_ROUNDED_TWICE = 0.055 + 1e-9  # to two decimals, then to one
_CUT = 0.1


@dataclass(frozen=True)
class Disagreement:
    """A printed number that does not follow from another source.

    Attributes:
        model: One of `published_names`.
        row: A task, or an average as `summarize` names it.
        printed_in: "Table 6" or "Table 2" of the paper.
        printed: The number there, with one decimal.
        against: What it contradicts: the score files of a version, the "mean of Table 6" over its task rows,
            or the "row of Table 6" that has the same average.
        value: The number there.
        remark: What explains it, as far as known.
    """

    model: str
    row: str
    printed_in: str
    printed: float
    against: str
    value: float
    remark: str

    @property
    def difference(self) -> float:
        """Printed number minus the other."""
        return self.printed - self.value

    def __str__(self) -> str:
        remark = f", {self.remark}" if self.remark else ""
        return (
            f"{self.model}, {self.row}: {self.printed:.1f} in {self.printed_in}, "
            f"{self.value:.2f} in {self.against}{remark}"
        )


def disagreements(version: str = "v2.0.0") -> list[Disagreement]:
    """All published numbers, of all eight models, that contradict each other by more than rounding.

    Three comparisons, in this order: each task of Table 6 with the score files of a version; the average rows
    of Tables 6 and 2 with the means over the task rows of Table 6; Table 2 with the average rows of Table 6.

    Args:
        version: Of the score files. Table 6 was made from v2.0.0.

    Raises:
        InputError: There is no such version.

    Example:
        >>> for found in disagreements():
        ...     if (found.model, found.row, found.printed_in) == ("VLM2Vec-V2.0", "overall", "Table 6"):
        ...         print(found.printed, found.against, round(found.value, 2), "-", found.remark)
        58.0 mean of Table 6 58.06 - fits v2.0.0
    """
    return [*_tasks(version_of(version).name), *_averages("Table 6"), *_averages("Table 2"), *_tables()]


def _tasks(version: str) -> Iterator[Disagreement]:
    for model, printed in table("table6").items():
        scores = table(version)[model]
        for task, value in scores.items():
            if abs(printed[task] - value) > _ROUNDED:
                sources = {name: table(name)[model].get(task) for name in _FILES}
                remark = _fits(printed[task], value, sources)
                if abs(printed[task] - value) <= _ROUNDED_TWICE:
                    remark = "rounded twice"
                yield Disagreement(model, task, "Table 6", printed[task], version, value, remark)


def _averages(printed_in: str) -> Iterator[Disagreement]:
    for model, rows in _printed(printed_in).items():
        means = summarize(table("table6")[model])
        sources = {name: summarize(table(name)[model]) for name in _FILES[:2]}  # those with all tasks
        for row, printed in rows.items():
            if abs(printed - means[row]) > _ROUNDED:
                remark = _fits(printed, means[row], {name: mean[row] for name, mean in sources.items()})
                yield Disagreement(model, row, printed_in, printed, "mean of Table 6", means[row], remark)


def _tables() -> Iterator[Disagreement]:
    other = _printed("Table 6")
    for model, rows in _printed("Table 2").items():
        for row, printed in rows.items():
            if printed != (value := other[model][row]):
                yield Disagreement(model, row, "Table 2", printed, "row of Table 6", value, "")


def _printed(table_name: str) -> dict[str, dict[str, float]]:
    """Model -> average -> percentage, as a table of the paper prints them."""
    rows = [row for row in read("printed_averages.csv") if row["printed_in"] == table_name]
    return {model: {row["average"]: float(row[model]) for row in rows} for model in published_names()}


def _fits(printed: float, value: float, sources: Mapping[str, float | None]) -> str:
    """Which source of another value the printed number fits."""
    for name, other in sources.items():
        if other is not None and other != value and -_ROUNDED_TWICE <= other - printed < _CUT:
            return f"fits {name}"
    if 0 < value - printed < _CUT:
        return "cut, not rounded"
    return "fits no score file"
