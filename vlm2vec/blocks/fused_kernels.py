# mypy: ignore-errors
# Triton reads these functions in a way of its own: an annotation in them means something else.
"""The Triton kernels of `vlm2vec.blocks.fused`, which alone imports this: a CPU's torch brings no Triton.

Each program computes some of one row, in float32, and none waits for another or reads what another writes:
what a row becomes does not depend on which rows are beside it, nor on their number, and there is one
program for each type and width. Rows may lie apart; along a row, elements are neighbours.
"""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["activate", "add_norm", "rotate"]


@triton.jit
def activate(
    gate, up, gate_stride, up_stride, columns, FACTOR: tl.constexpr, GATED: tl.constexpr, BLOCK: tl.constexpr
):
    """`gate = gate * sigmoid(FACTOR * gate)`, `* up` where it is gated; one program a block of a row."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < columns
    at = gate + row * gate_stride + column
    number = tl.load(at, mask=inside).to(tl.float32)
    number = number / (1.0 + tl.exp(-FACTOR * number))
    if GATED:
        number *= tl.load(up + row * up_stride + column, mask=inside).to(tl.float32)
    tl.store(at, number.to(gate.dtype.element_ty), mask=inside)


@triton.jit
def rotate(
    heads,
    cos,
    sin,
    query_weight,
    key_weight,
    row_stride,
    angle_stride,
    eps,
    QUERIES: tl.constexpr,
    COUNT: tl.constexpr,
    HALF: tl.constexpr,
    NORMED: tl.constexpr,
    HEADS_AT_ONCE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Some heads of a row, normed first where `NORMED`: the two halves are the parts of complex numbers."""
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * HEADS_AT_ONCE + tl.arange(0, HEADS_AT_ONCE)[:, None]
    column = tl.arange(0, BLOCK)[None, :]
    inside = (head < COUNT) & (column < HALF)
    at = heads + row * row_stride + head * (2 * HALF) + column
    first = tl.load(at, mask=inside, other=0.0).to(tl.float32)  # (heads, half)
    second = tl.load(at + HALF, mask=inside, other=0.0).to(tl.float32)
    if NORMED:
        mean_square = tl.sum(first * first + second * second, axis=1)[:, None] / (2 * HALF)
        scale = 1.0 / tl.sqrt(mean_square + eps)
        of_query = inside & (head < QUERIES)
        of_key = inside & (head >= QUERIES)
        for_first = tl.load(query_weight + column, mask=of_query, other=0.0).to(tl.float32)
        for_first += tl.load(key_weight + column, mask=of_key, other=0.0).to(tl.float32)
        for_second = tl.load(query_weight + HALF + column, mask=of_query, other=0.0).to(tl.float32)
        for_second += tl.load(key_weight + HALF + column, mask=of_key, other=0.0).to(tl.float32)
        first *= scale * for_first
        second *= scale * for_second
    angle = row * angle_stride + column
    real = tl.load(cos + angle, mask=column < HALF).to(tl.float32)
    imaginary = tl.load(sin + angle, mask=column < HALF).to(tl.float32)
    tl.store(at, (first * real - second * imaginary).to(heads.dtype.element_ty), mask=inside)
    tl.store(at + HALF, (second * real + first * imaginary).to(heads.dtype.element_ty), mask=inside)


@triton.jit
def add_norm(
    hidden,
    branch,
    normed,
    weight,
    bias,
    hidden_stride,
    branch_stride,
    normed_stride,
    width,
    eps,
    CENTRED: tl.constexpr,
    BIASED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """`hidden += branch`, rounded as it is stored, and `normed`, the norm of that; one program a row."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < width
    at = hidden + row * hidden_stride + column
    total = tl.load(at, mask=inside, other=0.0).to(tl.float32)
    total += tl.load(branch + row * branch_stride + column, mask=inside, other=0.0).to(tl.float32)
    rounded = total.to(hidden.dtype.element_ty)
    tl.store(at, rounded, mask=inside)
    number = rounded.to(tl.float32)
    if CENTRED:
        number = tl.where(inside, number - tl.sum(number, axis=0) / width, 0.0)
    mean_square = tl.sum(number * number, axis=0) / width
    number *= 1.0 / tl.sqrt(mean_square + eps)
    number *= tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    if BIASED:
        number += tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(normed + row * normed_stride + column, number.to(normed.dtype.element_ty), mask=inside)
