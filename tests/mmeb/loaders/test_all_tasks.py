"""Each of the 78 tasks, end to end: a small copy of its layout is read, embedded, ranked and scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from public_layout import write_task
from public_video_layout import write_video_task

from vlm2vec import mmeb
from vlm2vec.mmeb.evaluation import evaluate
from vlm2vec.mmeb.loaders import DataFolder, load
from vlm2vec.mmeb.samples import Content, TaskData


class Knowing:
    """A model that has seen the answers: a query has the vector of its right candidate, or of a wrong one."""

    def __init__(self, data: TaskData, *, right: bool) -> None:
        keys = list(data.candidates)
        self.documents = {_name(data.candidates[key]): np.eye(len(keys))[n] for n, key in enumerate(keys)}
        self.queries = {}
        for query in data.queries:
            pool = keys if query.candidates is None else query.candidates
            meant = [key for key in pool if (key in query.labels) == right]
            self.queries[_name(query.content)] = np.eye(len(keys))[keys.index(meant[0])]

    def __call__(self, contents: Sequence[Content], role: str) -> np.ndarray:
        known = self.queries if role == "query" else self.documents
        return np.stack([known[_name(content)] for content in contents])


def _name(content: Content) -> tuple[object, ...]:
    return content.prompt, content.image, content.frames


@pytest.mark.parametrize("task", mmeb.list_tasks(), ids=lambda task: task.name)
def test_what_knows_the_answers_scores_all_and_what_avoids_them_nothing(
    task: mmeb.Task, tmp_path: Path
) -> None:
    if task.modality == "video":
        write_video_task(tmp_path, task)
    else:
        write_task(tmp_path, task)
    data = load(task, DataFolder(tmp_path, offline=True))
    assert len(data.queries) >= 2
    for right, expected in ((True, 100.0), (False, 0.0)):
        model = Knowing(data, right=right)
        results = evaluate(model, [task.name], data_dir=tmp_path, offline=True, name=f"knowing {right}")
        score = results.scores[task.name]
        assert score == pytest.approx(expected) if right or task.metric == "hit@1" else score < 100
        assert results.tasks[0].queries == len(data.queries)
        assert results.tasks[0].candidates == len(data.candidates)
