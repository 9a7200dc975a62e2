"""The tables of tasks against the facts of the original, which `tests/data/mmeb/tasks.json` holds."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from string import Formatter

import pytest

from vlm2vec.errors import InputError
from vlm2vec.mmeb.tasks import Registry, get_task, list_tasks, read_table

FACTS = json.loads((Path(__file__).parents[1] / "data/mmeb/tasks.json").read_text(encoding="utf-8"))
NAMES = [fact["name"] for fact in FACTS]
LAYOUTS = {
    "image_rows": 36,
    "video_classification": 5,
    "multiple_choice": 5,
    "video_retrieval": 5,
    "moment_retrieval": 3,
    "beir_documents": 18,
    "visrag_documents": 6,
}
each_task = pytest.mark.parametrize("fact", FACTS, ids=NAMES)


def number(value):
    """Counts that the facts only describe, such as "3-5", are unknown to the tables."""
    return value if isinstance(value, int) else None


def names(tasks):
    return [task.name for task in tasks]


def test_the_78_tasks_come_in_the_order_of_the_facts():
    assert names(list_tasks()) == NAMES
    assert len(NAMES) == 78


def test_groups_have_the_sizes_of_the_benchmark():
    assert Counter(task.modality for task in list_tasks()) == {"image": 36, "video": 18, "visdoc": 24}
    assert list(Counter(task.meta_task for task in list_tasks()).items()) == [
        ("I-CLS", 10), ("I-QA", 10), ("I-RET", 12), ("I-VG", 4),
        ("V-CLS", 5), ("V-QA", 5), ("V-RET", 5), ("V-MR", 3),
        ("VD-ViDoRe-V1", 10), ("VD-ViDoRe-V2", 4), ("VD-VisRAG", 6), ("VD-OOD", 4),
    ]  # fmt: skip
    assert Counter(task.layout for task in list_tasks()) == LAYOUTS


@pytest.mark.parametrize(("modality", "queries"), [("image", 36_000), ("video", 34_940), ("visdoc", 12_590)])
def test_queries_of_a_modality_add_up(modality, queries):
    assert sum(task.queries for task in list_tasks(modality)) == queries


def test_twenty_image_tasks_are_in_distribution_and_sixteen_are_not():
    assert Counter(task.in_distribution for task in list_tasks("image")) == {True: 20, False: 16}
    assert {task.in_distribution for task in list_tasks(["video", "visdoc"])} == {None}


@each_task
def test_a_task_is_as_the_facts_have_it(fact):
    task = get_task(fact["name"])
    known = {"IND": True, "OOD": False}
    assert (task.modality, task.meta_task) == (fact["modality"], fact["meta_task"])
    assert (task.repo, task.split, task.revision) == (fact["hub_repo"], fact["hub_split"], None)
    assert (task.scope, task.metric) == (fact["candidate_scope"], fact["metric"])
    assert (task.queries, task.candidates) == (fact["num_queries"], number(fact["num_candidates"]))
    assert task.frames == fact.get("num_frames")
    assert task.in_distribution == known.get(fact.get("in_distribution"))
    if "num_candidates_pooled_unique" in fact:
        assert task.pool == fact["num_candidates_pooled_unique"]


@each_task
def test_instructions_equal_the_facts_character_by_character(fact):
    task = get_task(fact["name"])
    assert task.target_instruction == fact.get("target_instruction", "")
    if isinstance(fact["query_instruction"], str):
        assert task.query_instruction == fact["query_instruction"]
    else:
        assert task.options["instructions"] == fact["query_instruction"]
        assert task.query_instruction == fact["query_instruction"]["text"]


@each_task
def test_instructions_are_in_the_prompts_of_the_facts(fact):
    task = get_task(fact["name"])
    example = fact.get("prompt_example")
    if example:
        assert task.query_instruction in example["query"]
        assert task.target_instruction in example["candidate"]


@each_task
def test_subsets_equal_the_facts(fact):
    task = get_task(fact["name"])
    if task.modality == "visdoc":
        assert fact["hub_subset"] == "three configs: queries, qrels, corpus"
        assert task.subset is None
    elif task.name == "MVBench":
        assert task.subset is None
        assert len(set(task.options["subsets"])) == len(task.options["subsets"]) == 20
    else:
        assert task.subset == fact.get("hub_subset")


@each_task
def test_roots_accept_both_the_archives_and_the_original_configuration(fact):
    task = get_task(fact["name"])
    assert set(fact["roots"]) <= set(task.roots)
    assert len(set(task.roots)) == len(task.roots)


def test_roots_that_differ_are_tried_as_the_archives_have_them_first():
    for fact in FACTS:
        if fact["modality"] != "image":
            assert get_task(fact["name"]).roots[0] == fact["roots"][0]


@each_task
def test_local_annotations_are_those_of_the_archives_but_never_of_uncorrected_pages(fact):
    task = get_task(fact["name"])
    if task.name in ("ViDoSeek-page", "MMLongBench-page"):
        assert task.data_roots == (f"visdoc-tasks/data/{task.name}-fixed",)
        assert task.options["v2.0"]["data_roots"] == [fact["archive_data"]]
    else:
        assert task.data_roots == ((fact["archive_data"],) if "archive_data" in fact else ())


@each_task
def test_columns_that_options_name_are_columns_of_the_data(fact):
    options = get_task(fact["name"]).options
    named = {options[key] for key in ("label", "candidates", "question", "answer", "text") if key in options}
    named |= {
        options[key] for key in ("video", "caption", "input", "choices") if isinstance(options.get(key), str)
    }
    if isinstance(options.get("choices"), list):
        named |= set(options["choices"])
    named |= {field for _, field, _, _ in Formatter().parse(options.get("folder", "")) if field}
    named |= {f"{options[key]}[].{options['path']}" for key in ("positives", "negatives") if key in options}
    columns = fact["columns"]
    assert named <= set(columns)
    assert bool(named) == (get_task(fact["name"]).modality == "video")


def test_image_rows_of_one_kind_have_the_columns_and_the_key_that_the_kind_says():
    columns = {}
    keys = {}
    for fact in FACTS[:36]:
        kind = get_task(fact["name"]).options["kind"]
        columns.setdefault(kind, set()).add(tuple(fact["columns"]))
        keys.setdefault(kind, set()).add(fact["candidate_key"])
    assert {kind: len(found) for kind, found in columns.items()} == dict.fromkeys(
        ("cls", "qa", "t2i", "i2i", "i2t"), 1
    )
    assert {kind: len(found) for kind, found in keys.items()} == dict.fromkeys(
        ("cls", "qa", "t2i", "i2i", "i2t"), 1
    )
    assert "qry_img_path" not in columns["t2i"].pop()
    assert "tgt_img_path" in columns["i2i"].pop()


def test_outside_of_images_a_layout_has_one_rule_for_keys():
    keys = {}
    for fact in FACTS[36:]:
        keys.setdefault(get_task(fact["name"]).layout, set()).add(fact["candidate_key"].split(" / ")[0])
    assert {layout: len(found) for layout, found in keys.items()} == dict.fromkeys(keys, 1)


def test_templates_of_multiple_choice_hold_only_what_the_layout_fills():
    for task in list_tasks("V-QA"):
        for key, allowed in [("query", {"question", "choices"}), ("choice", {"letter", "text", "bare"})]:
            assert {field for _, field, _, _ in Formatter().parse(task.options[key]) if field} <= allowed
        assert task.options["answer_form"] in ("text", "letter", "index")


def test_only_the_corrected_page_tasks_have_another_name_in_submissions():
    renamed = {task.name: task.submission_name for task in list_tasks() if task.submission_name != task.name}
    assert renamed == {
        "ViDoSeek-page": "ViDoSeek-page-fixed",
        "MMLongBench-page": "MMLongBench-page-fixed",
    }


def test_a_task_can_be_sent_to_a_worker_hashed_and_written_down():
    for task in list_tasks():
        assert pickle.loads(pickle.dumps(task)) == task  # noqa: S301
        assert json.loads(json.dumps(asdict(task)))["roots"] == list(task.roots)
    assert len(set(list_tasks())) == 78


@pytest.mark.parametrize("word", ["image", "video", "visdoc", "I-CLS", "V-MR", "VD-OOD", "VD-ViDoRe-V2"])
def test_a_modality_or_meta_task_selects_its_tasks(word):
    expected = [f["name"] for f in FACTS if word in (f["modality"], f["meta_task"])]
    assert names(list_tasks(word)) == expected


def test_a_name_selects_one_task_and_a_list_keeps_its_order_with_each_once():
    assert names(list_tasks("MSVD")) == ["MSVD"]
    assert names(list_tasks(["MSVD", "I-VG", "RefCOCO", "MSVD", "V-MR"])) == [
        "MSVD",
        *names(list_tasks("I-VG")),
        *names(list_tasks("V-MR")),
    ]
    assert names(list_tasks(["GQA", "all"]))[:2] == ["GQA", "ImageNet-1K"]
    assert list_tasks([]) == []


@pytest.mark.parametrize(
    ("word", "meant"), [("imagenet1k", "ImageNet-1K"), ("v-cls", "V-CLS"), ("videos", "video")]
)
def test_an_unknown_word_is_an_error_that_suggests_the_closest_and_says_what_exists(word, meant):
    with pytest.raises(InputError) as caught:
        list_tasks(["MSVD", word])
    text = str(caught.value)
    assert repr(word) in text
    assert text.index(meant) < text.index("Groups are all, image, I-CLS")


def test_an_unknown_task_is_an_error_and_a_group_is_not_a_task():
    with pytest.raises(InputError, match="no task 'I-CLS'"):
        get_task("I-CLS")


TABLE = """
defaults:
  {modality: video, layout: a, split: test, revision: null, subset: null, scope: global, metric: hit@1,
   target_instruction: "", candidates: 3, query_instruction: "Find: ", repo: "me/{name}-data",
   roots: ["x/{root_name}", "{name}"], data_roots: ["data/{repo_name}"],
   options: {kind: b, deep: 1}, notes: [one]}
