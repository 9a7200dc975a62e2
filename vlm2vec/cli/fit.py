"""`vlm2vec fit`: train a model on what a YAML file, or a recipe of the package, describes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlm2vec.arguments import did_you_mean
from vlm2vec.cli.limits import with_limits
from vlm2vec.cli.model import ProfileName, check_names, load
from vlm2vec.cli.output import check_folder
from vlm2vec.cli.report import out
from vlm2vec.errors import InputError
from vlm2vec.launch import launched
from vlm2vec.media.limits import Limits

if TYPE_CHECKING:
    from vlm2vec.training import FitSettings, Mixture

EPILOG = "[bold]Example:[/bold] vlm2vec fit pets.yaml --root data --output pets-model --print-plan"


@with_limits
def fit(
    config: Annotated[str, typer.Argument(help="A mixture's YAML file, or the name of a recipe.")],
    *,
    root: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Folder of the data.",
            show_default="what the file says; for a recipe, the current folder",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            file_okay=False,
            help="Where the model and its checkpoints go.",
            show_default="vlm2vec-fit/ and the file's name",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint, if there is one.")
    ] = False,
    print_plan: Annotated[
        bool, typer.Option("--print-plan", help="Say what would be trained on what, and do nothing.")
    ] = False,
    max_steps: Annotated[
        int | None, typer.Option(min=1, help="Steps to train.", show_default="what the file says")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="Folder or hub id to start from.",
            show_default="the file's, or the small one in the package",
        ),
    ] = None,
    profile: ProfileName = None,
    device: Annotated[
        str | None,
        typer.Option(help="Where to train, such as cuda or cpu.", show_default="a GPU if there is one"),
    ] = None,
    limits: Limits,
) -> None:
    """Train a model on the sources that a YAML file names.

    The plan needs the data, for their numbers of rows, but no weights and no GPU.

    Exit codes: 0 trained or planned, 1 an error, 2 wrong usage, 3 trained but bad rows were left out (0 for
    several processes, whose launcher would take it for a crash).
    """
    folder = output or Path("vlm2vec-fit", Path(config).stem)
    rank, count = launched()
    first = rank == 0  # of several processes, one speaks
    if first and not (resume or print_plan) and folder.is_dir() and any(folder.iterdir()):
        what = f"{folder} is not empty. Add --resume to go on with it, or choose another."
        raise typer.BadParameter(what, param_hint="--output")
    if first and not print_plan:
        check_folder(folder, "--output")

    mixture = _mixture(config, root)
    name, profile = (model, profile) if model else (mixture.model, profile or mixture.profile)
    if not print_plan:  # which needs no weights
        check_names(name, profile)

    from vlm2vec.training import FitSettings
    from vlm2vec.training.data.negatives import check_negatives

    given: dict[str, Any] = {} if max_steps is None else {"max_steps": max_steps}
    try:
        settings = FitSettings.of(mixture.training, given)
    except InputError as error:
        raise error.at(None, f"{Path(config).name}, training") from None
    if print_plan:
        check_negatives(mixture, settings)
        plan = f"{mixture.plan(settings)}\nmodel     {name or 'the small model in the package'}"
        out.print(plan, soft_wrap=True, markup=False)
        return
    if resume:
        _check_checkpoint(folder, settings)
    if settings.check_rows and settings.on_error == "raise":
        # A bad row is reported before the model is loaded, and rows are checked once.
        mixture = mixture.checked(show_progress_bar=settings.show_progress_bar is not False)
        given["check_rows"] = False
    check_negatives(mixture, settings)
    result = load(name, profile, device, limits).fit(mixture, output_dir=folder, resume=resume, **given)
    if first:
        out.print(str(result), soft_wrap=True, markup=False)
    raise typer.Exit(3 if result.skipped and count == 1 else 0)


def _mixture(config: str, root: Path | None) -> Mixture:
    from vlm2vec.training import recipes

    if not Path(config).is_file() and config not in recipes.names():
        raise InputError(
            f"there is no file {config}, and no recipe of that name",
            fix=did_you_mean(
                config, recipes.names(), otherwise=f"The recipes are {', '.join(recipes.names())}."
            ),
        )
    from vlm2vec.training import Mixture

    if Path(config).is_file():
        return Mixture.from_yaml(config, root)
    return Mixture.from_yaml(recipes.path(config), root or Path.cwd())


def _check_checkpoint(folder: Path, settings: FitSettings) -> None:
    """Raise if the run in a folder began with other settings."""
    from vlm2vec.training.run_state import RunState, newest_checkpoint

    if checkpoint := newest_checkpoint(folder):
        RunState.load(checkpoint).check_settings(settings.deciding())
