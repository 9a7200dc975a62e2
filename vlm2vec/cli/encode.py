"""`vlm2vec encode`: files -> vectors in an .npz file, or in a folder of shards."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from vlm2vec.atomic_write import replacing
from vlm2vec.cli.files import Item, items_of, printable, reason
from vlm2vec.cli.limits import as_options, with_limits
from vlm2vec.cli.log import log_lines
from vlm2vec.cli.model import Model, ProfileName, Truncate, check_names, load
from vlm2vec.cli.output import check_folder, checked_output
from vlm2vec.cli.report import err, out, print_broken
from vlm2vec.cli.stop import stopped_means
from vlm2vec.errors import VectorsMismatchError, VLM2VecError
from vlm2vec.media.limits import Limits

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from vlm2vec import VLM2Vec
    from vlm2vec.jobs import EncodingReport

EPILOG = "[bold]Example:[/bold] vlm2vec encode photo.jpg clip.mp4 report.pdf --pages -o vectors.npz"

_SHOWN = 20  # files without a vector that are listed


class OnError(StrEnum):
    """What a broken file does."""

    RAISE = "raise"
    NAN = "nan"


@with_limits
def encode(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Images, videos, PDFs, and .txt or .md texts.")
    ] = None,
    *,
    output: Annotated[
        str,
        typer.Option("--output", "-o", help="The .npz file to write; or, with a slash behind it, a folder."),
    ],
    files_from: Annotated[
        typer.FileText | None,
        typer.Option("--files-from", help="A file that names the files, one a line; - is standard input."),
    ] = None,
    pages: Annotated[bool, typer.Option("--pages", help="A vector per page of a PDF, not per PDF.")] = False,
    on_error: Annotated[
        OnError | None,
        typer.Option(
            help="A broken file ends the command, or gives a row of NaN.",
            show_default="raise for a file, nan for a folder",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the output file if it exists.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Of a folder: encode again what has failed before.")
    ] = False,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="I/N", help="Of a folder: do the I-th of N shares, such as 1/4.", show_default="all"
        ),
    ] = None,
    rows_per_shard: Annotated[
        int | None,
        typer.Option(min=1, help="Of a folder: files that are written together.", show_default="1024"),
    ] = None,
    model: Model = None,
    profile: ProfileName = None,
    instruction: Annotated[
        str | None, typer.Option(help="What to represent the files for.", show_default="the model's own")
    ] = None,
    truncate: Truncate = False,
    limits: Limits,
) -> None:
    """Write the vectors of files to an .npz file, or to a folder, a shard at a time.

    The file holds `vectors`, (n, dim) float32, and `names`, (n,), with `#page=3` behind them for --pages.
    A folder is for what takes long: stopped anywhere, the same command goes on where it was. It holds shards:
    .npy files, with JSON lines beside them.

    Exit codes: 0 all files were read, 1 none was or an error, 2 wrong usage, 3 some rows are NaN.
    """
    paths = [*(files or []), *(Path(line.rstrip("\n")) for line in files_from or () if line.strip())]
    if not paths:
        raise typer.BadParameter("Name files, or a list of them with --files-from.", param_hint="FILES")
    for path in paths:
        if path.is_dir():
            what = f"{path}: a folder is one clip, its files the frames; pass files, or {path}/*.png"
            raise typer.BadParameter(what, param_hint="FILES")
    check_names(model, profile)
    settings: dict[str, Any] = {"instruction": instruction, "truncate": truncate}
    if output.endswith(("/", os.sep)) or Path(output).is_dir():
        if force:
            what = f"It replaces a file. To begin anew, remove the folder {output}."
            raise typer.BadParameter(what, param_hint="--force")
        report = _encode_to(
            Path(output),
            paths,
            limits,
            pages=pages,
            on_error=(on_error or OnError.NAN).value,
            retry_failed=retry_failed,
            part=_part_of(part),
            rows_per_shard=rows_per_shard,
            model=lambda: load(model, profile, limits=limits),
            **settings,
        )
        _print_failures(report)
        told = str(report).replace("retry_failed=True", "--retry-failed")
        out.print(told, soft_wrap=True, markup=False)
        nothing = report.rows and report.failed == report.rows
        raise typer.Exit(1 if nothing else 3 if report.failed else 0)
    for name, value in {
        "--retry-failed": retry_failed,
        "--part": part,
        "--rows-per-shard": rows_per_shard,
    }.items():
        if value:
            raise typer.BadParameter(f"It is for a folder, as in --output {output}/", param_hint=name)
    target = checked_output(Path(output), "--output", replace=force, in_place=False)
    strict = on_error is not OnError.NAN
    broken: dict[str, str] = {}
    items = [item for path in paths for item in _items(path, broken, limits, pages=pages, strict=strict)]
    if all(item.full_name in broken for item in items):
        _end_without_vectors(broken)
    encoder = load(model, profile, limits=limits)
    import numpy as np

    def note(index: int, error: VLM2VecError) -> None:
        broken[items[index].full_name] = reason(error)

    with stopped_means("nothing was written"), _known_by_file([item.full_name for item in items]):
        vectors = encoder.encode_document(
            [item.content for item in items],
            on_error="raise" if strict else note,
            show_progress_bar=err.is_terminal,
            **settings,
        )
    if np.isnan(vectors).all():
        _end_without_vectors(broken)
    print_broken(broken)
    _save(target, vectors=vectors, names=np.array([item.full_name for item in items]))
    size = " x ".join(str(side) for side in vectors.shape)
    out.print(f"{size} vectors in {output}", soft_wrap=True, markup=False)
    raise typer.Exit(3 if broken else 0)


def _encode_to(
    folder: Path,
    paths: list[Path],
    limits: Limits,
    *,
    pages: bool,
    model: Callable[[], VLM2Vec],
    **settings: Any,
) -> EncodingReport:
    check_folder(folder, "--output")
    contents: list[Any] = paths
    names = [printable(path) for path in paths]
    if pages:  # whose number is known once the files are open
        items = [item for path in paths for item in _items(path, {}, limits, pages=True, strict=False)]
        contents, names = [item.content for item in items], [item.full_name for item in items]

    from vlm2vec.jobs import encode_to

    goes_on = stopped_means("the same command goes on where it was")
    with goes_on, log_lines("vlm2vec.jobs"), _known_by_file(names):
        return encode_to(
            folder, contents, ids=names, model=model(), show_progress_bar=err.is_terminal, **settings
        )


def _part_of(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise typer.BadParameter(f"{text} is no part. Write 1/4 for the first of four.", param_hint="--part")
    return int(match[1]), int(match[2])


def _print_failures(report: EncodingReport) -> None:
    shown = {str(row.id): as_options(row.error or "") for row in itertools.islice(report.failures(), _SHOWN)}
    print_broken(shown, count=report.failed)
    if report.failed > len(shown):
        err.print(f"  and more: lines with an error in {report.path}/*.jsonl", soft_wrap=True, markup=False)


@contextmanager
def _known_by_file(names: Sequence[str]) -> Iterator[None]:
    """An error about an input names its file; a text would be named by its words."""
    try:
        yield
    except VLM2VecError as error:
        if error.index is not None and not isinstance(error, VectorsMismatchError):
            error.source = names[error.index]
            error.index = None
        raise


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
    import numpy as np

    with replacing(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, vectors=vectors, names=names)
