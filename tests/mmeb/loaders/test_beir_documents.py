"""Visual documents of ViDoRe and its like: queries, pages, grades and where pages lie."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from public_layout import encoded_picture, mirror, picture, write_documents, write_json_lines, write_task

from vlm2vec.errors import InputError, MediaError
from vlm2vec.mmeb.loaders import DataFolder, MissingDataError, load
from vlm2vec.mmeb.loaders.documents import beir_file
from vlm2vec.mmeb.tasks import get_task, list_tasks

EXAMPLES = Path(__file__).parents[2] / "data/mmeb/prompt_examples.json"
TASKS = [task for task in list_tasks("visdoc") if task.layout == "beir_documents"]
DOCVQA = get_task("ViDoRe_docvqa")
FIND = "Find a document image that matches the given query:"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    """What `datasets` copies for random access goes away with the test."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def loaded(folder, task=DOCVQA, *, compat=None, **tables):
    given = {"queries": [(0, "one"), (1, "two")], "qrels": [(0, 7, 1), (1, 5, 1)], "corpus": [5, 6, 7]}
    write_documents(folder, task, **{**given, **tables})
    return load(task, DataFolder(folder, offline=True), compat=compat)


def test_there_are_18_tasks():
    assert len(TASKS) == 18


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_small_copy_of_every_task_loads_with_the_prompts_of_the_facts(tmp_path, task):
    write_task(tmp_path, task, beir_file)
    data = load(task, DataFolder(tmp_path, offline=True))
    example = json.loads(EXAMPLES.read_text(encoding="utf-8"))[task.name]
    assert data.queries[0].content.prompt == example["query"].replace("<query>", "what is in figure 3")
    assert {page.prompt for page in data.candidates.values()} == {example["candidate"]}
    assert {page.image for page in data.candidates.values()} == {
        tmp_path / task.roots[0] / f"{number}.png" for number in range(4)
    }
    assert [query.labels for query in data.queries] == [(2,), (0,)]
    assert list(data.candidates) == [2, 0, 1, 3]


def test_prompts_written_out(tmp_path):
    data = loaded(tmp_path)
    query, page = data.queries[0].content, data.candidates[5]
    assert query.prompt == "Find a document image that matches the given query: one"
    assert (query.text, query.instruction, query.image) == ("one", FIND, None)
    assert page.prompt == "<|image_pad|> Understand the content of the provided document image."
    assert (page.text, page.instruction) == ("", "Understand the content of the provided document image.")


def test_blanks_at_the_end_of_a_query_stay(tmp_path):
    data = loaded(tmp_path, queries=[(0, "one \n"), (1, "two")])
    assert data.queries[0].content.prompt == f"{FIND} one \n"


def test_right_pages_come_first_as_queries_ask_for_them_then_the_corpus(tmp_path):
    data = loaded(
        tmp_path,
        queries=[(3, "c"), (1, "a"), (2, "b")],
        qrels=[(1, 40, 1), (1, 10, 1), (2, 10, 1), (3, 30, 1), (9, 20, 1)],
        corpus=[10, 20, 30, 40, 50],
    )
    assert list(data.candidates) == [30, 40, 10, 20, 50]
    assert [query.labels for query in data.queries] == [(30,), (40, 10), (10,)]
    assert all(query.candidates is None for query in data.queries)
    assert all(type(key) is int for key in data.candidates)


def test_a_page_that_the_corpus_has_twice_is_one_candidate_the_first(tmp_path):
    data = loaded(tmp_path, corpus=[5, 7, 5])
    assert list(data.candidates) == [7, 5]
    assert data.candidates[5].image == encoded_picture("red")


def test_scores_of_0_and_below_are_no_labels_and_the_highest_of_several_counts(tmp_path):
    data = loaded(
        tmp_path,
        queries=[(0, "one")],
        qrels=[(0, 5, 0), (0, 6, 2), (0, 7, 1), (0, 6, 3), (0, 7, -1), (0, 6, 1)],
    )
    assert data.queries[0].labels == (6, 7)
    assert data.queries[0].grades == (3.0, 1.0)
    assert list(data.candidates) == [6, 7, 5]


@pytest.mark.parametrize("score", [1, 3])
def test_equal_grades_are_none(tmp_path, score):
    data = loaded(tmp_path, queries=[(0, "one")], qrels=[(0, 5, score), (0, 6, score)])
    assert data.queries[0].grades == ()


def test_queries_without_a_right_page_are_an_error(tmp_path):
    with pytest.raises(InputError, match="2 of 3 queries have no right page, the first is 1"):
        loaded(
            tmp_path, queries=[(0, "one"), (1, "two"), (2, "three")], qrels=[(0, 5, 1), (1, 5, 0), (8, 6, 1)]
        )


