"""Names of smart batches (B3, arXiv:2505.11293), which are not in the package any more; kept until 0.3.

Each warns and is an error. To train on other batches than those that were asked for would be worse: hours may
pass before anyone notices.
"""

from __future__ import annotations

import warnings
from typing import Any, NoReturn

from vlm2vec.errors import InputError

__all__ = ["SmartBatchSampler", "SmartBatches", "mine_sub_batches", "refuse_smart_batches"]

_FIX = (
    "Leave smart batches out: rows of one source stay together by sub_batch_size, mine_hard_negatives gives "
    "each row hard negatives, and fit(batch_sampler=...) takes batches of your own."
)


def refuse_smart_batches(name: str, *, stacklevel: int = 3) -> NoReturn:
    """Warn that a name is deprecated, and raise.

    Args:
        name: What was called.
        stacklevel: Calls between the caller that is warned and the warning.

    Raises:
        InputError: Always; it says what to use instead.
    """
    cause = f"{name} is deprecated: smart batches are not in the package any more"
    warnings.warn(f"{cause}, and the name goes in vlm2vec 0.3", DeprecationWarning, stacklevel=stacklevel)
    raise InputError(cause, fix=_FIX)


def mine_sub_batches(*_: Any, **__: Any) -> NoReturn:
    """Deprecated: an error that says what to use instead."""
    refuse_smart_batches("mine_sub_batches")


class SmartBatches:
    """Deprecated: an error that says what to use instead."""

    def __init__(self, *_: Any, **__: Any) -> None:
        refuse_smart_batches("SmartBatches")

    @classmethod
    def load(cls, *_: Any, **__: Any) -> NoReturn:
        """Deprecated: an error that says what to use instead."""
        refuse_smart_batches("SmartBatches.load")


class SmartBatchSampler:
    """Deprecated: an error that says what to use instead."""

    def __init__(self, *_: Any, **__: Any) -> None:
        refuse_smart_batches("SmartBatchSampler")
