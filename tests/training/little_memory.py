"""A device with too little memory, played by hooks on a model: torch's error above some tokens at a time."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor

Where = Literal["first pass", "kept graph", "kept graphs", "kept backward", "second pass", "backward"]


class LittleMemory:
    """Raises what torch raises where more tokens come at a time than there is room for.

    Args:
        tokens: For which there is room.
        where: In which part of a step. "kept graphs" counts the tokens of all graphs that are kept.
    """

    def __init__(self, tokens: int, where: Where) -> None:
        self.tokens = tokens
        self.where = where
        self.failures = 0
        self.left_over = 0  # tensors of a failed pass that were there when the next one began
        self._kept = 0
        self._fails_later = False
        self._failed: list[weakref.ref[Tensor]] = []

    @contextmanager
    def of(self, model: Any) -> Iterator[None]:
        """While the block runs."""
        language = model[0].model.language_model
        with (
            language.embed_tokens.register_forward_hook(self._embedded),
            language.layers[0].register_forward_hook(self._through_a_layer),
        ):
            yield

    def _embedded(self, _: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        self.left_over += sum(one() is not None for one in self._failed)
        self._failed.clear()
        on_the_way_back = torch._C._current_graph_task_id() != -1
        count = inputs[0].numel()
        if not torch.is_grad_enabled():
            part = "first pass"
            self._kept = 0
        else:
            part = "second pass" if on_the_way_back else "kept graph"
            self._kept += count
        too_many = (self._kept if self.where == "kept graphs" else count) > self.tokens
        if not too_many:
            return
        if self.where == part or (self.where == "kept graphs" and part == "kept graph"):
            self._fail(output)
        self._fails_later = (self.where, part) in (
            ("backward", "second pass"),
            ("kept backward", "kept graph"),
        )

    def _through_a_layer(self, _: Any, __: Any, output: Tensor) -> None:
        if self._fails_later:
            # Its gradient comes when those of the layers above are there.
            self._fails_later = False
            output.register_hook(self._fail)

    def _fail(self, tensor: Tensor) -> None:
        self.failures += 1
        self._failed.append(weakref.ref(tensor))
        raise torch.OutOfMemoryError(
            f"CUDA out of memory. Tried to allocate {len(tensor)} tokens.\nAnd more."
        )
