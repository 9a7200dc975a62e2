"""Files that the commands write: checked before any work, and never anything but files."""

from __future__ import annotations

from pathlib import Path

import typer

__all__ = ["checked_output"]


def checked_output(path: Path, option: str, *, replace: bool) -> Path:
    """The file to write, links followed.

    Args:
        path: What the user named.
        option: Under which option.
        replace: Whether a file that is there already may go.

    Raises:
        typer.BadParameter: It is there already, is no regular file, or has no folder to be in.
    """
    target = path.resolve()
    if not target.parent.is_dir():
        raise typer.BadParameter(f"There is no folder {path.parent}.", param_hint=option)
    if target.exists() and not target.is_file():
        raise typer.BadParameter(f"{path} is no regular file.", param_hint=option)
    if target.exists() and not replace:
        raise typer.BadParameter(f"{path} exists. Add --force to replace it.", param_hint=option)
    return target
