"""How the inference forward is computed, where there is more than one way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch

from vlm2vec.describe import describe_value
from vlm2vec.errors import InputError

__all__ = ["AUTO", "ForwardOptions", "Kernel"]

Kernel: TypeAlias = Literal["auto", "torch", "onednn"]


@dataclass(frozen=True)
class ForwardOptions:
    """How the inference forward is computed.

    Attributes:
        fuse_projections: Compute neighbouring layers on the same input as one product.
        kernel: What multiplies float32 matrices on a CPU: "torch", "onednn", or with "auto" the faster one,
            which is tried once in a process. Where a CPU only emulates bfloat16, "auto" multiplies it in
            float32. All other products are torch's.
        fuse_elementwise: On a GPU, compute rotation, gates, and sums with their norms in one pass over memory
            each (`vlm2vec.blocks.fused`).

    Raises:
        InputError: There is no such kernel.
    """

    fuse_projections: bool = True
    kernel: Kernel = "auto"
    fuse_elementwise: bool = False

    def __post_init__(self) -> None:
        if self.kernel not in get_args(Kernel):
            kernels = ", ".join(f'"{kernel}"' for kernel in get_args(Kernel))
            raise InputError(f"kernel is {describe_value(self.kernel)}", fix=f"Pass one of {kernels}.")
        if self.kernel == "onednn" and not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
            raise InputError("this torch has no products by oneDNN", fix='Pass kernel="auto" or "torch".')


AUTO = ForwardOptions()
