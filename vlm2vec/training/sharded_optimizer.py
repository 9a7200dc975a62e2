"""An optimizer whose states are sharded over ranks (ZeRO, stage 1: Rajbhandari et al., arXiv:1910.02054).

In a file of its own, because what it comes from takes a while to import and few need it.
"""

from __future__ import annotations

from typing import Any

from torch.distributed.optim import ZeroRedundancyOptimizer

__all__ = ["ShardedOptimizer"]


class ShardedOptimizer(ZeroRedundancyOptimizer):
    """torch's, which here takes up states of a checkpoint where they belong.

    A checkpoint holds the states of all ranks, as without shards, so any number of ranks resumes.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take this rank's part of the states of all."""
        super().load_state_dict(state_dict)
        # torch leaves counts of steps on the CPU, where fused kernels of a GPU cannot use them.
        self.optim.load_state_dict(self.optim.state_dict())
        self.state.clear()  # a second copy