groups:
  - meta_task: G
    options: {deep: 2}
    notes: [two]
    tasks:
      - {name: first, queries: 1}
      - {name: second, queries: 2, root_name: other, scope: local, options: {kind: c}, notes: [three]}
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(TABLE)
    return path


def test_a_table_gives_a_task_what_is_nearest_to_it(table):
    first, second = read_table(table)
    assert (first.name, first.queries, first.meta_task, first.query_instruction) == (
        "first",
        1,
        "G",
        "Find: ",
    )
    assert first.options == {"kind": "b", "deep": 2}
    assert second.options == {"kind": "c", "deep": 2}
    assert (first.notes, second.notes) == (("one", "two"), ("one", "two", "three"))
    assert (first.roots, second.roots) == (("x/first", "first"), ("x/other", "second"))
    assert (second.repo, second.data_roots) == ("me/second-data", ("data/second-data",))
    assert (first.pool, second.pool) == (3, None)


@pytest.mark.parametrize("change", [("queries: 1", "querys: 1"), ("split: test, ", "")])
def test_a_field_misspelt_or_missing_in_a_table_is_an_error_with_the_task_and_the_file(table, change):
    table.write_text(TABLE.replace(*change))
    with pytest.raises(InputError, match=r"mine.yaml: task 'first'.*(querys|split)"):
        read_table(table)


