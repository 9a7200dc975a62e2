"""Training: rows and their sources, which rows make a batch, and its loss.

Names are loaded when they are first used, so that importing this package needs no torch.

Example:
    >>> from vlm2vec.training import SubBatchSampler
    >>> len(next(SubBatchSampler([1000, 50], batch_size=8, sub_batch_size=4)))
    8
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vlm2vec.notices import quiet_import

if TYPE_CHECKING:
    from vlm2vec.training.data.mixture import Mixture
    from vlm2vec.training.data.row_file import write_rows
    from vlm2vec.training.evaluation import row_evaluator
    from vlm2vec.training.lora import LoRA
    from vlm2vec.training.loss.grad_cache import GradCacheLoss
    from vlm2vec.training.loss.info_nce import InfoNCE
    from vlm2vec.training.mining import mine_hard_negatives
    from vlm2vec.training.protocol import BatchSampler
    from vlm2vec.training.result import TrainingResult
    from vlm2vec.training.sampler import SubBatchSampler
    from vlm2vec.training.settings import FitSettings
    from vlm2vec.training.smart_batches import SmartBatches, SmartBatchSampler, mine_sub_batches
    from vlm2vec.training.sources.source import TrainingSource

__all__ = [
    "BatchSampler",
    "FitSettings",
    "GradCacheLoss",
    "InfoNCE",
    "LoRA",
    "Mixture",
    "SmartBatchSampler",
    "SmartBatches",
    "SubBatchSampler",
    "TrainingResult",
    "TrainingSource",
    "mine_hard_negatives",
    "mine_sub_batches",
    "row_evaluator",
    "write_rows",
]

_HOMES = {
    "BatchSampler": "vlm2vec.training.protocol",
    "FitSettings": "vlm2vec.training.settings",
    "GradCacheLoss": "vlm2vec.training.loss.grad_cache",
    "InfoNCE": "vlm2vec.training.loss.info_nce",
    "LoRA": "vlm2vec.training.lora",
    "Mixture": "vlm2vec.training.data.mixture",
    "SmartBatchSampler": "vlm2vec.training.smart_batches",
    "SmartBatches": "vlm2vec.training.smart_batches",
    "SubBatchSampler": "vlm2vec.training.sampler",
    "TrainingResult": "vlm2vec.training.result",
    "TrainingSource": "vlm2vec.training.sources.source",
    "mine_hard_negatives": "vlm2vec.training.mining",
    "mine_sub_batches": "vlm2vec.training.smart_batches",
    "row_evaluator": "vlm2vec.training.evaluation",
    "write_rows": "vlm2vec.training.data.row_file",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(quiet_import(_HOMES[name]), name)
    raise AttributeError(f"module 'vlm2vec.training' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
