"""MMEB-V2: score a model, keep what was computed, and see what a second run does with it.

python examples/evaluate.py            the mini suite, which is drawn and needs no data
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from vlm2vec import VLM2Vec, mmeb


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    model = VLM2Vec()  # or VLM2Vec("VLM2Vec/VLM2Vec-V2.0")

    # tasks="all" with data_dir="..." runs the 78 tasks, tasks="V-RET" or "visdoc" some of them.
    results = mmeb.evaluate(model, tasks="mini", output_dir=folder)
    print(results)

    # Finished tasks are read back; a run that was stopped goes on where it was.
    again = mmeb.evaluate(model, tasks="mini", output_dir=folder)
    print(f"the same scores: {again.scores == results.scores}")

    # Which queries of a task were missed, and what was found instead.
    task = next(result for result in results.tasks if result.task == "mini-I-RET")
    missed = [number for number, hit in enumerate(task.per_query) if not hit]
    print(f"{task.task}: {task.queries - len(missed)} of {task.queries} queries found their image")

    # results.save("submission.json", model_size="2B") writes the leaderboard's form, with the 78 tasks.
    print(
        f"published for VLM2Vec-V2.0: {mmeb.summarize(mmeb.published('VLM2Vec-V2.0').scores)['overall']:.2f}"
    )


if __name__ == "__main__":
    main()
