"""Long attention without a mask, as over a picture's patches: in blocks by oneDNN, against torch's kernel.

python benchmarks/attention.py [--threads 2] [--lengths 1024 2048] [--json FILE] [--runs 15]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from interleaved import Comparison, compare, report
from torch.nn import functional as F  # noqa: N812

from vlm2vec.modeling.cpu_attention import blocked_attention

_HEADS, _HEAD_DIM = 4, 80  # of a vision tower of 320
_LENGTHS = 1024, 1280, 1536, 1792, 2048, 3072, 4096, 4992


@torch.inference_mode()
def at(length: int, runs: int) -> Comparison:
    """Both ways over as many patches, which lie in memory as a layer's projection leaves them."""
    heads = torch.randn(length, 3, _HEADS, _HEAD_DIM, generator=torch.Generator().manual_seed(length))
    query, key, value = heads.permute(1, 2, 0, 3).unsqueeze(1)
    scale = _HEAD_DIM**-0.5
    ours = partial(blocked_attention, query, key, value, scaling=scale)
    theirs = partial(F.scaled_dot_product_attention, query, key, value, scale=scale)
    if not torch.allclose(ours(), theirs(), rtol=1e-5, atol=2e-6):
        raise SystemExit("the two ways give different outputs")
    return compare(f"{length} patches", ours, theirs, runs=runs)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, help="threads of torch (default: its own choice)")
    parser.add_argument("--lengths", type=int, nargs="+", default=_LENGTHS, help="patches of a picture")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--runs", type=int, default=15, help="timed runs of each way (default: 15)")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    report([at(length, options.runs) for length in options.lengths], options.json)


if __name__ == "__main__":
    main()
