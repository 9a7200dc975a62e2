"""`vlm2vec encode`: files -> vectors in an .npz file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import numpy as np
import numpy.typing as npt
import typer

from vlm2vec.atomic_write import replacing
from vlm2vec.cli.files import Item, items_of, printable, reason
from vlm2vec.cli.limits import with_limits
from vlm2vec.cli.model import Model, ProfileName, Truncate, load
from vlm2vec.cli.output import checked_output
from vlm2vec.cli.report import err, out, print_broken
from vlm2vec.errors import VLM2VecError
from vlm2vec.media.limits import Limits

EPILOG = "[bold]Example:[/bold] vlm2vec encode photo.jpg clip.mp4 report.pdf --pages --output vectors.npz"


class OnError(StrEnum):
    """What a broken file does."""

    RAISE = "raise"
    NAN = "nan"


@with_limits
def encode(
    files: Annotated[list[Path], typer.Argument(help="Images, videos, PDFs, and .txt or .md texts.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", dir_okay=False, help="The .npz file to write.")],
    pages: Annotated[bool, typer.Option("--pages", help="A vector per page of a PDF, not per PDF.")] = False,
    on_error: Annotated[
        OnError, typer.Option(help="A broken file ends the command, or gives a row of NaN.")
    ] = OnError.RAISE,
    force: Annotated[bool, typer.Option("--force", help="Replace the output file if it exists.")] = False,
    model: Model = None,
    profile: ProfileName = None,
    instruction: Annotated[
        str | None, typer.Option(help="What to represent the files for.", show_default="the model's own")
    ] = None,
    truncate: Truncate = False,
    limits: Limits,
) -> None:
    """Write the vectors of files to an .npz file.

    It holds `vectors`, (n, dim) float32, and `names`, (n,), which have `#page=3` behind them with --pages.

    Exit codes: 0 all files were read, 1 none was or an error, 2 wrong usage, 3 some rows are NaN.
    """
    target = checked_output(output, "--output", replace=force, in_place=False)
    for path in files:
        if path.is_dir():
            what = f"{path}: a folder is one clip, its files the frames; pass files, or {path}/*.png"
            raise typer.BadParameter(what, param_hint="FILES")
    strict = on_error is OnError.RAISE
    broken: dict[str, str] = {}
    items = [item for path in files for item in _items(path, broken, limits, pages=pages, strict=strict)]
    if all(item.full_name in broken for item in items):
        _end_without_vectors(broken)
    encoder = load(model, profile, limits=limits)

    def note(index: int, error: VLM2VecError) -> None:
        broken[items[index].full_name] = reason(error)

    try:
        vectors = encoder.encode_document(
            [item.content for item in items],
            instruction=instruction,
            on_error="raise" if strict else note,
            truncate=truncate,
            show_progress_bar=err.is_terminal,
        )
    except VLM2VecError as error:
        if error.index is not None:
            error.source = items[error.index].full_name  # a text is known by its file
            error.index = None
        raise
    if np.isnan(vectors).all():
        _end_without_vectors(broken)
    print_broken(broken)
    _save(target, vectors=vectors, names=np.array([item.full_name for item in items]))
    size = " x ".join(str(side) for side in vectors.shape)
    out.print(f"{size} vectors in {output}", soft_wrap=True, markup=False)
    raise typer.Exit(3 if broken else 0)


def _items(path: Path, broken: dict[str, str], limits: Limits, *, pages: bool, strict: bool) -> list[Item]:
    try:
        return items_of(path, printable(path), pages=pages, limits=limits)
    except VLM2VecError as error:
        if strict:
            raise
        broken[printable(path)] = reason(error)
        # Its one row stays in place: encode will find the same fault, and make it NaN.
        return [Item(printable(path), path, "unknown", path)]


def _end_without_vectors(broken: dict[str, str]) -> NoReturn:
    print_broken(broken)
    err.print("No file could be read; nothing was written.", style="red")
    raise typer.Exit(1)


def _save(path: Path, *, vectors: npt.NDArray[np.float32], names: npt.NDArray[np.str_]) -> None:
    """Write the whole file or none of it."""
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, vectors=vectors, names=names)
