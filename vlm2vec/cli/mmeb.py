"""`vlm2vec mmeb`: score a model on the benchmark, list its tasks, compare scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vlm2vec.cli import mmeb_data, mmeb_report
from vlm2vec.cli.command import Command, Group
from vlm2vec.cli.limits import with_limits
from vlm2vec.cli.log import log_lines
from vlm2vec.cli.model import ProfileName, check_names, load, load_multi_vector
from vlm2vec.cli.report import out
from vlm2vec.errors import InputError
from vlm2vec.media.limits import Limits

if TYPE_CHECKING:
    from vlm2vec.mmeb import Results
    from vlm2vec.mmeb.tasks import Task

__all__ = ["app"]

app = typer.Typer(
    name="mmeb",
    cls=Group,
    help="Score models on MMEB-V2.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    epilog="[bold]Example:[/bold] vlm2vec mmeb run --tasks mini --output results",
)

Tasks = Annotated[
    list[str],
    typer.Option(
        "--tasks", "-t", help="all, mini, a modality, a meta-task or a task; may be given several times."
    ),
]


@app.command(
    cls=Command,
    epilog="[bold]Example:[/bold] vlm2vec mmeb run VLM2Vec/VLM2Vec-V2.0 -t visdoc --data DATA -o out",
)
@with_limits
def run(
    model: Annotated[
        str | None,
        typer.Argument(
            help="Folder or hub id, or the URL of a server that has it.",
            show_default="the small one in the package",
        ),
    ] = None,
    *,
    tasks: Tasks = ["all"],  # noqa: B006 - typer copies it
    data: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of the benchmark's data; mini needs none."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            file_okay=False,
            help="Keeps vectors and results here; with the same folder a run that was stopped goes on.",
        ),
    ] = None,
    submission: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Also write the leaderboard's file.")
    ] = None,
    compat: Annotated[
        Literal["v2.0"] | None, typer.Option(help='"v2.0" does what the original does where it is wrong.')
    ] = None,
    prompts: Annotated[
        Literal["original", "profile"] | None,
        typer.Option(
            help="What published scores of this model were made with, or its profile's.",
            show_default="original where that is known",
        ),
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option(
            help="Frames of a clip: all that a task gives, middle, first (for --multi-vector), or at most so "
            "many, a number.",
            show_default="as for the published scores of the model",
        ),
    ] = None,
    multi_vector: Annotated[
        bool,
        typer.Option(
            "--multi-vector",
            help="MODEL is of late interaction, as sentence-transformers loads it: vidore/colpali-v1.3-hf.",
        ),
    ] = False,
    shape: Annotated[
        Literal["openai", "vllm", "vlm2vec"] | None,
        typer.Option(help="What requests the server of a URL takes.", show_default="openai"),
    ] = None,
    served_name: Annotated[
        str | None,
        typer.Option(
            "--served-name", help="What the server calls the model.", show_default="the only one it has"
        ),
    ] = None,
    api_key: Annotated[
        str | None, typer.Option("--api-key", envvar="VLM2VEC_API_KEY", help="Of the server of a URL.")
    ] = None,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Score samples that are missing or broken as missed.")
    ] = False,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Replace results of another model or other data.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Never ask the hub.")] = False,
    profile: ProfileName = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Such as cuda or cpu; several, as cuda:0,cuda:1, share the work.",
            show_default="a GPU if there is one",
        ),
    ] = None,
    limits: Limits,
) -> None:
    """Score a model on tasks, and print a table.

    Exit codes: 0 scored, 1 an error, 2 wrong usage, 3 scored but some samples were missing or broken.
    """
    from vlm2vec import mmeb
    from vlm2vec.media.source import is_url

    mmeb.list_tasks(tasks)  # a wrong word is reported before the model is loaded
    if frames == "first" and not multi_vector:
        raise typer.BadParameter("first is for --multi-vector.", param_hint="--frames")
    devices = [name for name in (device or "").split(",") if name]
    first = devices[0] if devices else None
    settings: dict[str, Any] = {"prompts": prompts, "frames": _frames(frames)}
    if model is not None and is_url(model):
        if multi_vector or profile or prompts or device or limits != Limits():
            what = "With a URL go neither --multi-vector, --profile, --prompts, --device nor limits."
            raise typer.BadParameter(what, param_hint="MODEL")
        asked = {"model": served_name, "shape": shape, "api_key": api_key, "frames": settings.pop("frames")}
        loaded: Any = mmeb.ServedModel(model, **{name: value for name, value in asked.items() if value})
    elif shape or served_name:
        raise typer.BadParameter("They go with a URL as MODEL.", param_hint="--shape, --served-name")
    elif not multi_vector:
        check_names(model, profile)
        loaded = load(model, profile, first, limits)
    elif model is None or profile or prompts or limits != Limits():
        what = "It needs MODEL, and goes with neither --profile, --prompts nor limits."
        raise typer.BadParameter(what, param_hint="--multi-vector")
    else:
        loaded = load_multi_vector(model, first)
        settings["name"] = Path(model).name
    with log_lines("vlm2vec.mmeb"):
        results = mmeb.evaluate(
            loaded,
            tasks,
            data_dir=data,
            output_dir=output,
            devices=devices if len(devices) > 1 else (),
            compat=compat,
            on_error="score" if skip_broken else "raise",
            on_stale="recompute" if recompute else "raise",
            offline=offline,
            **{name: value for name, value in settings.items() if value is not None},
        )
    out.print(str(results), soft_wrap=True, markup=False)
    if submission is not None:
        results.save(submission)
    raise typer.Exit(3 if any(result.failures for result in results.tasks) else 0)


def _frames(given: str | None) -> str | int | None:
    if given is None or given in ("all", "middle", "first"):
        return given
    if given.isascii() and given.isdecimal() and int(given) > 0:
        return int(given)
    raise typer.BadParameter("Pass all, middle, first or a number.", param_hint="--frames")


@app.command("list", cls=Command, epilog="[bold]Example:[/bold] vlm2vec mmeb list -t V-RET")
def list_(tasks: Tasks = ["all"]) -> None:  # noqa: B006 - typer copies it
    """List tasks: name, meta-task, queries, candidates, metric and repository."""
    from vlm2vec import mmeb

    chosen = mmeb.list_tasks(tasks)
    width = max(len(task.name) for task in chosen)
    for task in chosen:
        each = " each" if task.scope == "local" else ""
        candidates = "varying" if task.candidates is None else f"{task.candidates:,}{each}"
        out.print(
            f"{task.name:<{width}}  {task.meta_task:<12}  {task.queries:>6,} queries"
            f"  {candidates:>11} candidates  {task.metric:<13}  {task.repo}",
            soft_wrap=True,
            markup=False,
        )


@app.command(
    cls=Command, epilog="[bold]Example:[/bold] vlm2vec mmeb compare VLM2Vec-V2.0 GME-2B --version table6"
)
def compare(
    first: Annotated[
        str | None, typer.Argument(help="A folder of results (--output of run), or a published model.")
    ] = None,
    second: Annotated[str | None, typer.Argument(help="The same.")] = None,
    *,
    version: Annotated[
        str | None,
        typer.Option(
            help="Which publication of scores: table6, v2.0.0, v2.0.1, v2.1 or newest.", show_default="newest"
        ),
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="List where published numbers disagree with each other.")
    ] = False,
) -> None:
    """Compare two sets of scores task by task, with the paired t-test of the paper's section A.5."""
    from vlm2vec.mmeb.comparison import compare as compared
    from vlm2vec.mmeb.published import disagreements, published_names

    if published:
        for one in disagreements() if version is None else disagreements(version):
            out.print(str(one), soft_wrap=True, markup=False)
        return
    if first is None or second is None:
        raise InputError(
            "there is nothing to compare",
            fix=f"Name two of {', '.join(published_names())}, or folders of results; or pass --published.",
        )
    sides, names, versions, benchmarks = zip(*(_scores(side) for side in (first, second)), strict=True)
    known = {one for one in versions if one is not None}
    if len(known) > 1:
        raise InputError("one of both was scored with compat", fix="Compare results of the same data.")
    data = next(iter(known), "newest")
    found = compared(
        *sides, version=version, data=data, model=names[0], baseline=names[1], tasks=benchmarks[0]
    )
    out.print(str(found), soft_wrap=True, markup=False)


app.command(cls=Command, epilog=mmeb_report.EPILOG)(mmeb_report.report)
app.command(cls=Command, epilog=mmeb_data.DOWNLOAD_EPILOG)(mmeb_data.download)
app.command(cls=Command, epilog=mmeb_data.CHECK_EPILOG)(mmeb_data.check)


def _scores(given: str) -> tuple[Any, str, str | None, list[Task]]:
    """Scores in a folder, or the name of a published model; what to call it, of which data and benchmark."""
    from vlm2vec import mmeb

    if not Path(given).is_dir():
        try:
            mmeb.published(given)
        except InputError as error:
            raise InputError(f"there is no folder {given}, and {error.cause}", fix=error.fix) from None
        return given, given, None, mmeb.list_tasks()
    results: Results = mmeb.Results.load(given)
    return results.scores, results.model, results.data_version, results.benchmark
