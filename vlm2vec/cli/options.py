"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

__all__ = ["Model", "ProfileName"]

Model: TypeAlias = Annotated[
    str | None,
    typer.Option("--model", help="Folder or hub id of a model.", show_default="the small one in the package"),
]
ProfileName: TypeAlias = Annotated[
    str | None,
    typer.Option("--profile", help="Family of a model that does not say its own, such as vlm2vec-v2."),
]
