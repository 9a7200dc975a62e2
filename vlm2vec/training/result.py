"""`TrainingResult`: what came of training, in a few lines or as a picture."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from vlm2vec.errors import InputError
from vlm2vec.extra import how_to_install

__all__ = ["TrainingResult"]

_Points: TypeAlias = tuple[tuple[int, float], ...]  # (step, score)


@dataclass(frozen=True)
class TrainingResult:
    """What came of training; `str()` of it is a summary.

    Attributes:
        steps: Optimizer steps, those before a resume included.
        rows: Rows that were drawn, repeated ones included.
        seconds: Of this call.
        losses: `(step, loss)`, each the mean since the one before.
        scores: `(step, scores by name)` of each evaluation.
        kept_step: The step whose checkpoint the model went back to, with `keep_best`.
        skipped: Bad rows by source: left out before training, or replaced while it ran.
        temperature: At the end, where it is learned.
        log: All that transformers' trainer logged.
        output_dir: Where the model and its checkpoints lie; `None` if nothing was written.
        resumed_at: Steps that an earlier call had made.
    """

    steps: int
    rows: int
    seconds: float
    losses: tuple[tuple[int, float], ...]
    scores: tuple[tuple[int, Mapping[str, float]], ...] = ()
    kept_step: int | None = None
    skipped: Mapping[str, int] | None = None
    temperature: float | None = None
    log: tuple[Mapping[str, Any], ...] = ()
    output_dir: str | None = None
    resumed_at: int = 0

    def __str__(self) -> str:
        took = f"in {_duration(self.seconds)}"
        if self.resumed_at:
            took = f"altogether, {self.steps - self.resumed_at:,} of the steps {took}"
        lines = [f"{self.steps:,} step{'s' * (self.steps != 1)}, {self.rows:,} rows {took}"]
        if self.losses:
            (start, first), (_, last) = self.losses[0], self.losses[-1]
            lines.append(f"loss {first:.4g} at step {start}, {last:.4g} at the end")
        for name in self.scores[-1][1] if self.scores else ():
            points = self._points(name)
            ends = points if len(points) == 1 else (points[0], points[-1])
            values = [f"{score:.4g} (step {step})" for step, score in ends]
            step, best = max(points, key=lambda point: point[1])
            if best > max(score for _, score in ends):
                values.append(f"best {best:.4g} (step {step})")
            lines.append(f"{name}: {', '.join(values)}")
        if self.kept_step is not None:
            lines.append(f"the model is that of step {self.kept_step:,}, which scored best")
        if self.temperature is not None:
            lines.append(f"temperature {self.temperature:.4g}")
        if self.skipped:
            parts = ", ".join(f"{count:,} of {name}" for name, count in self.skipped.items())
            lines.append(f"bad rows left out: {parts}")
        if self.output_dir:
            lines.append(f"saved in {self.output_dir}")
        return "\n".join(lines)

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the training curve, and the scores if there are any, the best of each marked by a ring.

        Scores that are the same at each step are one line, and have one line of the legend.

        Args:
            path: The picture; its suffix says the format: `.png`, `.svg`, `.pdf`.

        Raises:
            InputError: matplotlib is not installed, or nothing was logged.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise InputError("matplotlib is not installed", fix=how_to_install("plots")) from error
        if not self.losses:
            raise InputError("no loss was logged", fix="Train for more steps, or set logging_steps=1.")
        figure = Figure(figsize=(7, 3.5 if not self.scores else 6), layout="constrained")
        panels = figure.subplots(2 if self.scores else 1, 1, sharex=True, squeeze=False)[:, 0]
        panels[0].plot(*zip(*self.losses, strict=True), color="#1f4fd6")
        panels[0].set(ylabel="loss", ylim=(0, None))
        if self.scores:
            for points, names in self._lines().items():
                label = "\n".join(names)
                (line,) = panels[1].plot(*zip(*points, strict=True), marker=".", alpha=0.8, label=label)
                best = max(points, key=lambda point: point[1])
                panels[1].plot(*best, marker="o", markersize=9, fillstyle="none", color=line.get_color())
            panels[1].set(ylabel="score", ylim=(0, None))
            panels[1].legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
        panels[-1].set(xlabel="step", xlim=(0, None))
        for panel in panels:
            panel.grid(alpha=0.3)
            panel.spines[["top", "right"]].set_visible(False)
        figure.savefig(path)

    def _points(self, name: str) -> _Points:
        return tuple((step, scores[name]) for step, scores in self.scores if name in scores)

    def _lines(self) -> dict[_Points, list[str]]:
        """The names of scores by their course: those of one document for each query are often the same."""
        lines: dict[_Points, list[str]] = {}
        for name in self.scores[-1][1]:
            lines.setdefault(self._points(name), []).append(name)
        return lines


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
