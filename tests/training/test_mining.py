"""Hard negatives: mined as a loop over all similarities would, and nothing lost on the way."""

from __future__ import annotations

import logging
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from vlm2vec import VLM2Vec
from vlm2vec.errors import InputError, MediaError
from vlm2vec.training import Mixture, mine_hard_negatives, mining
from vlm2vec.training.data.row_inputs import identity
from vlm2vec.training.sources import TrainingSource
from vlm2vec.world import draw_scene, full_caption, render_scene

SHAPES = [f"a {colour} {shape}" for colour in ("red", "blue", "green") for shape in ("circle", "square")]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """Captions and pictures, words and words, each way; some rows have negatives or answers in common."""
    rng = np.random.default_rng(3)
    scenes = [draw_scene(rng) for _ in range(12)]
    pairs = [(full_caption(scene), render_scene(scene, 56)) for scene in scenes]
    found = [{"query": text, "document": picture} for text, picture in pairs]
    found += [
        {"query": picture, "document": text, "query_instruction": "Describe it."} for text, picture in pairs
    ]
    found += [{"query": shape, "document": shape.upper()} for shape in SHAPES]
    found[0]["negatives"] = [pairs[1][1], "none of these"]
    found.append({"query": pairs[2][0], "document": pairs[3][1]})  # a second answer to the third caption
    return found


def naive(
    model: VLM2Vec,
    rows: list[dict[str, Any]],
    corpus: list[Any],
    *,
    number: int = 3,
    absolute: float | None = None,
    relative: float | None = None,
    first: int = 0,
    last: int = 10**9,
) -> tuple[list[list[Any]], int]:
    """The mined negatives of each row, and how many candidates lie within a margin."""
    found, near = [], 0
    encoded = cache(lambda instruction: model.encode_document(corpus, instruction=instruction))
    for row in rows:
        query = model.encode_query([row["query"]], instruction=row.get("query_instruction"))[0]
        instruction = row.get("document_instruction")
        candidates = encoded(instruction) @ query
        positive = float(model.encode_document([row["document"]], instruction=instruction)[0] @ query)
        known = [row["query"], *(row.get("negatives") or [])]
        known += [other["document"] for other in rows if question(other) == question(row)]
        limit = math.inf
        if absolute is not None:
            limit = positive - absolute
        if relative is not None:
            limit = min(limit, positive - relative * abs(positive))
        chosen = []
        rank = 0
        for place in np.argsort(-candidates):
            if any(corpus[place] is value or corpus[place] == value for value in known):
                continue
            score, rank = float(candidates[place]), rank + 1
            if score > limit:
                near += 1
            elif first < rank <= last and len(chosen) < number:
                chosen.append(corpus[place])
        found.append(chosen)
    return found, near


def question(row: dict[str, Any]) -> tuple[Any, Any]:
    return row["query"], row.get("query_instruction")


