"""Commands whose help shows flags as they are typed: `--once`, and not `--once <bool>`."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

__all__ = ["Command", "Group"]


class Command(TyperCommand):
    """A command of the command line."""

    def get_params(self, ctx: Any) -> Any:
        """As Typer, which would show the type of a flag, too."""
        return _without_types_of_flags(super().get_params(ctx))


class Group(TyperGroup):
    """A command that has commands."""

    def get_params(self, ctx: Any) -> Any:
        """As those of a command."""
        return _without_types_of_flags(super().get_params(ctx))


def _without_types_of_flags(params: Any) -> Any:
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
    return params
