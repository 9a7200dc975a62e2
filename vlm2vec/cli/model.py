"""The model that a command works with, and the options of all that do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from vlm2vec.cli.report import err
from vlm2vec.media.limits import Limits
from vlm2vec.notices import without_bars_of_transformers

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder

    from vlm2vec import VLM2Vec

__all__ = ["Model", "ProfileName", "Truncate", "check_names", "load", "load_multi_vector", "loading"]

Model: TypeAlias = Annotated[
    str | None,
    typer.Option("--model", help="Folder or hub id of a model.", show_default="the small one in the package"),
]
ProfileName: TypeAlias = Annotated[
    str | None,
    typer.Option("--profile", help="Family of a model that does not say its own, such as vlm2vec-v2."),
]
Truncate: TypeAlias = Annotated[
    bool,
    typer.Option("--truncate", help="Shorten texts that the model's context does not hold; media never are."),
]


def check_names(model: str | None, profile: str | None = None) -> None:
    """Raise for a model or a profile that there is none of, before anything is imported that takes seconds.

    Args:
        model: A folder, or a repository on the hub; `None` is the small one.
        profile: Of its family.

    Raises:
        CheckpointError: There is no such folder or repository, or it is one that is not loaded.
        ProfileError: There is no such profile.
    """
    from vlm2vec import profiles
    from vlm2vec.checkpoints.folder import check_path

    if profile is not None:
        profiles.get(profile)
    check_path(model)
    if model is not None and not Path(model).is_dir():
        from vlm2vec.checkpoints.repository import check_repository

        check_repository(model)


def load(
    model: str | None = None,
    profile: str | None = None,
    device: str | None = None,
    limits: Limits | None = None,
) -> VLM2Vec:
    """The model."""
    with loading():
        from vlm2vec import VLM2Vec

        return VLM2Vec(model, profile=profile, device=device, limits=limits)


def load_multi_vector(model: str, device: str | None = None) -> MultiVectorEncoder:
    """A late-interaction model of sentence-transformers, such as ColPali."""
    with loading():
        from sentence_transformers import MultiVectorEncoder

        return MultiVectorEncoder(model, device=device)


@contextmanager
def loading() -> Iterator[None]:
    """Loading without the bars of transformers; those of downloads stay."""
    with err.status("Loading the model"), without_bars_of_transformers():
        yield
