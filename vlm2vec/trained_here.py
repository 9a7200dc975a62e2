"""Which thread trains a model: no other may use it meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from vlm2vec.errors import InputError

__all__ = ["check_not_trained_elsewhere", "trained_here"]

# One for each `fit` that runs: the number of its thread.
_training: WeakKeyDictionary[object, tuple[int]] = WeakKeyDictionary()


@contextmanager
def trained_here(model: object) -> Iterator[None]:
    """This thread trains the model inside the block.

    Raises:
        InputError: It, or another thread, does so already.
    """
    mine = (threading.get_ident(),)
    if _training.setdefault(model, mine) is not mine:
        raise InputError("the model is being trained already", fix="Wait until that fit has returned.")
    try:
        yield
    finally:
        del _training[model]


def check_not_trained_elsewhere(model: object) -> None:
    """Refuse to use a model whose weights and mode another thread changes; an evaluator of `fit` may.

    Raises:
        InputError: Another thread trains it.
    """
    mine = (threading.get_ident(),)
    if _training.get(model, mine) != mine:
        raise InputError(
            "the model is being trained by another thread, and its weights change from step to step",
            fix="Wait until fit has returned, or use a copy.deepcopy(model) that was made before.",
        )
