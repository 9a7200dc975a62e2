"""Parsed inputs through a model: the engine for one call, and a row for each input, in order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from vlm2vec.encoding.batch_forward import BatchForward
from vlm2vec.encoding.engine import Budget, Engine, in_order
from vlm2vec.encoding.policy import ErrorPolicy, settle_errors
from vlm2vec.encoding.prompt import with_default_instruction
from vlm2vec.errors import VLM2VecError
from vlm2vec.inputs.parts import Input

if TYPE_CHECKING:
    from vlm2vec.model import VLM2Vec

__all__ = ["ModelEncoder", "full_width", "vector_width"]

_WIDTH = "get_embedding_dimension"


@dataclass(frozen=True, eq=False)
class ModelEncoder:
    """What `VLM2Vec.encode` and `encode_stream` do once inputs are parsed.

    Attributes:
        model: The model, which keeps what was learned about memory.
    """

    model: VLM2Vec

    def rows(
        self,
        inputs: list[Input | VLM2VecError],
        *,
        device: torch.device,
        prompt: str | None,
        batch_size: int,
        show_progress_bar: bool,
        output_value: str | None,
        save_to_cpu: bool,
        normalize_embeddings: bool,
        truncate_dim: int | None,
        on_error: ErrorPolicy | Literal["keep"] = "raise",
        truncate: bool = False,
        max_tokens_per_batch: int | None = None,
        task: str | None = None,  # "query" or "document"; the prompt says it already
    ) -> Any:
        """Encode in this process: prepare, pack, forward, and one row for each input, in order.

        Returns:
            `(n, dim)` vectors; with `on_error="keep"`, or another `output_value`, a list of rows and errors.
        """
        engine = self._engine(
            device=device,
            batch_size=batch_size,
            output_value=output_value,
            save_to_cpu=save_to_cpu,
            normalize_embeddings=normalize_embeddings,
            truncate_dim=truncate_dim,
            truncate=truncate,
            max_tokens_per_batch=max_tokens_per_batch,
        )
        of_tokens = output_value != "sentence_embedding"
        rows: list[Any] = [None] * len(inputs)  # of tokens, or errors
        vectors: Tensor | None = None  # thousands of small tensors would keep memory from being given back
        ready = engine.rows([_instructed(item, prompt) for item in inputs])
        # A bar that is not shown would start tqdm's monitor thread all the same.
        progress = tqdm(ready, total=len(inputs), desc="Encoding") if show_progress_bar else ready
        with closing(ready):
            for place, row in progress:
                if on_error == "raise" and isinstance(row, VLM2VecError):
                    raise row
                if of_tokens or on_error == "keep" or isinstance(row, VLM2VecError):
                    rows[place] = row
                else:
                    if vectors is None:
                        vectors = row.new_empty((len(inputs), len(row)))
                    vectors[place] = row
        if of_tokens or on_error == "keep":
            return rows
        if vectors is None:  # no input, or none that could be encoded
            return self._stacked(rows, on_error, truncate_dim, "cpu" if save_to_cpu else device)
        for place, error in enumerate(rows):
            if error is not None:
                vectors[place] = math.nan
                if callable(on_error):
                    on_error(error.index, error)
        return vectors

    def rows_of_pool(
        self,
        run: Callable[..., list[Tensor | VLM2VecError]],
        inputs: list[Input | VLM2VecError],
        *,
        on_error: ErrorPolicy = "raise",
        **settings: Any,
    ) -> Any:
        """Encode in worker processes; errors come back as rows and are settled here.

        Args:
            run: Spreads inputs over the workers.
            inputs: Parsed inputs, or what was wrong with them.
            on_error: What an error does.
            **settings: As `rows` takes them.
        """
        rows = run(inputs, on_error="keep", **settings)
        if settings["output_value"] == "sentence_embedding":
            return self._stacked(rows, on_error, settings["truncate_dim"], "cpu")
        if errors := [row for row in rows if isinstance(row, VLM2VecError)]:
            raise errors[0]
        return rows

    def stream(
        self,
        items: Iterable[Input | VLM2VecError],
        *,
        on_error: ErrorPolicy,
        window: int,
        prompt: str | None,
        **settings: Any,
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Vectors with their indices, in order, as they are asked for."""
        self.model.eval()
        engine = self._engine(device=self.model.device, save_to_cpu=True, **settings)
        like = torch.empty(vector_width(self.model, settings["truncate_dim"]))
        instructed = (_instructed(item, prompt) for item in items)
        rows = in_order(engine.rows(instructed, window=window))
        with closing(rows):
            for index, row in enumerate(rows):
                # A copy: rows of a batch share memory, and a caller may write into one.
                yield index, settle_errors([row], on_error, like)[0].numpy().copy()

    def _engine(
        self,
        *,
        device: torch.device,
        truncate: bool,
        max_tokens_per_batch: int | None,
        batch_size: int | None = None,
        output_value: str | None = "sentence_embedding",
        **form: Any,
    ) -> Engine:
        """The engine for one call."""
        model = self.model
        if max_tokens_per_batch is None:
            budget = model.budgets.setdefault(device, Budget.of(device))
        else:
            budget = Budget(max_tokens_per_batch)
        forward = BatchForward(
            model, model.profile.pixels, device, model.engine_settings, output_value=output_value, **form
        )
        return Engine(
            model[0].preparer,
            forward,
            forward.collect,
            budget,
            max_inputs=batch_size,
            truncate=truncate,
            settings=model.engine_settings,
        )

    def _stacked(
        self,
        rows: Sequence[Tensor | VLM2VecError],
        on_error: ErrorPolicy,
        truncate_dim: int | None,
        device: torch.device | str,
    ) -> Tensor:
        like = torch.empty(vector_width(self.model, truncate_dim), device=device)
        return torch.stack(settle_errors(rows, on_error, like)) if rows else like.new_empty((0, len(like)))


def vector_width(model: VLM2Vec, truncate_dim: int | None) -> int:
    """Components of a vector, cut to `truncate_dim` or to the model's own."""
    full = full_width(model)
    return min(full, truncate_dim or model.truncate_dim or full)


def full_width(model: VLM2Vec) -> int:
    """Components of a vector that is not cut."""
    modules: Iterable[nn.Module] = model
    full: int = [getattr(module, _WIDTH)() for module in modules if hasattr(module, _WIDTH)][-1]
    return full


def _instructed(item: Input | VLM2VecError, instruction: str | None) -> Input | VLM2VecError:
    return item if isinstance(item, VLM2VecError) else with_default_instruction(item, instruction)
