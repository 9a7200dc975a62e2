"""How far training is: a bar in a terminal, a line now and then elsewhere, and the best evaluation marked."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tqdm.auto import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from vlm2vec.duration import duration
from vlm2vec.notices import between_bars

__all__ = ["TrainingProgress", "evaluations", "scores_of"]

logger = logging.getLogger(__name__)

_FIRST_LINE, _BETWEEN_LINES = 5.0, 30.0  # seconds
_SHOWN_SCORES = 2  # what fits 80 columns
_BAR = "{n_fmt} of {total_fmt} steps |{bar}| {remaining} remain{postfix}"


def scores_of(entry: Mapping[str, Any]) -> dict[str, float]:
    """The scores in what transformers' trainer logs of an evaluation, by name.

    Example:
        >>> scores_of({"eval_cosine_ndcg@10": 0.5, "eval_runtime": 2.0, "epoch": 1.0})
        {'cosine_ndcg@10': 0.5}
    """
    return {
        name.removeprefix("eval_"): value
        for name, value in entry.items()
        if name.startswith("eval_") and not name.endswith(("_runtime", "_per_second"))
    }


def evaluations(history: Iterable[Mapping[str, Any]]) -> Iterator[tuple[int, dict[str, float]]]:
    """The step and the scores of each evaluation, in what the trainer has logged."""
    for entry in history:
        if scores := scores_of(entry):
            yield entry["step"], scores


class TrainingProgress(TrainerCallback):  # type: ignore[misc]
    """Says how far training is, in place of transformers' own bar and of what it prints.

    Lines go to the log where a handler takes them at INFO, and to standard error elsewhere, with the time of
    day.

    Args:
        rows_per_step: Rows of a batch, over all processes.
        show: Whether to show a bar, with evaluations above it; `None` for a bar in a terminal and lines
            elsewhere, `False` for neither.
        evaluator: Whose main score says which evaluation is best.
        best: The score that does in place of that one.
    """

    def __init__(
        self, rows_per_step: int, show: bool | None = None, evaluator: Any = None, best: str | None = None
    ) -> None:
        self.rows_per_step = rows_per_step
        self.evaluator, self.best = evaluator, best
        self._shows_bar = sys.stderr.isatty() if show is None else show
        self._lines = show is not False
        self._bar: Any = None
        self._news: dict[str, float] = {}
        self._highest: float | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the clock, at the step that the run is at."""
        self._start, self._first_step = time.perf_counter(), state.global_step
        self._due = self._start + _FIRST_LINE
        if state.is_world_process_zero and self._shows_bar:
            self._bar = tqdm(
                total=state.max_steps, initial=state.global_step, bar_format=_BAR, dynamic_ncols=True
            )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """A step further."""
        if self._bar is not None:
            self._bar.update(state.global_step - self._bar.n)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        """The loss and the learning rate, or the scores of an evaluation."""
        entry = logs or {}
        if not state.is_world_process_zero:
            return
        if scores := scores_of(entry):
            self._say(f"{_step(state)}: {self._described(scores, state)}")
        if "loss" not in entry:
            return
        self._news = {"loss": entry["loss"], "rate": entry.get("learning_rate", math.nan)}
        now = time.perf_counter()
        if self._bar is not None:
            self._bar.set_postfix_str(", ".join(self._parts()))
        elif now >= self._due:
            self._due = now + _BETWEEN_LINES
            self._say(self.line(state, now))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Leave the bar as it is."""
        self.close()

    def close(self) -> None:
        """Take the bar off, also of a run that was stopped."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def line(self, state: TrainerState, now: float) -> str:
        """How far it is, for those who have no bar.

        Args:
            state: Of the trainer.
            now: By `time.perf_counter`.
        """
        took, done = now - self._start, state.global_step - self._first_step
        rows = f"{done * self.rows_per_step / took:,.1f} rows a second"
        remain = f"{duration(took / done * (state.max_steps - state.global_step))} remain"
        return f"{_step(state)}: {', '.join([*self._parts(), rows, remain])}"

    def _parts(self) -> list[str]:
        return [f"loss {self._news['loss']:.3g}", f"rate {self._news['rate']:.2g}"]

    def _described(self, scores: Mapping[str, float], state: TrainerState) -> str:
        wanted = self.best or getattr(self.evaluator, "primary_metric", None)  # known once it was called
        main = str(wanted) if wanted in scores else next(iter(scores))
        names = [main, *(name for name in scores if name != main)][:_SHOWN_SCORES]
        prefix = "cosine_" if all(name.startswith("cosine_") for name in names) else ""
        parts = [f"{name.removeprefix(prefix)} {scores[name]:.4f}" for name in names]
        if self._highest is None:  # what a run that goes on had scored before
            history = evaluations(state.log_history)
            earlier = [old[main] for step, old in history if step < state.global_step and main in old]
            self._highest = max(earlier, default=-math.inf)
        if scores[main] > self._highest:
            self._highest = scores[main]
            parts.append("best so far")
        return ", ".join(parts)

    def _say(self, line: str) -> None:
        if not self._lines:
            return
        with between_bars():
            if _is_heard():
                logger.info(line)
            elif self._bar is not None:
                sys.stderr.write(f"{line}\n")
            else:
                sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")
            sys.stderr.flush()


def _step(state: TrainerState) -> str:
    last = f"{state.max_steps:,}"
    return f"step {state.global_step:{len(last)},} of {last}"  # scores stand below one another


def _is_heard() -> bool:
    """Whether there is a handler that takes what is logged here at INFO."""
    each: logging.Logger | None = logger if logger.isEnabledFor(logging.INFO) else None
    while each is not None:
        if any(handler.level <= logging.INFO for handler in each.handlers):
            return True
        each = each.parent if each.propagate else None
    return False
