"""The `vlm2vec` command: one file per subcommand."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import typer

from vlm2vec._version import __version__
from vlm2vec.cli import demo, doctor, encode, fit, index, mmeb, search, serve
from vlm2vec.cli.command import Command, Group
from vlm2vec.cli.files import fix_of
from vlm2vec.cli.report import err
from vlm2vec.cli.stop import stopping_at_once
from vlm2vec.errors import VLM2VecError

__all__ = ["main"]

app = typer.Typer(
    name="vlm2vec",
    cls=Group,
    help="One embedding space for text, images, videos and PDF pages.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command(cls=Command, epilog=demo.EPILOG)(demo.demo)
app.command(cls=Command, epilog=index.EPILOG)(index.index)
app.command(cls=Command, epilog=search.EPILOG)(search.search)
app.command(cls=Command, epilog=serve.EPILOG)(serve.serve)
app.command(cls=Command, epilog=encode.EPILOG)(encode.encode)
app.command(cls=Command, epilog=fit.EPILOG)(fit.fit)
app.add_typer(mmeb.app)
app.command(cls=Command, epilog=doctor.EPILOG)(doctor.doctor)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"vlm2vec {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; ends in `SystemExit` with the exit code.

    Args:
        arguments: What follows `vlm2vec`; those of the process by default.

    Example:
        >>> try:
        ...     main(["--version"])
        ... except SystemExit as end:
        ...     print("exit code", end.code)
        vlm2vec 0...
        exit code 0
    """
    with warnings.catch_warnings(), stopping_at_once(is_program=arguments is None):
        warnings.showwarning = _show_warning
        try:
            app(args=arguments)
        except VLM2VecError as error:
            error.fix = fix_of(error)
            err.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
            raise SystemExit(1) from None
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            err.print(f"error: {where}{error.strerror or error}", style="red", markup=False, soft_wrap=True)
            raise SystemExit(1) from None


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    err.print(f"warning: {message}", style="yellow", markup=False, soft_wrap=True)
