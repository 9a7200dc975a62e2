"""`evaluate`: from a model and a selection of tasks to results."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from vlm2vec.arguments import one_of, possible_path
from vlm2vec.errors import InputError
from vlm2vec.mmeb.encoders import encoder_of
from vlm2vec.mmeb.loaders import DataFolder
from vlm2vec.mmeb.mini import write_mini
from vlm2vec.mmeb.processes import Processes, spread
from vlm2vec.mmeb.results import Results
from vlm2vec.mmeb.run import Run
from vlm2vec.mmeb.tasks import list_tasks
from vlm2vec.sameness import digest_of

__all__ = ["evaluate"]


def evaluate(
    model: Any,
    tasks: str | Sequence[str] = "all",
    *,
    data_dir: str | os.PathLike[str] | None = None,
    output_dir: str | os.PathLike[str] | None = None,
    name: str = "",
    devices: Sequence[Any] = (),
    compat: Literal["v2.0"] | None = None,
    on_error: Literal["raise", "score"] = "raise",
    on_stale: Literal["raise", "recompute"] = "raise",
    offline: bool = False,
    show_progress_bar: bool | None = None,
    **settings: Any,
) -> Results:
    """Score a model on tasks of MMEB-V2.

    A run that was stopped goes on where it was when it is called again with the same `output_dir`: finished
    tasks are read back, and vectors that were made are there. `accelerate launch` spreads the work over
    processes, which share the `output_dir`.

    Args:
        model: A `VLM2Vec`, its folder or hub id, any `SentenceTransformer` or `MultiVectorEncoder` (late
            interaction, as ColPali), a `ServedModel` or the URL of its server, an `Encoder`, or a function of
            `(contents, role)` that gives an array `(n, dim)`.
        tasks: "all", a modality ("image", "video", "visdoc"), a meta-task ("I-CLS"), names of tasks, "mini",
            or a list of these.
        data_dir: Folder with the benchmark's data, as its archives unpack. "mini" needs none.
        output_dir: Where vectors and results are kept; without, nothing is.
        name: What to call the model; needed for a function.
        devices: Several, such as `["cuda:0", "cuda:1"]`, for a model of sentence-transformers: each gets a
            worker process, which ends with the run. The calling script needs `if __name__ == "__main__":`.
        compat: "v2.0" does what the original does where it is wrong. By default it is put right.
        on_error: What a sample does whose file is missing or broken, or that the model cannot embed: "raise"
            ends the run, "score" counts a query as missed and never finds a candidate, and the result says
            so. Where more than a tenth of the files are missing, that is an error in any case.
        on_stale: What a kept result of another model, other data or other settings does: "raise" names the
            difference, "recompute" replaces it.
        offline: Never ask the hub for annotations that are not in `data_dir`.
        show_progress_bar: By default only in a terminal. Each task that starts or ends is also logged
            (`logging`, level INFO).
        **settings: Of the model's `encode`: `max_tokens_per_batch`, `truncate_dim`, ... Two more are of the
            benchmark. `prompts`, of a `VLM2Vec`: "original" is what its published scores were made with, its
            pixels and frames too, and the default where that is known; "profile" is the model's own. `frames`
            of a clip are "all" that a task gives, the "middle" one as a picture, or at most so many, a
            number, by default as for its published scores; or the "first", of a `MultiVectorEncoder`, and its
            default.

    Returns:
        Scores by task, means, and how to show and keep them.

    Raises:
        StaleResultError: `output_dir` holds a result that is not of this run.
        VLM2VecError: Data are missing, or a sample cannot be embedded; it is named.
    """
    if compat is not None:
        one_of("compat", compat, ["v2.0"], or_else="or None for correct scores")
    one_of("on_error", on_error, ("raise", "score"))
    one_of("on_stale", on_stale, ("raise", "recompute"))
    chosen = list_tasks(tasks)
    if not chosen:
        raise InputError("no task is chosen", fix='Pass "all", "mini", a modality or names of tasks.')
    if isinstance(settings.get("device"), (list, tuple)):
        raise InputError("device is a list", fix="Pass it as devices.")
    processes = Processes.here()
    if processes.count > 1 and output_dir is None:
        raise InputError(
            "several processes share no folder", fix="Pass an output_dir (--output) that all of them see."
        )
    if processes.count > 1 and devices:
        raise InputError("each process has its own device", fix="Leave out devices (--device).")
    encoder = processes.here_and_there(lambda: encoder_of(model, name=name, **settings))
    identity = processes.here_and_there(lambda: dict(encoder.identity()))
    processes.same("weights or settings", lambda: digest_of(identity))
    show = sys.stderr.isatty() if show_progress_bar is None else show_progress_bar
    mini = {task.name for task in list_tasks("mini")} & {task.name for task in chosen}
    given = DataFolder(None if data_dir is None else possible_path(data_dir), offline=offline)
    kept = None if output_dir is None else possible_path(output_dir)
    with TemporaryDirectory(prefix="vlm2vec-mmeb-") as scratch, spread(encoder, devices) as working:
        drawn = DataFolder(Path(scratch) / "mini", offline=True)
        processes.here_and_there(lambda: write_mini(Path(scratch) / "mini", mini))
        run = Run(
            working,
            lambda task: drawn if task.name in mini else given,
            kept or Path(scratch),
            compat=compat,
            tolerant=on_error == "score",
            recompute=on_stale == "recompute",
            identity=identity,
            processes=processes,
            devices=len(devices) or 1,
            keeps_digests=not mini,
        )
        results = tuple(run.results(chosen, show=show))
    return Results(encoder.name, results)
