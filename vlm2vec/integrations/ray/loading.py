"""`load_model`: the model of a process of Ray, on the device that Ray lent to it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import ray

from vlm2vec.describe import describe_value
from vlm2vec.errors import InputError

if TYPE_CHECKING:
    from vlm2vec.model import VLM2Vec

__all__ = ["check_model", "check_role", "load_model"]


def check_model(model: Any) -> str | None:
    """The name of a model, which each process loads by itself.

    Raises:
        InputError: It is none, such as a model that is loaded.

    Example:
        >>> from pathlib import Path
        >>> check_model(Path("models/mine"))
        'models/mine'
    """
    if model is None or isinstance(model, str | os.PathLike):
        return None if model is None else os.fspath(model)
    raise InputError(
        f"model is {describe_value(model)}",
        fix="Pass the folder or hub id of one, such as VLM2Vec.save_pretrained writes: "
        "each process loads its own, and weights are not sent.",
    )


def check_role(role: Any) -> None:
    """Raise for what is no role.

    Raises:
        InputError: It is none.
    """
    if role not in ("document", "query"):
        raise InputError(f"role is {describe_value(role)}", fix='Pass "document" or "query".')


def load_model(model: str | None, arguments: Mapping[str, Any] | None) -> VLM2Vec:
    """A model; in an actor that has no GPU of its own it is on the CPU, whatever else the machine has.

    Args:
        model: Its folder or hub id; `None` for the small one in the package.
        arguments: What else `VLM2Vec` takes.
    """
    from vlm2vec.model import VLM2Vec

    given = dict(arguments or {})
    if _is_actor_without_gpu():
        given.setdefault("device", "cpu")
    return VLM2Vec(model, **given)


def _is_actor_without_gpu() -> bool:
    if not ray.is_initialized():
        return False
    context = ray.get_runtime_context()
    return context.get_actor_id() is not None and not context.get_accelerator_ids().get("GPU")
