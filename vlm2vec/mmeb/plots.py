"""Pictures of results: bars by meta-task beside published models, and a map of all tasks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vlm2vec.errors import InputError
from vlm2vec.extra import how_to_install

__all__ = ["plot_averages", "plot_tasks"]

_COLOURS = ("#1f4fd6", "#c2552d", "#3a8f5c", "#8b5fbf", "#b08a1e", "#5b7083", "#c43d72", "#2f9fb0", "#7a6a55")


def plot_averages(averages: Mapping[str, Mapping[str, float]], path: str | os.PathLike[str]) -> None:
    """Bars: for each average a bar of each model.

    Args:
        averages: Model -> average -> percentage; averages that a model lacks have no bar.
        path: The picture; its suffix says the format: `.png`, `.svg`, `.pdf`.

    Raises:
        InputError: matplotlib is not installed.
    """
    names = list(dict.fromkeys(name for means in averages.values() for name in means))
    figure = _figure(max(7.0, 0.35 * len(names) * (1 + 0.4 * len(averages))), 3.8)
    panel = figure.subplots()
    width = 0.8 / len(averages)
    for number, (model, means) in enumerate(averages.items()):
        indices = [index for index, name in enumerate(names) if name in means]
        panel.bar(
            [index + (number - (len(averages) - 1) / 2) * width for index in indices],
            [means[names[index]] for index in indices],
            width=0.92 * width,
            color=_COLOURS[number % len(_COLOURS)],
            label=model,
        )
    panel.set_xticks(range(len(names)), names, rotation=30, ha="right")
    panel.set(ylabel="score, percent", ylim=(0, 100), xlim=(-0.6, len(names) - 0.4))
    panel.grid(axis="y", alpha=0.3)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    # Above the panel: scores near 100 leave no room in it.
    panel.legend(
        frameon=False,
        fontsize="small",
        ncols=min(4, len(averages)),
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
    )
    figure.savefig(path)


def plot_tasks(
    scores: Mapping[str, Mapping[str, float]], tasks: Sequence[str], path: str | os.PathLike[str]
) -> None:
    """A map: a row for each task, a column for each model, the score in its cell.

    Args:
        scores: Model -> task -> percentage; what a model lacks is left white.
        tasks: Rows, in order.
        path: The picture; its suffix says the format.

    Raises:
        InputError: matplotlib is not installed.
    """
    values = np.array([[scores[model].get(task, np.nan) for model in scores] for task in tasks])
    figure = _figure(3.2 + 0.75 * len(scores), 1.2 + 0.21 * len(tasks))
    panel = figure.subplots()
    panel.imshow(values, aspect="auto", cmap="Blues", vmin=0, vmax=110)
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            colour = "white" if value > 65 else "black"
            panel.text(column, row, f"{value:.1f}", ha="center", va="center", size=7, color=colour)
    panel.set_xticks(range(len(scores)), list(scores), rotation=40, ha="left", size=8)
    panel.xaxis.tick_top()
    panel.set_yticks(range(len(tasks)), tasks, size=7)
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    figure.savefig(path)


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("matplotlib is not installed", fix=how_to_install("plots")) from error
    return Figure(figsize=(width, height), layout="constrained")
