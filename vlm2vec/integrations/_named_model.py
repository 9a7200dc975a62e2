"""Models by name: loaded once in a process, and kept by a database as what loads them again."""

from __future__ import annotations

import copy
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

__all__ = ["full_name", "given_model", "model_of", "named"]

_LOADED: list[tuple[str | None, dict[str, Any], VLM2Vec]] = []
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
        InputError: It was changed in memory, so nothing can load it again; or `options` stand beside a model
            that is loaded, or are no plain values.

    Example:
        >>> from vlm2vec import VLM2Vec
        >>> named("VLM2Vec/VLM2Vec-V2.0")
        ('VLM2Vec/VLM2Vec-V2.0', {})
        >>> name, options = named(VLM2Vec(truncate_dim=64))
        >>> name, options["dtype"], options["truncate_dim"]
        (None, 'float32', 64)
    """
    given = given_model(model, options)
    if given is None:
        return full_name(model), _plain(options or {})
    from vlm2vec.checkpoints.adapter import has_adapter
    from vlm2vec.model import EMBEDDED_MODEL

    own = str(given[0].model.name_or_path or "")
    if not own:
        raise _no_name("the model has no name")
    if has_adapter(given[0].model):
        raise _no_name("the model has an adapter that is not merged, and its name is that of the base")
    name = None if own == str(EMBEDDED_MODEL) else full_name(own)
    options = _plain(_options_of(given))
    with _LOADING:
        _keep(name, options, given)
    return name, options


def given_model(model: Any, options: Mapping[str, Any] | None = None) -> VLM2Vec | None:
    """The model if it is loaded; `None` for one that is named.

    Raises:
        InputError: It is neither; or `options` stand beside a model that is loaded.

    Example:
        >>> given_model("VLM2Vec/VLM2Vec-V2.0", {"dtype": "bfloat16"}) is None
        True
    """
    if model is None or (isinstance(model, str | os.PathLike) and model != ""):
        return None
    from vlm2vec.model import VLM2Vec

    if not isinstance(model, VLM2Vec):
        raise InputError(
            f"the model is {describe_value(model)}", fix="Pass a VLM2Vec, or a folder or hub id of one."
        )
    if options:
        raise InputError(
            f"model_kwargs has {', '.join(options)}, and the model is loaded already",
            fix="Load it with these, or pass its name.",
        )
    return model


def full_name(model: Any) -> str | None:
    """The name of a model that is named, of a folder in full: another program has another current folder."""
    if not isinstance(model, str | os.PathLike):
        return None
    return str(Path(model).absolute()) if Path(model).is_dir() else os.fspath(model)


def model_of(name: str | None, options: Mapping[str, Any] | None = None) -> VLM2Vec:
    """The model of a name, loaded once for each set of options, and kept until the process ends.

    Args:
        name: As `full_name` or `named` gives it.
        options: What `VLM2Vec` takes besides: `device`, `dtype`, `revision`, `profile`, ...

    Raises:
        CheckpointError: It cannot be loaded.

    Example:
        >>> model_of(None) is model_of(None)
        True
    """
    options = dict(options or {})
    model = _kept(name, options)  # without the lock: another model may be loading for minutes
    if model is None:
        with _LOADING:
            model = _kept(name, options)
            if model is None:
                from vlm2vec.model import VLM2Vec

                model = VLM2Vec(name, **options)
                _keep(name, options, model)
    return model


def _kept(name: str | None, options: Mapping[str, Any]) -> VLM2Vec | None:
    return next((kept[2] for kept in _LOADED if kept[:2] == (name, options)), None)


def _keep(name: str | None, options: Mapping[str, Any], model: VLM2Vec) -> None:
    others = [kept for kept in _LOADED if kept[:2] != (name, options)]
    _LOADED[:] = [*others, (name, copy.deepcopy(dict(options)), model)]


def _options_of(model: VLM2Vec) -> dict[str, Any]:
    """With what to load the model again, as plain values."""
    options: dict[str, Any] = {
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "prompts": dict(model.prompts),
    }
    profile = model.profile
    if profile.name in profiles.names() and profiles.get(profile.name) == profile:
        options["profile"] = profile.name
    elif profile != _profile_of_folder(model):
        raise _no_name("the model follows a profile or a pixel budget that was set when it was loaded")
    if model[0].revision is not None and not Path(model[0].model.name_or_path).is_dir():
        options["revision"] = model[0].revision
    if model.truncate_dim is not None:
        options["truncate_dim"] = model.truncate_dim
    folders = model[0].allow_files
    if folders is not True:
        options["allow_files"] = [str(folder) for folder in folders] if folders else False
    if model[0].allow_urls:
        options["allow_urls"] = True
    return options


def _profile_of_folder(model: VLM2Vec) -> profiles.Profile | None:
    """What `VLM2Vec` follows when it is given the name alone, in a folder that names no profile by itself."""
    from vlm2vec.backbones.registry import layout_of
    from vlm2vec.checkpoints.own_template import with_own_template

    first = model[0]
    own = str(first.model.name_or_path)
    folder = Path(own) if Path(own).is_dir() else first.folders[0]
    found = profiles.Profile.load(folder)
    if found is None and model.profile.name in profiles.names():
        found = profiles.get(model.profile.name)
    return found and with_own_template(found, first.tokenizer, folder, layout_of(first.model))


def _no_name(found: str) -> InputError:
    return InputError(
        f"{found}, and what keeps its vectors could not load it again",
        fix="Save it with model.save(folder), and pass the folder.",
    )


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as a file of JSON gives them back."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(options)))
    except TypeError:
        raise InputError(
            f"model_kwargs cannot be kept as JSON: {shorten(repr(dict(options)))}",
            fix='Pass plain values, such as {"dtype": "bfloat16"}.',
        ) from None
    return plain