def mined_of(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[list[Any]]:
    """What was added to the rows, everything else being as it was."""
    added = []
    for old, new in zip(before, after, strict=True):
        own = old.get("negatives") or []
        assert {**new, "negatives": own} == {**old, "negatives": own}
        assert all(a is b for a, b in zip(new["negatives"], own, strict=False))
        added.append(new["negatives"][len(own) :])
    return added


def distinct(values: list[Any]) -> list[Any]:
    return list({identity(value): value for value in values}.values())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"relative_margin": None}, {}),
        ({}, {"relative": 0.05}),
        ({"relative_margin": None, "absolute_margin": 0.1}, {"absolute": 0.1}),
        ({"relative_margin": 0.2, "absolute_margin": 0.1}, {"absolute": 0.1, "relative": 0.2}),
        ({"relative_margin": 0.2, "range_min": 2}, {"relative": 0.2, "first": 2}),
        (
            {"range_min": 1, "range_max": 5, "num_negatives": 9},
            {"relative": 0.05, "first": 1, "last": 5, "number": 9},
        ),
        ({"num_negatives": 100}, {"relative": 0.05, "number": 100}),
    ],
)
def test_it_finds_what_a_loop_over_all_similarities_finds(
    embedded: VLM2Vec, rows: list[dict[str, Any]], ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    corpus = distinct([row["document"] for row in rows])
    expected, near = naive(embedded, rows, corpus, **theirs)
    assert sum(map(len, expected)) > 0
    found, report = mine_hard_negatives(embedded, rows, **ours)
    assert mined_of(rows, found) == expected
    assert (report.rows, report.documents, report.false_negatives) == (len(rows), len(corpus), near)
    assert report.mined == sum(map(len, expected))
    asked = ours.get("num_negatives", 3)
    assert report.short_rows == sum(len(negatives) < asked for negatives in expected)
    assert near > 0 or not theirs


def test_the_report_has_the_mean_similarities(embedded: VLM2Vec, rows: list[dict[str, Any]]) -> None:
    texts = rows[-7:-1]
    found, report = mine_hard_negatives(embedded, texts, num_negatives=2, relative_margin=None)
    queries = embedded.encode_query([row["query"] for row in texts])
    positives = embedded.encode_document([row["document"] for row in texts])
    negatives = [
        embedded.encode_document(row["negatives"]) @ query for row, query in zip(found, queries, strict=True)
    ]
    assert report.positive_similarity == pytest.approx(float((queries * positives).sum(1).mean()), abs=1e-6)
    assert report.negative_similarity == pytest.approx(float(np.mean(negatives)), abs=1e-6)
    assert "12 negatives for 6 rows, from 6 documents" in str(report)


def test_a_corpus_of_any_modality_is_ranked_in_place_of_the_documents(
    embedded: VLM2Vec, rows: list[dict[str, Any]]
) -> None:
    rng = np.random.default_rng(8)
    pictures = [np.asarray(render_scene(draw_scene(rng), 56)) for _ in range(5)]
    corpus = [*pictures, *SHAPES, {"text": "and", "image": pictures[0]}]
    some = rows[10:26:3]
    found, report = mine_hard_negatives(embedded, some, (item for item in corpus), relative_margin=None)
    names = {id(item): place for place, item in enumerate(corpus)}
    expected = []
    for row in some:
        query = embedded.encode_query([row["query"]], instruction=row.get("query_instruction"))[0]
        order = np.argsort(-(embedded.encode_document(corpus) @ query)).tolist()
        expected.append([place for place in order if corpus[place] is not row["query"]][:3])
    assert [[names[id(item)] for item in row["negatives"]] for row in found] == expected
    assert report.documents == len(corpus)


def test_nothing_equal_to_the_query_the_document_or_another_answer_is_a_negative(embedded: VLM2Vec) -> None:
    rows = [
        {"query": "red", "document": "a red circle"},
        {"query": "red", "document": "a red square"},
        {"query": {"text": "red"}, "document": "a red heart"},
        {"query": "red", "document": "a red star", "query_instruction": "Which has five points?"},
        {"query": "blue", "document": "a blue star", "negatives": ["a blue square"]},
    ]
    corpus = [
        "red",
        "a red circle",
        {"text": "a red circle"},
        "a red square",
        "a red heart",
        "a red star",
        "a blue square",
    ]
    found, report = mine_hard_negatives(embedded, rows, corpus, num_negatives=9, relative_margin=None)
    assert report.documents == 6
    for row in found[:3]:
        assert sorted(row["negatives"]) == ["a blue square", "a red star"]
    assert sorted(found[3]["negatives"]) == ["a blue square", "a red circle", "a red heart", "a red square"]
    assert found[4]["negatives"][0] == "a blue square"
    assert sorted(found[4]["negatives"][1:]) == [
        "a red circle",
        "a red heart",
        "a red square",
        "a red star",
        "red",
    ]


def test_candidates_have_the_instruction_that_they_will_be_trained_with(embedded: VLM2Vec) -> None:
    words = [f"{shape}?" for shape in SHAPES]
    instructed = [
        {"query": shape, "document": word, "document_instruction": "Name the colour."}
        for shape, word in zip(SHAPES[:3], words[:3], strict=True)
    ]
    plain = [{"query": shape, "document": word} for shape, word in zip(SHAPES[3:], words[3:], strict=True)]
    mixed = [instructed[0], plain[0], *instructed[1:], *plain[1:]]
    found, _ = mine_hard_negatives(embedded, mixed, num_negatives=9, relative_margin=None)
    alone = {
        row["query"]: row
        for part in (instructed, plain)
        for row in mine_hard_negatives(embedded, part, num_negatives=9, relative_margin=None).rows
    }
    assert found == [alone[row["query"]] for row in mixed]
    assert all(set(row["negatives"]) < set(words[:3]) for row in found if "document_instruction" in row)
    ranked, _ = mine_hard_negatives(embedded, mixed, words, num_negatives=5, relative_margin=None)
    expected, _ = naive(embedded, mixed, words, number=5)
    assert [row["negatives"] for row in ranked] == expected


def test_random_draws_come_from_the_first_ranks_and_follow_from_the_seed(embedded: VLM2Vec) -> None:
    rows = [{"query": shape, "document": shape.upper()} for shape in SHAPES]
    corpus = [f"{shape} {number}" for shape in SHAPES for number in range(9)]

    def drawn(seed: int, some: list[Any] = rows, **settings: Any) -> list[list[str]]:
        settings = {"num_negatives": 2, "relative_margin": None, "sampling_strategy": "random", **settings}
        return [
            row["negatives"]
            for row in mine_hard_negatives(embedded, some, corpus, seed=seed, **settings).rows
        ]

    ranked, _ = naive(embedded, rows, corpus, number=20)
    draws = [drawn(seed) for seed in range(12)]
    for place, order in enumerate(ranked):
        seen = {text for draw in draws for text in draw[place]}
        assert len(seen) > 6
        assert seen <= set(order)
        assert all(order.index(draw[place][0]) < order.index(draw[place][1]) for draw in draws)
    assert drawn(4) == draws[4] != draws[5]
    assert drawn(4, rows[:2]) == draws[4][:2]
    apart = [{**rows[0], "document_instruction": "Name the colour."}, *rows[1:]]
    assert drawn(4, apart)[1:] == draws[4][1:]
    for draw in (drawn(seed, range_min=3, range_max=6) for seed in range(4)):
        assert all(set(two) <= set(order[3:6]) for two, order in zip(draw, ranked, strict=True))


def test_rows_are_ranked_block_by_block_as_at_once(
    embedded: VLM2Vec, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = mine_hard_negatives(embedded, rows)
    monkeypatch.setattr(mining, "_BLOCK", 4)
    blocks = mine_hard_negatives(embedded, rows)
    assert mined_of(rows, blocks.rows) == mined_of(rows, at_once.rows)
    assert str(blocks.report) == str(at_once.report)


def test_what_cannot_be_embedded_is_named(embedded: VLM2Vec, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n broken")
    good = {"query": "red", "document": "a red circle"}
    for rows, corpus, name in (
        ([good, {"query": broken, "document": "blue"}], None, "pets, row 1, query"),
        ([good, good, {"query": "blue", "document": broken}], None, "pets, row 2, document"),
        ([good], ["blue", broken], "corpus, document 1"),
        ([good, {"query": "blue"}], None, "pets, row 1"),
    ):
        with pytest.raises((InputError, MediaError)) as caught:
            mine_hard_negatives(embedded, rows, corpus, source="pets")
        assert str(caught.value).startswith(name + ":")


def test_what_is_skipped_is_counted(embedded: VLM2Vec, tmp_path: Path, caplog: Any) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n broken")
    good = [{"query": shape, "document": shape.upper()} for shape in SHAPES]
    bad = [{"query": broken, "document": "blue"}, {"query": "blue", "document": broken}, {"query": "blue"}]
    rows = [bad[0], *good[:3], *bad[1:], *good[3:]]
    with caplog.at_level(logging.WARNING):
        found, report = mine_hard_negatives(embedded, rows, on_error="skip", relative_margin=None)
    assert found == mine_hard_negatives(embedded, good, relative_margin=None).rows
    assert report.skipped == {
        "rows without a document": 1,
        "rows whose query cannot be embedded": 1,
        "documents that cannot be embedded": 1,
        "rows whose document cannot be embedded": 1,
    }
    assert "train, row 4, document" in caplog.text
    found, report = mine_hard_negatives(
        embedded, good[:1], ["red", broken, None], on_error="skip", relative_margin=None
    )
    assert found[0]["negatives"] == ["red"]
    assert report.skipped == {"documents that cannot be embedded": 2}
    with pytest.raises(InputError, match="no row could be embedded"):
        mine_hard_negatives(embedded, bad, on_error="skip")


def test_opened_pictures_are_mined(embedded: VLM2Vec, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(4):
        scene = draw_scene(rng)
        render_scene(scene).save(tmp_path / f"{number}.png")
        opened = PIL.Image.open(tmp_path / f"{number}.png")  # not decoded before it is embedded
        rows.append({"query": full_caption(scene), "document": opened})
    found, _ = mine_hard_negatives(embedded, rows, num_negatives=3, relative_margin=None)
    for row in found:
        assert len(row["negatives"]) == 3
        assert all(negative is not row["document"] for negative in row["negatives"])


def test_rows_without_candidates_stay(embedded: VLM2Vec) -> None:
    rows = [{"query": "red", "document": "a red circle"}]
    found, report = mine_hard_negatives(embedded, rows)
    assert found == [{**rows[0], "negatives": []}]
    assert (report.short_rows, report.mined) == (1, 0)
    assert math.isnan(report.negative_similarity)
    assert mine_hard_negatives(embedded, rows, []).rows == found


def test_a_training_source_is_mined_with_its_instructions(embedded: VLM2Vec) -> None:
    pairs = [{"query": shape, "document": shape.upper()} for shape in SHAPES]
    source = TrainingSource("shapes", pairs, cap=4, query_instruction="Find it.")
    found = mine_hard_negatives(embedded, source, relative_margin=None).rows
    assert [row["query_instruction"] for row in found] == ["Find it."] * 4
    assert [row["negatives"] for row in found] == naive(
        embedded, [source[i] for i in range(4)], [p["document"] for p in pairs[:4]]
    )[0]
    with pytest.raises(InputError, match=r"mixture\.sources\[0\]"):
        mine_hard_negatives(embedded, Mixture([source]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_negatives": 0}, "num_negatives is int 0"),
        ({"range_min": -1}, "range_min is int -1"),
        ({"range_min": 5, "range_max": 5}, "range_max, 5, is not above range_min, 5"),
        ({"relative_margin": 95}, "relative_margin is 95"),
        ({"absolute_margin": "0.1"}, "absolute_margin is '0.1'"),
        ({"sampling_strategy": "best"}, "sampling_strategy is 'best'"),
        ({"on_error": "nan"}, "on_error"),
        ({"corpus": "a red circle"}, "the corpus is text"),
    ],
)
def test_settings_out_of_range_are_refused(embedded: VLM2Vec, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        mine_hard_negatives(embedded, [{"query": "red", "document": "a red circle"}], **settings)
