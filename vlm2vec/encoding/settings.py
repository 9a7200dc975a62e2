"""What the encode engine does to be fast, each with its switch. None of it changes a vector."""

from __future__ import annotations

from dataclasses import dataclass

from vlm2vec.blocks.options import ForwardOptions, Kernel

__all__ = ["EngineSettings"]


@dataclass(frozen=True)
class EngineSettings:
    """Switches of the encode engine, for tests and to find a fault: `model.engine_settings = ...`.

    Attributes:
        deduplicate: Encode equal inputs once. Buys as much as there are copies.
        prepare_ahead: Decode the next batches in worker threads. Buys the time of decoding on a GPU.
        share_prefixes: Compute a prefix that inputs share once: an instruction, or a picture with several
            questions. Buys 2 times on short queries with an instruction, the number of questions on pictures.
        pooled_only: Compute of the last layer what the pooled tokens need. Buys one layer's MLP.
        fuse_projections: One matrix product for queries, keys and values, and on a GPU one for gate and up.
            Buys some per cent.
        kernel: What multiplies float32 matrices on a CPU: "torch", "onednn", or with "auto" the faster one,
            which is tried once in a process. oneDNN buys 2 to 3 times on AMD's newer processors. Where a CPU
            has no instructions for bfloat16, "auto" multiplies it in float32, which buys 4 to 5 times.
        fuse_elementwise: On a GPU, rotation of queries and keys, quick GELU, SwiGLU, and sums with the norm
            that follows are one Triton kernel each, where Triton can build them; elsewhere nothing changes.
            A layer then moves a third to a half of the bytes. Vectors are equal within the rounding of the
            weights' type. Off, as it has not been run on a GPU yet.

    Raises:
        InputError: There is no such kernel.
    """

    deduplicate: bool = True
    prepare_ahead: bool = True
    share_prefixes: bool = True
    pooled_only: bool = True
    fuse_projections: bool = True
    kernel: Kernel = "auto"
    fuse_elementwise: bool = False

    def __post_init__(self) -> None:
        _ = self.forward_options  # which checks the kernel

    @property
    def forward_options(self) -> ForwardOptions:
        """How the forward pass is computed."""
        return ForwardOptions(self.fuse_projections, self.kernel, self.fuse_elementwise)
