"""MMEB-V2: compare a run with published scores, and see its report, without the 85 GB of data.

python examples/compare_with_published.py FOLDER     writes results and a page; by default a new folder

The results are drawn and of no model: each query is a hit as often as GME-2B has hits in that task, and a
little more often where the task is of documents. A real run, `vlm2vec mmeb run MODEL --data DATA -o FOLDER`,
writes such a folder too, and all that is done with it here is done with that in the same way.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from vlm2vec import mmeb
from vlm2vec.mmeb.task_result import TaskResult

NAME = "drawn, of no model"


def draw_results(folder: Path) -> None:
    """Write a result for each of the 78 tasks, as an evaluation does."""
    rng, scores = np.random.default_rng(0), mmeb.published("GME-2B").scores
    for task in mmeb.list_tasks("all"):
        chance = min(1.0, scores[task.name] / 100 + 0.03 * (task.modality == "visdoc"))
        hits = (rng.random(task.queries) < chance).astype(float)
        TaskResult(
            task=task.name,
            model=NAME,
            metric=task.metric,
            scores={task.metric: float(hits.mean())},
            per_query=tuple(hits.tolist()),
            top=((),) * len(hits),
            candidates=0,
            expected_queries=task.queries,
            seconds=0.0,
            made_of={"model": {"name": NAME}, "compat": None},
        ).save(folder / "tasks" / f"{task.name}.json")


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
    draw_results(folder)

    # From here on as with the folder of a real run.
    results = mmeb.Results.load(folder)
    print(results.compare("GME-2B"))
    mmeb.write_report(results, folder / "report.html", compare=["GME-2B", "VLM2Vec-V2.0", "ColPali v1.3"])
    print(f"report: {folder / 'report.html'}")


if __name__ == "__main__":
    main()
