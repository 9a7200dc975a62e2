"""The encoding loop with stand-ins for decoding and the network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlm2vec.encoding import rows as rows_module
from vlm2vec.encoding.prepare import Prepared
from vlm2vec.encoding.rows import encode_rows, settle_errors
from vlm2vec.errors import InputError, MediaError, VLM2VecError
from vlm2vec.inputs.parts import Input, Text


def item(index: int, tokens: int) -> Input:
    return Input((Text("x" * tokens),), index=index)


def prepare(one: Input) -> Prepared:
    """As many tokens as the text has letters; each token is the index of the input."""
    length = len(one.parts[0].text)
    if length == 13:
        raise MediaError("broken", index=one.index)
    ids = np.full(length, one.index)
    return Prepared(ids, np.repeat(ids[:, None], 3, axis=1), ())


class Network:
    """Remembers its batches; the row of an input is its index."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, batch: Sequence[Prepared]) -> list[int]:
        self.batches.append([len(ready.token_ids) for ready in batch])
        return [int(ready.token_ids[0]) for ready in batch]


@given(lengths=st.lists(st.integers(1, 40), max_size=30), batch_size=st.integers(1, 9))
def test_rows_come_in_order_and_batches_keep_their_bounds(lengths: list[int], batch_size: int) -> None:
    network = Network()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "MAX_TOKENS_PER_BATCH", 50)
        rows = list(
            encode_rows(
                [item(i, length) for i, length in enumerate(lengths)],
                prepare=prepare,
                forward=network,
                batch_size=batch_size,
                stop_at_error=False,
            )
        )
    assert len(rows) == len(lengths)
    for index, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        if length == 13:
            assert isinstance(row, MediaError)
            assert row.index == index
        else:
            assert row == index
    for batch in network.batches:
        assert 1 <= len(batch) <= batch_size
        assert sum(batch) <= 50


def test_rows_come_before_later_inputs_are_read() -> None:
    read: list[int] = []

    def items():
        for index in range(10):
            read.append(index)
            yield item(index, 1)

    encoded = encode_rows(items(), prepare=prepare, forward=Network(), batch_size=2, stop_at_error=True)
    assert next(encoded) == 0
    assert len(read) <= 3


def test_the_first_error_stops_the_loop_when_asked() -> None:
    items = [item(0, 1), item(1, 13), InputError("bad", index=2)]
    with pytest.raises(MediaError, match="input 1: broken"):
        list(encode_rows(items, prepare=prepare, forward=Network(), batch_size=8, stop_at_error=True))


def test_errors_of_the_program_are_not_swallowed() -> None:
    def fail(_: object) -> list[int]:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        list(encode_rows([item(0, 1)], prepare=prepare, forward=fail, batch_size=8, stop_at_error=False))


def test_failed_rows_become_nan_and_are_reported_in_order() -> None:
    told: list[tuple[int | None, VLM2VecError]] = []
    like = torch.zeros(3)
    failed = [InputError("bad", index=0), MediaError("worse", index=2)]
    settled = settle_errors([failed[0], torch.ones(3), failed[1]], lambda *what: told.append(what), like)
    assert [row.isnan().all().item() for row in settled] == [True, False, True]
    assert told == [(0, failed[0]), (2, failed[1])]
    with pytest.raises(InputError):
        settle_errors([failed[0]], "raise", like)
