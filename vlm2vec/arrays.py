"""Arrays and tensors: recognised and converted without importing torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vlm2vec.errors import InputError

__all__ = ["is_tensor", "is_array", "to_array"]


def is_tensor(value: object) -> bool:
    """Whether `value` is a torch tensor, or of a class derived from it."""
    return any(c.__name__ == "Tensor" and c.__module__.split(".")[0] == "torch" for c in type(value).__mro__)


def is_array(value: object) -> bool:
    """Whether `value` is a numpy array or a torch tensor."""
    return isinstance(value, np.ndarray) or is_tensor(value)


def to_array(value: Any) -> npt.NDArray[Any]:
    """The numpy array of an array or tensor; what its pixels are worth is checked when they are used.

    Raises:
        InputError: The numbers are not real ones, or there are none.
    """
    array = _from_tensor(value) if is_tensor(value) else np.asarray(value)
    if array.dtype.kind not in "buif":
        raise InputError(
            f"an array of dtype {array.dtype} has no pixels",
            fix="Pass uint8 values from 0 to 255, or floats from 0 to 1.",
        )
    if array.size == 0:
        raise InputError(
            f"the array of shape {array.shape} is empty", fix="Pass an array with no side of length 0."
        )
    return array


def _from_tensor(tensor: Any) -> npt.NDArray[Any]:
    try:
        tensor = tensor.detach().cpu()
        if str(tensor.dtype) == "torch.bfloat16":  # a type that numpy lacks
            tensor = tensor.float()
        return np.asarray(tensor.numpy())
    except (TypeError, RuntimeError, NotImplementedError) as error:
        raise InputError(
            f"a tensor of {tensor.dtype} and layout {tensor.layout} cannot become an array",
            fix="Pass a dense uint8 or float tensor.",
        ) from error
