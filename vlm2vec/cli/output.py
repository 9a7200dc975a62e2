"""Files and folders that the commands write: checked before any work, and never anything but these."""

from __future__ import annotations

import tempfile
from pathlib import Path

import typer

__all__ = ["check_folder", "checked_output"]


def checked_output(path: Path, option: str, *, replace: bool, in_place: bool = True) -> Path:
    """The file to write, links followed.

    Args:
        path: What the user named.
        option: Under which option.
        replace: Whether a file that is there already may go.
        in_place: Whether it is written into that file, or beside it first.

    Raises:
        typer.BadParameter: It is there already, is no regular file, or has no folder to be in.
        OSError: It cannot be written.
    """
    target = path.resolve()
    if not target.parent.is_dir():
        raise typer.BadParameter(f"There is no folder {path.parent}.", param_hint=option)
    if target.exists() and not target.is_file():
        raise typer.BadParameter(f"{path} is no regular file.", param_hint=option)
    if target.exists() and not replace:
        raise typer.BadParameter(f"{path} exists. Add --force to replace it.", param_hint=option)
    try:
        _try_to_write(target, in_place=in_place)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    return target


def check_folder(path: Path, option: str) -> None:
    """Raise unless files can be written into a folder, which need not be there yet.

    Args:
        path: What the user named.
        option: Under which option.

    Raises:
        typer.BadParameter: A file is in its way.
        OSError: It cannot be written.
    """
    target = path.resolve()
    there = next(folder for folder in (target, *target.parents) if folder.exists())
    if not there.is_dir():
        raise typer.BadParameter(f"{there} is no folder.", param_hint=option)
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _try_to_write(target: Path, *, in_place: bool) -> None:
    """Opens what will be written; permissions alone do not tell it of every file system."""
    if in_place and target.exists():
        with target.open("ab"):
            return
    with tempfile.TemporaryFile(dir=target.parent):
        pass
