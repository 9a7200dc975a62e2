"""Recipes: mixtures with settings for training, as YAML; each number there says where it comes from.

Example:
    >>> from vlm2vec.training import recipes
    >>> recipes.names()
    ['image-small', 'vlm2vec-v1', 'vlm2vec-v1-llava-next', 'vlm2vec-v1-phi3v', 'vlm2vec-v2-paper',
     'vlm2vec-v2-released']
    >>> recipes.path("vlm2vec-v1").name
    'vlm2vec-v1.yaml'
"""

from __future__ import annotations

from pathlib import Path

from vlm2vec.errors import InputError

__all__ = ["names", "path"]

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The recipes inside the package, sorted."""
    return sorted(file.stem for file in _FOLDER.glob("*.yaml"))


def path(name: str) -> Path:
    """Where a recipe's file is, for `Mixture.from_yaml(path, root=...)` or to copy and change it.

    Raises:
        InputError: There is none of that name.
    """
    if name not in names():
        raise InputError(f'there is no recipe "{name}"', fix=f"Choose one of {', '.join(names())}.")
    return _FOLDER / f"{name}.yaml"