def test_pages_without_a_file_are_the_pictures_of_the_corpus(tmp_path):
    data = loaded(tmp_path, files=["6.png"])
    assert data.candidates[6].image == tmp_path / DOCVQA.roots[0] / "6.png"
    # Rows of the corpus are drawn red, green, blue in turn; 5 is the first and 7 the third.
    assert data.candidates[5].image == encoded_picture("red")
    assert data.candidates[7].image == encoded_picture("blue")
    assert len(data.candidates) == 3


def test_pages_in_the_folder_that_the_original_expects_are_found(tmp_path):
    for page in (5, 6, 7):
        picture(tmp_path / "visdoc-tasks/ViDoRe_docvqa" / f"{page}.png")
    data = loaded(tmp_path, with_pictures=False)
    assert data.candidates[7].image == tmp_path / "visdoc-tasks/ViDoRe_docvqa/7.png"


def test_a_page_that_is_nowhere_is_an_error(tmp_path):
    with pytest.raises(
        MediaError, match=r"the page 99 of the qrels is not in the corpus, .* no file 99\.png"
    ):
        loaded(tmp_path, qrels=[(0, 99, 1), (1, 5, 1)])


def test_a_right_page_with_a_file_need_not_be_in_the_corpus(tmp_path):
    data = loaded(tmp_path, qrels=[(0, 99, 1), (1, 5, 1)], files=["99.png"])
    assert list(data.candidates) == [99, 5, 6, 7]


def test_a_corpus_without_pictures_and_a_folder_of_files_is_an_error(tmp_path):
    with pytest.raises(InputError, match='corpus: there is no column "image"'):
        loaded(tmp_path, with_pictures=False)


def test_without_pictures_in_the_corpus_a_page_is_the_file_that_should_be_there(tmp_path):
    data = loaded(tmp_path, with_pictures=False, files=["6.png"])
    root = tmp_path / DOCVQA.roots[0]
    assert [data.candidates[page].image for page in (5, 6, 7)] == [root / f"{page}.png" for page in (5, 6, 7)]


def test_a_row_of_the_corpus_without_its_picture_has_the_file_that_should_be_there(tmp_path):
    corpus = [{"corpus-id": page, "image": None} for page in (5, 6, 7)]
    base = mirror(tmp_path, DOCVQA)
    write_json_lines(base / "queries" / "test.jsonl", [{"query-id": 0, "query": "one"}])
    write_json_lines(base / "qrels" / "test.jsonl", [{"query-id": 0, "corpus-id": 6, "score": 1}])
    write_json_lines(base / "corpus" / "test.jsonl", corpus)
    data = load(DOCVQA, DataFolder(tmp_path, offline=True))
    assert data.candidates[6].image == tmp_path / DOCVQA.roots[0] / "6.png"


def test_ids_of_two_types_are_an_error(tmp_path):
    with pytest.raises(InputError, match='"corpus-id" is int and str'):
        loaded(tmp_path, qrels=[(0, 7, 1), (1, 5, 1)], corpus=["5", "6", "7"], files=["5.png", "7.png"])


@pytest.mark.parametrize("table", ["queries", "qrels", "corpus"])
def test_a_missing_column_is_named(tmp_path, table):
    loaded(tmp_path)
    (mirror(tmp_path, DOCVQA) / table / "test-00000-of-00001.parquet").unlink()
    write_json_lines(mirror(tmp_path, DOCVQA) / table / "test.jsonl", [{"id": 0}])
    with pytest.raises(InputError, match=rf'{table}, row 0: there is no column "[a-z-]+", but "id"'):
        load(DOCVQA, DataFolder(tmp_path, offline=True))


def test_labels_a_page_off_are_read_for_compatibility_only(tmp_path):
    task = get_task("ViDoSeek-page")
    old = replace(task, repo="VLM2Vec/ViDoSeek-page")
    right = loaded(tmp_path, task, queries=[(0, "one")], qrels=[(0, 5, 3)])
    off = loaded(tmp_path, old, queries=[(0, "one")], qrels=[(0, 6, 3)], compat="v2.0")
    assert right.queries[0].labels == (5,)
    assert off.queries[0].labels == (6,)
    assert load(task, DataFolder(tmp_path, offline=True)).queries[0].labels == (5,)
    assert load(task, DataFolder(tmp_path, offline=True), compat="v2.0").queries[0].labels == (6,)


def test_tables_of_the_archive_serve_where_there_is_no_copy_of_the_repository(tmp_path):
    archive = tmp_path / "visdoc-tasks/data/docvqa_test_subsampled_beir"
    data = loaded(tmp_path, annotations=archive)
    assert list(data.candidates) == [7, 5, 6]
    assert not mirror(tmp_path, DOCVQA).exists()


def test_the_archive_s_labels_a_page_off_are_not_taken_for_the_mended_ones(tmp_path):
    task = get_task("MMLongBench-page")
    archive = tmp_path / "visdoc-tasks/data/MMLongBench-page"
    with pytest.raises(MissingDataError, match="hf download VLM2Vec/MMLongBench-page-fixed"):
        loaded(tmp_path, task, annotations=archive)
