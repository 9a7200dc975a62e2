"""Commands whose help has whole paragraphs, and flags as they are typed: not `--once <bool>`."""

from __future__ import annotations

import inspect
from typing import Any

from typer.core import TyperCommand, TyperGroup

__all__ = ["Command", "Group"]


class Command(TyperCommand):
    """A command of the command line."""

    def get_params(self, ctx: Any) -> Any:
        """As Typer, which would show the type of a flag, too."""
        return _with_plain_flags(super().get_params(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """As Typer, which would keep the line ends of the source in all paragraphs but the first."""
        paragraphs = inspect.cleandoc(self.help or "").split("\n\n")
        self.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        super().format_help(ctx, formatter)


class Group(TyperGroup):
    """A command that has commands."""

    def get_params(self, ctx: Any) -> Any:
        """As those of a command."""
        return _with_plain_flags(super().get_params(ctx))


def _with_plain_flags(params: Any) -> Any:
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
            if param.default is None:  # Typer's --help: for a value that is no bool it imports pydantic
                param.default = False
    return params
