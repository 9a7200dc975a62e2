"""Scores in the page: those of the results, and published ones with their version."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from html_tree import Element, tree

from vlm2vec import mmeb
from vlm2vec.errors import InputError
from vlm2vec.mmeb.results import Results
from vlm2vec.mmeb.task_result import TaskResult


def result(task: mmeb.Task, percentage: int, compat: str | None = None) -> TaskResult:
    return TaskResult(
        task=task.name,
        model="a model",
        metric=task.metric,
        scores={task.metric: percentage / 100},
        per_query=(1.0,) * percentage + (0.0,) * (100 - percentage),
        top=((),) * 100,
        candidates=10,
        expected_queries=task.queries,
        seconds=1.0,
        made_of={"compat": compat, "model": {"weights": "abc"}},
    )


def results(selection: str, compat: str | None = None) -> Results:
    tasks = mmeb.list_tasks(selection)
    return Results(
        "a model", tuple(result(task, 20 + number % 60, compat) for number, task in enumerate(tasks))
    )


def page_of(results: Results, folder: Path, **arguments: object) -> Element:
    mmeb.write_report(results, folder / "r.html", **arguments)  # type: ignore[arg-type]
    return tree((folder / "r.html").read_text(encoding="utf-8"))


def cells(row: Element) -> list[str]:
    """Numbers of a row, without intervals and marks of notes."""
    return [str(cell.children[0]) for cell in row.all("td") if {"heat", "none"} & set(cell.classes)]


def test_each_task_stands_beside_its_published_scores(tmp_path: Path) -> None:
    found = results("all")
    page = page_of(found, tmp_path, compare=["GME-2B", "ColPali v1.3"])
    heads = [one.text for one in page.section("tasks").all("th", "model")]
    assert heads == ["a model", "GME-2B (newest)", "ColPali v1.3 (newest)"]
    rows = [row for row in page.section("tasks").all("tr") if list(row.all("td", "own"))]
    assert [row.first("th").text for row in rows] == list(found.scores)
    known = [found.scores, *(mmeb.published(name).scores for name in ("GME-2B", "ColPali v1.3"))]
    for row in rows:
        task = row.first("th").text
        assert cells(row) == [f"{scores[task]:.2f}" for scores in known]


def test_averages_are_those_of_the_results_and_of_the_published(tmp_path: Path) -> None:
    found = results("video")
    section = page_of(found, tmp_path, compare=["GME-7B"]).section("averages")
    published = mmeb.summarize(
        {task: score for task, score in mmeb.published("GME-7B").scores.items() if task in found.scores}
    )
    intervals = found.intervals()
    cards = {card.first("h4").text: card for card in section.all("div", "card")}
    assert list(cards) == ["overall", "video", "V-CLS", "V-QA", "V-RET", "V-MR"]
    for name, card in cards.items():
        interval = intervals[name]
        assert card.first("p", "mean").text == f"{interval.mean:.2f}"
        assert card.first("p", "under").text.startswith(
            f"{interval.low:.1f} \N{EN DASH} {interval.high:.1f} "
        )
        own, other = card.all("div", "bar")
        assert other.text == f"GME-7B (newest){published[name]:.1f}"
        lengths = [bar.first("div", "track").first("i").attributes["style"] for bar in (own, other)]
        assert lengths == [f"width:{interval.mean:.2f}%", f"width:{published[name]:.2f}%"]
    assert "18 of 78 tasks" in cards["overall"].text


def test_differences_and_their_test_are_those_of_the_comparison(tmp_path: Path) -> None:
    found = results("all")
    section = page_of(found, tmp_path, compare=["VLM2Vec-V2.0"], version="table6").section("published")
    mean = found.compare("VLM2Vec-V2.0", version="table6").means
    row = section.first("tbody").first("tr")
    assert row.first("th").text == "VLM2Vec-V2.0 (table6)"
    for name, cell in zip(("overall", "image", "video", "visdoc"), row.all("td"), strict=True):
        one = mean[name]
        assert cell.text == f"{one.second:.2f}{one.difference:+.2f}{one.stars}{one.tasks} tasks"
    assert "Table 6 of the VLM2Vec-V2 paper" in section.text
    assert "Not compared: ViDoSeek-page, other data" in section.text


def test_notes_on_published_scores_stand_below_the_map(tmp_path: Path) -> None:
    section = page_of(results("all"), tmp_path, compare=["VLM2Vec-V2.0"]).section("tasks")
    notes = {one.attributes["value"]: one.text for one in section.first("ol", "notes").all("li")}
    marked = {
        row.first("th").text: notes[row.first("sup").text]
        for row in section.all("tr")
        if list(row.all("sup"))
    }
    assert marked == dict(mmeb.published("VLM2Vec-V2.0").notes)


def test_with_the_original_s_mistakes_published_scores_are_of_the_same_data(tmp_path: Path) -> None:
    page = page_of(results("all", compat="v2.0"), tmp_path, compare=["GME-2B"])
    assert "compat: v2.0, with the original's mistakes" in page.first("header").text
    assert page.section("published").first("tbody").first("th").text == "GME-2B (v2.0.0)"
    assert "Not compared" not in page.section("published").text
    newest = page_of(results("all", compat="v2.0"), tmp_path, compare=["GME-2B"], version="newest")
    rows = {row.first("th").text: cells(row) for row in newest.section("tasks").all("tr") if cells(row)}
    assert rows["ViDoSeek-page"][1] == rows["MomentSeeker"][1] == "\N{EN DASH}"
    assert rows["MSVD"][1] == f"{mmeb.published('GME-2B', 'newest').scores['MSVD']:.2f}"


def test_nothing_is_published_of_the_mini_suite(tmp_path: Path) -> None:
    page = page_of(results("mini"), tmp_path, queries=0)
    assert "mini suite" in page.first("header").text
    assert "published" not in {section.attributes["id"] for section in page.all("section")}
    assert not list(page.all("div", "other"))
    assert "none stand beside" in page.section("averages").text


def test_another_number_of_queries_is_told(tmp_path: Path) -> None:
    page = page_of(results("V-RET"), tmp_path)
    assert "MSVD" in page.first("header").first("p", "warning").text
    assert "100 of 670" in page.section("tasks").text


@pytest.mark.parametrize("selection", ["V-RET", "mini"])
def test_a_model_without_published_scores_is_refused(tmp_path: Path, selection: str) -> None:
    with pytest.raises(InputError, match="no scores were published"):
        mmeb.write_report(results(selection), tmp_path / "r.html", compare=["GME-2B", "nobody"])
    assert not (tmp_path / "r.html").exists()


def test_the_model_itself_stands_first_where_it_was_published(tmp_path: Path) -> None:
    heads = page_of(replace(results("video"), model="GME-7B"), tmp_path).section("tasks").all("th", "model")
    assert [one.text for one in heads] == [
        *("GME-7B", "GME-7B (newest)", "VLM2Vec-V2.0 (newest)", "VLM2Vec-7B (newest)", "GME-2B (newest)"),
    ]


def test_averages_that_alone_were_published_stand_beside(tmp_path: Path) -> None:
    found = replace(results("all"), model="Qwen3-VL-Embedding-2B")
    page = page_of(found, tmp_path)
    (row,) = [
        row
        for row in page.section("published").all("tr")
        if row.first("th").text == "Qwen3-VL-Embedding-2B (published)"
    ]
    means = mmeb.published_means("Qwen3-VL-Embedding-2B").means
    for cell, name in zip(row.all("td"), ("overall", "image", "video", "visdoc"), strict=True):
        assert cell.text.startswith(f"{means[name]:.2f}{found.intervals()[name].mean - means[name]:+.2f}")
    assert "Qwen3-VL-Embedding-2B (published)" in page.section("averages").text
    assert "commit 8ce3aab" in page.section("published").text
    other = page_of(results("all"), tmp_path)
    assert "(published)" not in other.text


def test_how_the_model_was_run_is_said(tmp_path: Path) -> None:
    found = results("video")
    said = {"prompts": "of the profile", "frames": "at most 64 of a clip"}
    told = replace(found, tasks=tuple(replace(task, settings=said) for task in found.tasks))
    section = page_of(told, tmp_path).section("settings")
    assert [one.text for one in section.all("dt")] == list(said)
    assert [one.text for one in section.all("dd")] == list(said.values())
    assert "How it was run" not in page_of(found, tmp_path).text
