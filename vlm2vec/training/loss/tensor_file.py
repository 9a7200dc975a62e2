"""Tensors kept in a file, so that many of them take no memory."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile, gettempdir

import numpy as np
import torch
from torch import Tensor

from vlm2vec.atomic_write import naming

__all__ = ["TensorFile", "WrittenTensor"]


@dataclass(frozen=True)
class WrittenTensor:
    """Where a tensor lies in its file, and what it was."""

    offset: int
    shape: tuple[int, ...]
    dtype: torch.dtype


class TensorFile:
    """A file without a name in the folder for temporary files; it goes away with the object.

    Example:
        >>> file = TensorFile()
        >>> first, second = file.write(torch.arange(3)), file.write(torch.ones(2, 2, dtype=torch.bfloat16))
        >>> file.read(first).tolist(), file.read(second).dtype
        ([0, 1, 2], torch.bfloat16)
    """

    def __init__(self) -> None:
        self._file = TemporaryFile(prefix="vlm2vec-")  # noqa: SIM115  # as long as the object
        weakref.finalize(self, self._file.close)
        self._end = 0

    def write(self, tensor: Tensor) -> WrittenTensor:
        """Append a tensor, of any device."""
        content = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
        written = WrittenTensor(self._end, tuple(tensor.shape), tensor.dtype)
        with naming(Path(gettempdir())):  # it may be small, and has no place of its own to be named
            self._file.seek(self._end)
            self._file.write(content.data)
            self._file.flush()
        self._end += content.nbytes
        return written

    def read(self, written: WrittenTensor) -> Tensor:
        """The tensor, on the CPU."""
        size = written.dtype.itemsize * int(np.prod(written.shape, dtype=np.int64))
        content = torch.empty(size, dtype=torch.uint8)
        self._file.seek(written.offset)
        self._file.readinto(content.numpy().data)
        return content.view(written.dtype).view(written.shape)