def test_a_suite_is_selected_by_its_name_and_changes_no_other_word(table):
    registry = Registry(list_tasks())
    registry.register(read_table(table), suite="mine")
    assert names(registry.select("mine")) == ["first", "second"]
    assert names(registry.select(["second", "V-MR"]))[:2] == ["second", "QVHighlight"]
    assert registry.get("first").repo == "me/first-data"
    assert names(registry.select("all")) == NAMES
    assert registry.select("video") == list_tasks("video")


@pytest.mark.parametrize("suite", ["all", "image", "V-MR", "MSVD", "first"])
def test_a_suite_whose_name_is_taken_is_an_error_and_adds_nothing(table, suite):
    registry = Registry(list_tasks())
    with pytest.raises(InputError, match=f"{suite!r} is taken"):
        registry.register(read_table(table), suite=suite)
    with pytest.raises(InputError, match="no task 'second'"):
        registry.get("second")


def test_a_task_whose_name_is_taken_is_an_error_and_adds_nothing(table):
    registry = Registry(list_tasks())
    with pytest.raises(InputError, match="'MSVD' is taken"):
        registry.register([*read_table(table), get_task("MSVD")], suite="mine")
    with pytest.raises(InputError, match="no task or group of tasks 'mine'"):
        registry.select("mine")


def test_tasks_are_listed_without_torch():
    code = "import sys, vlm2vec.mmeb.tasks as it; it.list_tasks(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
