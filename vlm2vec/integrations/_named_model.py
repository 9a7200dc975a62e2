"""Models by name: a database keeps the name of the model that it searches with, and asks for it often."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm2vec import profiles
from vlm2vec.describe import describe_value, shorten
from vlm2vec.errors import InputError

if TYPE_CHECKING:
    from vlm2vec.model import VLM2Vec

__all__ = ["model_of", "named"]

_LOADED: dict[tuple[str | None, str], VLM2Vec] = {}
_LOADING = threading.Lock()


def named(
    model: VLM2Vec | str | os.PathLike[str] | None, options: Mapping[str, Any] | None = None
) -> tuple[str | None, dict[str, Any]]:
    """Name and options with which a model can be loaded again; until then `model_of` gives a loaded one back.

    Args:
        model: A model, or its folder or hub id. `None` is the small model in the package.
        options: What `VLM2Vec` takes besides, for a model that is named.

    Returns:
        An absolute path, a hub id, or `None` for the small model in the package; and the options. Of a model
        that is loaded, these are all that its vectors depend on, and what it may read.

    Raises:
        InputError: It was trained in memory, so nothing can load it again; or `options` stand beside a model
            that is loaded, or are no plain values.

    Example:
        >>> from vlm2vec import VLM2Vec
        >>> named("VLM2Vec/VLM2Vec-V2.0")
        ('VLM2Vec/VLM2Vec-V2.0', {})
        >>> name, options = named(VLM2Vec(truncate_dim=64))
        >>> name, options["dtype"], options["truncate_dim"]
        (None, 'float32', 64)
    """
    options = dict(options or {})
    if model is None or isinstance(model, str | os.PathLike):
        _key(None, options)
        return _full_name(model), options
    from vlm2vec.model import EMBEDDED_MODEL, VLM2Vec

    if not isinstance(model, VLM2Vec):
        raise InputError(
            f"model is {describe_value(model)}", fix="Pass a VLM2Vec, or the folder or hub id of one."
        )
    if options:
        raise InputError(
            f"model_kwargs are given for a model that is loaded: {', '.join(options)}",
            fix="Pass its folder or hub id, or leave them out.",
        )
    own = str(model[0].model.name_or_path or "")
    if not own:
        raise InputError(
            "the model has no name, and what keeps its vectors could not load it again",
            fix="Save it first: model.save(folder).",
        )
    name = None if own == str(EMBEDDED_MODEL) else _full_name(own)
    options = _options_of(model)
    with _LOADING:
        _LOADED[_key(name, options)] = model
    return name, options


def model_of(name: str | None, options: Mapping[str, Any] | None = None) -> VLM2Vec:
    """The model of a name, loaded once for each set of options, and kept until the process ends.

    Args:
        name: As `named` gives it.
        options: What `VLM2Vec` takes besides: `device`, `dtype`, `revision`, `profile`, ...; plain values.

    Raises:
        CheckpointError: It cannot be loaded.

    Example:
        >>> model_of(None) is model_of(None)
        True
    """
    from vlm2vec.model import VLM2Vec

    options = dict(options or {})
    with _LOADING:
        key = _key(name, options)
        if key not in _LOADED:
            _LOADED[key] = VLM2Vec(name, **options)
        return _LOADED[key]


def _options_of(model: VLM2Vec) -> dict[str, Any]:
    """With what to load the model again, as plain values."""
    options: dict[str, Any] = {
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "prompts": dict(model.prompts),
    }
    if model.profile.name in profiles.names() and profiles.get(model.profile.name) == model.profile:
        options["profile"] = model.profile.name
    if model.truncate_dim is not None:
        options["truncate_dim"] = model.truncate_dim
    folders = model[0].allow_files
    if folders is not True:
        options["allow_files"] = [str(folder) for folder in folders] if folders else False
    if model[0].allow_urls:
        options["allow_urls"] = True
    return options


def _full_name(name: str | os.PathLike[str] | None) -> str | None:
    if name is None:
        return None
    # A program that opens the database elsewhere has another current folder.
    return str(Path(name).absolute()) if Path(name).is_dir() else os.fspath(name)


def _key(name: str | None, options: Mapping[str, Any]) -> tuple[str | None, str]:
    try:
        return name, json.dumps(options, sort_keys=True)
    except TypeError:
        raise InputError(
            f"model_kwargs cannot be kept as JSON: {shorten(repr(dict(options)))}",
            fix='Pass plain values, such as {"dtype": "bfloat16"}.',
        ) from None
