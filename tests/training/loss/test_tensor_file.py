"""Tensors come back from the file as they were."""

from __future__ import annotations

import gc
import warnings

import torch

from vlm2vec.training.loss.tensor_file import TensorFile


def test_tensors_come_back_in_any_order() -> None:
    torch.manual_seed(0)
    given = [
        torch.randn(3, 5),
        torch.randn(7).bfloat16(),
        torch.arange(6).view(2, 3).T,  # not contiguous
        torch.empty(0, 4),
        torch.tensor(2.5),
        torch.randn(4, requires_grad=True),
    ]
    file = TensorFile()
    written = [file.write(tensor) for tensor in given]
    for place in (4, 0, 5, 2, 1, 3, 0):
        read = file.read(written[place])
        assert read.dtype == given[place].dtype
        assert torch.equal(read, given[place].detach())
        assert not read.requires_grad


def test_the_file_is_closed_with_the_object() -> None:
    file = TensorFile()
    file.write(torch.ones(3))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del file
        gc.collect()
    assert not [warning for warning in caught if issubclass(warning.category, ResourceWarning)]
