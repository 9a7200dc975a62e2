"""`vlm2vec index`: make an index of a folder, or bring it up to date."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlm2vec.cli.files import kept_reason
from vlm2vec.cli.limits import with_limits
from vlm2vec.cli.model import Model, ProfileName, check_names
from vlm2vec.cli.report import err, out, print_broken, print_unknown
from vlm2vec.cli.stop import stopped_means
from vlm2vec.media.limits import Limits

if TYPE_CHECKING:
    from vlm2vec.index import Index, SyncReport

EPILOG = "[bold]Example:[/bold] vlm2vec index ~/Pictures --exclude drafts --exclude '*.gif'"


class StorageType(StrEnum):
    """Type of stored vectors."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"


@with_limits
def index(
    folder: Annotated[
        Path,
        typer.Argument(help="What to index, folders in it too; or an index, whose folders are followed."),
    ],
    *,
    store: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Where the index is kept.", show_default=".vlm2vec in the folder"),
    ] = None,
    include: Annotated[
        list[str] | None, typer.Option(help="Only files whose name or path fits; may be given several times.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="No files or folders whose name or path fits; the same.")
    ] = None,
    follow_links: Annotated[bool, typer.Option("--follow-links", help="Follow links to folders.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try files again that failed and are as they were.")
    ] = False,
    reindex: Annotated[
        bool,
        typer.Option("--reindex", help="Encode everything again, with the model and settings given here."),
    ] = False,
    ann: Annotated[
        bool, typer.Option("--ann", help="Build the index for approximate search, for over 100,000 rows.")
    ] = False,
    model: Model = None,
    profile: ProfileName = None,
    instruction: Annotated[
        str | None, typer.Option(help="What to represent files for.", show_default="the model's own")
    ] = None,
    segment_seconds: Annotated[
        float | None, typer.Option(help="A row for so much of a video, in seconds.", show_default="10")
    ] = None,
    passage_tokens: Annotated[
        int | None, typer.Option(min=1, help="A row for so much of a text at most.", show_default="512")
    ] = None,
    dimensions: Annotated[
        int | None, typer.Option(min=1, help="Components kept of each vector.", show_default="all")
    ] = None,
    storage: Annotated[
        StorageType | None, typer.Option(help="Type of the stored vectors.", show_default="float32")
    ] = None,
    limits: Limits,
) -> None:
    """Make an index of a folder's images, videos, texts and PDF pages, or bring it up to date.

    Only what is new or changed is encoded. It can be stopped at any time, and goes on when called again.

    Exit codes: 0 all files were read, 1 an error, 2 wrong usage, 3 some files are broken.
    """
    if not folder.is_dir():
        raise typer.BadParameter(f"There is no folder {folder}.", param_hint="FOLDER")
    check_names(model, profile)

    from vlm2vec.index import Index
    from vlm2vec.index.place import find_store

    settings: dict[str, Any] = {
        "instruction": instruction,
        "segment_seconds": segment_seconds,
        "passage_tokens": passage_tokens,
        "dimensions": dimensions,
        "storage": None if storage is None else storage.value,
    }
    place = store or find_store(folder) or folder
    what = None if store is None and find_store(folder) == folder else folder
    if reindex and find_store(place) is not None:
        opened = Index(place, limits=limits)
        given = {name: value for name, value in settings.items() if value is not None}
        report = opened.reindex(model, profile=profile, **given)
    else:
        opened = Index(place, model, profile=profile, limits=limits, **settings)
        with stopped_means("the same command goes on where it was"):
            report = opened.sync(
                what,
                include=include or None,
                exclude=exclude or None,
                follow_links=follow_links or None,
                retry_failed=retry_failed,
            )
    _print(opened, report)
    if ann:
        out.print(str(opened.build_ann()), soft_wrap=True, markup=False)
    raise typer.Exit(3 if report.failures else 0)


def _print(index: Index, report: SyncReport) -> None:
    out.print(f"{index.store}: {report}", soft_wrap=True, markup=False)
    print_unknown(report.unknown)
    print_broken({_name(each.path, each.part): kept_reason(each.reason) for each in report.failures})
    if report.unsettled:
        _print_unsettled(report.unsettled)


def _print_unsettled(names: Sequence[str]) -> None:
    err.print(f"{len(names)} changed while they were read, and are left for the next time:", style="yellow")
    for name in names:
        err.print(f"  {name}", soft_wrap=True, markup=False)


def _name(path: str, part: str) -> str:
    return f"{path}, {part}" if part else path
