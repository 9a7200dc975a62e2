"""`vlm2vec mmeb download` and `check`: the benchmark's data fetched, and looked at before a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from vlm2vec.cli.report import err, out
from vlm2vec.errors import InputError

__all__ = ["CHECK_EPILOG", "DOWNLOAD_EPILOG", "check", "download"]

DOWNLOAD_EPILOG = "[bold]Example:[/bold] vlm2vec mmeb download DATA -t V-QA -t visdoc --delete-archives"
CHECK_EPILOG = "[bold]Example:[/bold] vlm2vec mmeb check DATA -t visdoc"

_Tasks = Annotated[
    list[str],
    typer.Option("--tasks", "-t", help="all, a modality, a meta-task or a task; may be given several times."),
]
_Compat = Annotated[Literal["v2.0"] | None, typer.Option(help='"v2.0" for the data that run reads with it.')]


def download(
    data: Annotated[Path, typer.Argument(file_okay=False, help="Folder to fetch into.")],
    *,
    tasks: _Tasks = ["all"],  # noqa: B006 - typer copies it
    revision: Annotated[
        list[str] | None,
        typer.Option(
            help="Commit, branch or tag; OWNER/NAME=REVISION for one repository, several times.",
            show_default="what was fetched before, else the newest",
        ),
    ] = None,
    media: Annotated[
        bool, typer.Option("--media/--no-media", help="Fetch pictures and frames, not only annotations.")
    ] = True,
    page_archives: Annotated[
        bool,
        typer.Option(
            "--page-archives", help="Also archives of pages, which the annotations of visdoc hold, too."
        ),
    ] = False,
    compat: _Compat = None,
    delete_archives: Annotated[
        bool, typer.Option("--delete-archives", help="Remove each archive when it is unpacked.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Fetch and unpack again what was unpacked.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Fetch nothing, only say how much it would be.")
    ] = False,
) -> None:
    """Fetch the data of tasks from the hub, unpack them, and check them.

    A download that was stopped goes on when it is started again.

    Exit codes: 0 all is there, or media were not wanted; 1 an error, or something is missing; 2 wrong usage.
    """
    from vlm2vec.mmeb.data import download as fetched

    found = fetched(
        tasks,
        data_dir=data,
        revision=_revision(revision or []),
        media=media,
        page_archives=page_archives,
        compat=compat,
        delete_archives=delete_archives,
        force=force,
        dry_run=dry_run,
        report=lambda plan: err.print(plan, soft_wrap=True, markup=False),
    )
    if not dry_run:
        out.print(str(found), soft_wrap=True, markup=False)
    raise typer.Exit(0 if found.complete or dry_run or not media else 1)


def check(
    data: Annotated[Path, typer.Argument(file_okay=False, help="The folder.")],
    *,
    tasks: _Tasks = ["all"],  # noqa: B006 - typer copies it
    compat: _Compat = None,
) -> None:
    """Say what of the data of tasks is not there, without reading media or asking the hub.

    Exit codes: 0 all is there, 1 an error or something is missing, 2 wrong usage.
    """
    from vlm2vec.mmeb.data import check as checked

    found = checked(tasks, data_dir=data, compat=compat)
    out.print(str(found), soft_wrap=True, markup=False)
    raise typer.Exit(0 if found.complete else 1)


def _revision(given: list[str]) -> str | dict[str, str] | None:
    """One for all repositories, or by repository."""
    named = dict(one.split("=", 1) for one in given if "=" in one)
    plain = [one for one in given if "=" not in one]
    if len(plain) > 1 or (plain and named):
        raise InputError(
            "there are several revisions",
            fix="Say which repository each is of: --revision OWNER/NAME=REVISION.",
        )
    return plain[0] if plain else named or None
