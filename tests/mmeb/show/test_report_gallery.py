"""Hits and misses: which queries are shown, in which order candidates stand, and which are marked."""

from __future__ import annotations

from pathlib import Path

import pytest
from html_tree import Element, tree
from small_data import scored

from vlm2vec import mmeb
from vlm2vec.mmeb.loaders import DataFolder, load
from vlm2vec.mmeb.mini import write_mini
from vlm2vec.mmeb.results import Results
from vlm2vec.mmeb.samples import Content, Query, TaskData
from vlm2vec.mmeb.show.examples import Candidate, choose
from vlm2vec.mmeb.task_result import TaskResult

MINI = ["mini-I-CLS", "mini-I-RET", "mini-V-MR", "mini-VD"]
KEYS = [f"c{number}" for number in range(20)]


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    write_mini(folder, MINI)
    return folder


@pytest.fixture(scope="module")
def results(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return scored(tmp_path_factory.mktemp("results"), mini, MINI)


@pytest.fixture(scope="module")
def page(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Element:
    path = tmp_path_factory.mktemp("page") / "r.html"
    mmeb.write_report(results, path, queries=3, candidates=4)
    return tree(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def data(mini: Path) -> dict[str, TaskData]:
    return {name: load(mmeb.get_task(name), DataFolder(mini, offline=True)) for name in MINI}


def shown(page: Element) -> list[tuple[str, Element]]:
    tasks = page.section("gallery").all("details", "task")
    return [(task.first("b").text, article) for task in tasks for article in task.all("article")]


def number_of(article: Element) -> int:
    return int(next(one.text for one in article.all("span") if one.text.startswith("query ")).split()[1])


def key_of(candidate: Element) -> str:
    """Of a picture its key; of a text itself, which is its key."""
    return [*candidate.all("p", "key"), *candidate.all("p", "text")][0].text


def test_candidates_stand_as_they_ranked_and_the_right_ones_are_marked(
    results: Results, page: Element, data: dict[str, TaskData]
) -> None:
    tops = {result.task: result.top for result in results.tasks}
    for task, article in shown(page):
        query, top = data[task].queries[number_of(article)], tops[task][number_of(article)]
        candidates = list(article.first("ol").all("li"))
        assert [key_of(one) for one in candidates[:4]] == [str(key) for key in top[:4]]
        ranks = [one.first("span", "rank").text for one in candidates]
        assert ranks[: len(top)][:4] == [str(place) for place in range(1, 1 + min(4, len(top)))]
        labels = {str(label) for label in query.labels}
        for one in candidates:
            right = key_of(one) in labels
            assert ("right" in one.classes) == bool(list(one.all("span", "answer"))) == right
        assert ("hit" in article.classes) == (top[0] in query.labels)
        if not labels & {str(key) for key in top[:4]}:
            (extra,) = candidates[4:]
            assert key_of(extra) in labels
            place = (
                1 + [str(key) for key in top].index(key_of(extra)) if key_of(extra) in map(str, top) else 0
            )
            assert ranks[4] == (str(place) if place else "> 10")
        else:
            assert len(candidates) <= 4


def test_misses_and_hits_are_counted_and_evenly_spaced(results: Results, page: Element) -> None:
    articles = shown(page)
    told = {task.first("b").text: task.first("summary").text for task in page.all("details", "task")}
    for result in results.tasks:
        if result.metric == "hit@1":
            hits = [number for number, score in enumerate(result.per_query) if score == 1]
        else:
            continue
        misses = [number for number in range(result.queries) if number not in hits]
        expected = [
            some[place * len(some) // min(3, len(some))]
            for some in (misses, hits)
            for place in range(min(3, len(some)))
        ]
        assert [number_of(article) for task, article in articles if task == result.task] == expected
        assert f"misses {len(misses)}, hits {len(hits)}" in told[result.task]
    assert f"{len(articles)} of 320 queries" in page.section("gallery").text


def test_queries_show_what_was_asked(page: Element, data: dict[str, TaskData]) -> None:
    for task, article in shown(page):
        content = data[task].queries[number_of(article)].content
        asked = article.first("div", "query")
        assert [one.text for one in asked.all("p", "text")] == [content.text][: bool(content.text)]
        assert asked.first("p", "instruction").text == content.instruction
        assert len(list(asked.all("img"))) == (content.image is not None or bool(content.frames))


def test_a_clip_is_a_strip_of_its_frames(page: Element) -> None:
    strips = [one for task, article in shown(page) if task == "mini-V-MR" for one in article.all("img")]
    assert strips
    shapes = {int(one.attributes["width"]) / int(one.attributes["height"]) for one in strips}
    # Frames are square: eight side by side where they are candidates, and two rows of four for a query.
    assert sorted(round(shape) for shape in shapes) == [2, 8]


def one_task(tops: list[tuple[str, ...]], labels: list[tuple[str, ...]]) -> tuple[TaskResult, TaskData]:
    result = TaskResult(
        task="MSVD",
        model="a model",
        metric="hit@1",
        scores={"hit@1": 0.0},
        per_query=tuple(float(top[:1] == label[:1]) for top, label in zip(tops, labels, strict=True)),
        top=tuple(tops),
        candidates=len(KEYS),
        expected_queries=len(tops),
        seconds=0.0,
        made_of={"compat": None},
    )
    queries = [Query(Content(f"q{number}"), label) for number, label in enumerate(labels)]
    return result, TaskData(queries, {key: Content(key, key) for key in KEYS})


def test_the_best_right_candidate_follows_where_none_is_shown() -> None:
    top = tuple(KEYS[:10])
    result, data = one_task([top, top, top], [("c9", "c6"), ("c15", "c12"), ("c1",)])
    found = choose(result, data, queries=3, candidates=3).shown
    assert [[(one.key, one.rank) for one in example.candidates] for example in found] == [
        [("c0", 1), ("c1", 2), ("c2", 3), ("c6", 7)],
        [("c0", 1), ("c1", 2), ("c2", 3), ("c15", None)],
        [("c0", 1), ("c1", 2), ("c2", 3)],
    ]
    assert [[one.right for one in example.candidates] for example in found] == [
        [False, False, False, True],
        [False, False, False, True],
        [False, True, False],
    ]


def test_a_query_that_could_not_be_embedded_is_a_miss() -> None:
    result, data = one_task([(), tuple(KEYS[:10])], [("c3",), ("c0",)])
    found = choose(result, data, queries=2, candidates=3)
    assert (found.misses, found.hits) == (1, 1)
    failed, hit = found.shown
    assert (failed.hit, failed.kept, [one.key for one in failed.candidates]) == (False, 0, ["c3"])
    assert hit.hit


@pytest.mark.parametrize(
    ("key", "text", "name"),
    [
        ("crops/1.png:", "", "crops/1.png"),
        ("crops/1.png:the cup", '"the cup"', "crops/1.png"),
        ("photo.png", "a cup", "photo.png"),
        (7, "", "7"),
    ],
)
def test_the_caption_of_a_crop_is_its_file(key: str | int, text: str, name: str) -> None:
    assert Candidate(key, 1, True, Content("", text)).name == name
