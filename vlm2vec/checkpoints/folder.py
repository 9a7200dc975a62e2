"""What a folder must hold to be loaded: a model or an adapter, and weights that fit the network exactly.

Whether there is a model at all is known before anything is read or fetched. Of weights that do not fit,
transformers and peft only warn.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from vlm2vec.arguments import possible_path
from vlm2vec.describe import shorten
from vlm2vec.errors import CheckpointError
from vlm2vec.profiles import of_repository, repository_like

__all__ = [
    "ADAPTER_CONFIG",
    "CONFIGS",
    "check_path",
    "remove_other_weights",
    "require_complete",
    "require_model",
]

ADAPTER_CONFIG = "adapter_config.json"
CONFIGS = ("config.json", ADAPTER_CONFIG)
"""A model has the one, an adapter the other."""

_NAMED = 3
# Files of weights, and those that say which parts there are.
_WEIGHTS = re.compile(r"(model|pytorch_model)(-\d{5}-of-\d{5})?\.(safetensors|bin)(\.index\.json)?")


def check_path(model: str | Path | None) -> None:
    """Raise for a name of which the hub need not be asked: it can only be a folder, and is none.

    Raises:
        CheckpointError: There is no such folder, there can be none, it is a file, or it is a known model
            that is not loaded.
    """
    if model == "":  # which a `Path` takes for the current folder
        raise CheckpointError(
            "the name of the model is empty",
            fix="Pass a folder, or an id on the hub; None is the small model.",
        )
    if model is None or possible_path(model, error=CheckpointError).is_dir():
        return
    if not Path(model).exists():
        of_repository(str(model))
    is_id = not isinstance(model, Path) and model.count("/") == 1 and "\\" not in model
    if not is_id or str(model).startswith((".", "/", "~")) or Path(model).is_file():
        what = "this is a file" if Path(model).is_file() else "there is no such folder"
        like = None if Path(model).exists() else repository_like(str(model))
        meant = f'Did you mean "{like}"? ' if like else ""
        raise CheckpointError(
            what if "/" in str(model) else f"{what}, and an id on the hub is OWNER/NAME",
            fix=f"{meant}Pass the folder of a model, or its id on the hub.",
            source=str(model),
        )


def require_model(folder: Path, source: str) -> None:
    """Refuse a folder that holds neither a model nor an adapter; folders in it that do are named.

    Args:
        folder: The folder.
        source: What the user called it.

    Raises:
        CheckpointError: It holds neither.
    """
    if _holds_model(folder):
        return
    found = sorted(folder.iterdir())
    cause = f"there is no model in it: neither {' nor '.join(CONFIGS)}"
    inside = [child.name for child in found if child.is_dir() and _holds_model(child)]
    raise CheckpointError(
        cause if found else f"{cause}; it is empty",
        fix=f"Pass a folder in it that holds one: {', '.join(inside[-_NAMED:])}."
        if inside
        else "A model is config.json, tokenizer.json and weights (*.safetensors); an adapter is "
        f"{ADAPTER_CONFIG} and adapter_model.safetensors. model.save(path) writes all that is needed.",
        source=source,
    )


def require_complete(
    folder: Path, *, missing: Iterable[str], unexpected: Iterable[str], misshapen: Iterable[str] = ()
) -> None:
    """Refuse weights that do not fit the network exactly: random or dropped weights give wrong vectors."""
    complaints = [
        f"{len(keys)} {kind} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for kind, keys in (
            ("missing", sorted(missing)),
            ("unexpected", sorted(shorten(key, 120) for key in unexpected)),
            ("of another shape", sorted(misshapen)),
        )
        if keys
    ]
    if complaints:
        raise CheckpointError(
            f"the weights do not fit the model: {'; '.join(complaints)}",
            fix="Check that the folder is complete and of the model it claims to be.",
            source=str(folder),
        )


def remove_other_weights(folder: Path, written: Collection[str]) -> None:
    """Remove a folder's weights of a model that was in it before, which might be loaded in place of the new.

    Args:
        folder: The folder.
        written: Names of the new model's files.
    """
    for file in folder.iterdir():
        if _WEIGHTS.fullmatch(file.name) and file.name not in written:
            file.unlink()


def _holds_model(folder: Path) -> bool:
    return any((folder / name).is_file() for name in CONFIGS)
