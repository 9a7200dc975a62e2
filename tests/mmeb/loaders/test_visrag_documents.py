"""Visual documents of VisRAG: as those of ViDoRe but for names of files and keys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from public_layout import encoded_picture, write_documents, write_task

from vlm2vec.mmeb.loaders import DataFolder, load
from vlm2vec.mmeb.loaders.documents import visrag_file
from vlm2vec.mmeb.tasks import get_task, list_tasks

EXAMPLES = Path(__file__).parents[2] / "data/mmeb/prompt_examples.json"
TASKS = [task for task in list_tasks("visdoc") if task.layout == "visrag_documents"]
CHARTQA = get_task("VisRAG_ChartQA")
LONG = "x" * 60 + ".final.jpg"
# md5sum's first 8 digits of each name.
NAMES = {
    LONG: "x" * 50 + "_016ecf63.jpg",
    "short.png": "short_b2fba3c8.png",
    "no extension": "no extension_7fe411a8",
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    """What `datasets` copies for random access goes away with the test."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def test_there_are_6_tasks_and_they_are_splits_of_training_sets():
    assert [task.split for task in TASKS] == ["train"] * 6


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_small_copy_of_every_task_loads_with_the_prompts_of_the_facts(tmp_path, task):
    write_task(tmp_path, task, visrag_file)
    data = load(task, DataFolder(tmp_path, offline=True))
    example = json.loads(EXAMPLES.read_text(encoding="utf-8"))[task.name]
    assert data.queries[1].content.prompt == example["query"].replace("<query>", "how much")
    assert {page.prompt for page in data.candidates.values()} == {example["candidate"]}
    assert [query.labels for query in data.queries] == [("report 2.pdf_2.png",), ("report 0.pdf_0.png",)]
    assert list(data.candidates) == [f"report {n}.pdf_{n}.png" for n in (2, 0, 1, 3)]
    for key, page in data.candidates.items():
        assert page.image.parent == tmp_path / task.roots[0]
        assert page.image.name.startswith(key.removesuffix(".png"))


@pytest.mark.parametrize("name", NAMES)
def test_names_of_files_are_shortened(name):
    assert visrag_file(name) == NAMES[name]


def test_long_ids_keep_their_full_key(tmp_path):
    other = "x" * 60 + ".other.jpg"
    write_documents(
        tmp_path,
        CHARTQA,
        queries=[("q", "one")],
        qrels=[("q", LONG, 1)],
        corpus=[other, LONG],
        files=[NAMES[LONG]],
    )
    data = load(CHARTQA, DataFolder(tmp_path, offline=True))
    assert list(data.candidates) == [LONG, other]
    assert data.candidates[LONG].image == tmp_path / CHARTQA.roots[0] / NAMES[LONG]
    assert data.candidates[other].image == encoded_picture("red")
