"""Rows of the world: right answers are right, hard negatives wrong, and rows follow from their number."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from PIL import Image

from embedded_model.world_sources import TASKS, world_sources, world_texts
from vlm2vec import Video, profiles
from vlm2vec.training.data.mixture import Mixture
from vlm2vec.training.data.rows import check_row
from vlm2vec.world import draw_item, full_caption
from vlm2vec.world.clips import Clip
from vlm2vec.world.ink import CutOut, Moment, with_ink
from vlm2vec.world.scenes import Scene, is_allowed
from vlm2vec.world.shapes import Thing
from vlm2vec.world.tasks.classification import INSTRUCTIONS, labels
from vlm2vec.world.tasks.page_questions import answered_by
from vlm2vec.world.tasks.questions import about_clip, about_page, about_scene
from vlm2vec.world.tasks.retrieval import text_to_item
from vlm2vec.world.vocabulary import ALL_WORDS, PAPER

BY_NAME = {task.name: task for task in TASKS}


def _rows(name: str, count: int = 60):
    """Rows with what is drawn, not yet in ink."""
    return [BY_NAME[name].draw(np.random.default_rng([1, row])) for row in range(count)]


def _things(value):
    if isinstance(value, dict):
        return [thing for item in value.values() for thing in _things(item)]
    if isinstance(value, list):
        return [thing for item in value for thing in _things(item)]
    if isinstance(value, CutOut):
        return _things(value.scene)
    if isinstance(value, Moment):
        return _things(value.clip)
    if isinstance(value, Clip):
        return [value.mover, *([value.bystander] if value.bystander else [])]
    return list(value.things) if isinstance(value, Scene) else []


def _bytes(value):
    if isinstance(value, dict):
        return {name: _bytes(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_bytes(item) for item in value]
    if isinstance(value, Video):
        return value.frames.tobytes()
    return (value.size, value.tobytes()) if isinstance(value, Image.Image) else value


@pytest.mark.parametrize("number", range(len(TASKS)))
def test_rows_follow_from_seed_and_place_and_can_be_trained_on(number):
    source, again, other = (world_sources(seed, size=50)[number] for seed in (0, 0, 1))
    for place in (0, 7, 49):
        row = source[place]
        assert _bytes(row) == _bytes(again[place]) != _bytes(other[place])
        check_row(row, source=source.name)
    assert _bytes(source[-1]) == _bytes(source[49]) != _bytes(source[48])
    with pytest.raises(IndexError):
        source[50]


def test_sources_make_a_mixture_and_go_to_worker_processes():
    mixture = Mixture(world_sources(size=10))
    assert mixture.names == list(BY_NAME) and len(mixture) == 10 * len(TASKS)
    rows = mixture.sources[0].rows
    assert _bytes(pickle.loads(pickle.dumps(rows))[3]) == _bytes(rows[3])  # noqa: S301  # our own bytes


@pytest.mark.parametrize("name", BY_NAME)
def test_no_row_shows_a_pair_that_is_kept_for_scoring(name):
    for row in _rows(name):
        assert all(is_allowed(thing.colour, thing.shape, "seen") for thing in _things(row))


@pytest.mark.parametrize("name", BY_NAME)
def test_a_hard_negative_is_not_the_document(name):
    for row in _rows(name):
        assert row["document"] not in row.get("negatives", [])
        if "image" in name and name.startswith("text"):
            assert all(
                full_caption(row["document"]) != full_caption(other) for other in row.get("negatives", [])
            )


@pytest.mark.parametrize("name", ["image-to-text", "image-to-query-text"])
def test_texts_that_nearly_fit_a_picture_are_hard_negatives(name):
    rows = _rows(name, 100)
    assert np.mean([len(row["negatives"]) for row in rows]) > 2.5
    for row in rows:
        told = [row["document"], *row["negatives"]]
        assert len({text.lower().rstrip(".") for text in told}) == len(told)


def test_pictures_also_look_for_queries_as_documents_do():
    profile = profiles.get("vlm2vec-embedded")
    rows = _rows("image-to-query-text", 100)
    assert {row["query_instruction"] for row in rows} == {"", profile.document_instruction}
    assert {row["document_instruction"] for row in rows} == {"", profile.query_instruction}


def test_one_picture_with_two_instructions_has_two_answers():
    instructions, documents = {}, {}
    for row in _rows("image-classification", 400):
        aspect = next(name for name, texts in INSTRUCTIONS.items() if row["query_instruction"] in texts)
        instructions.setdefault(aspect, set()).add(row["query_instruction"])
        documents.setdefault(aspect, set()).add(row["document"])
        answers = labels(row["query"])
        assert row["document"] == answers[aspect]
        assert set(row["negatives"]) == set(answers.values()) - {row["document"]}
    assert {name: len(texts) for name, texts in instructions.items()} == dict.fromkeys(
        ("colour", "shape", "size", "count"), 2
    )
    assert not set.intersection(documents["colour"], documents["shape"])
    assert documents["count"] == {"one", "two", "three", "four"}


def test_questions_about_a_scene_have_the_answers_that_are_seen():
    def thing(noun, x, y):
        return Thing(*noun.split(), "small", x, y, 0.2)

    ring, star = thing("red ring", 0.2, 0.5), thing("blue star", 0.8, 0.5)
    asked = {q.text: (q.answer, q.wrong) for q in about_scene(Scene((ring, star), PAPER[0]))}
    assert asked["What colour is the ring?"] == ("red", ("blue",))
    assert asked["What shape is blue?"] == ("star", ("ring",))
    assert asked["What is left of the blue star?"] == ("a red ring", ("a blue star",))
    assert asked["Where is the blue star?"] == ("right", ("left",))
    twice = Scene((ring, thing("red ring", 0.2, 0.8), star), PAPER[0])
    asked = {q.text: q.answer for q in about_scene(twice)}
    assert asked["How many red rings are there?"] == "two"
    assert not any("left of the blue star" in text for text in asked)  # there are two


def test_every_item_can_be_asked_about_and_no_right_answer_counts_as_wrong():
    for kind, about in (("scene", about_scene), ("clip", about_clip), ("page", about_page)):
        for seed in range(200):
            questions = about(draw_item(kind, np.random.default_rng(seed)))
            answers = {}
            for question in questions:
                assert question.answer not in question.wrong
                assert answers.setdefault(question.text, question.answer) == question.answer
            assert questions


def test_grounding_names_one_thing_of_the_picture():
    for row in _rows("grounding"):
        text, target = row["query"]["text"].removeprefix("the "), row["document"]
        named = [
            thing
            for thing in row["query"]["image"].things
            if text in (thing.noun, f"{thing.size} {thing.noun}", thing.shape)
        ]
        assert named == [target.thing]
        assert row["negatives"] and all(other.thing not in named for other in row["negatives"])


def test_a_cut_out_shows_its_thing_and_little_else():
    for row in _rows("grounding", 20):
        part = with_ink(row["document"], np.random.default_rng(0))
        assert 0.9 * 448 * row["document"].thing.diameter < max(part.size) < 1.5 * 448 * 0.42


def test_the_part_found_in_a_clip_has_the_motion_asked_for_and_the_other_has_not():
    for row in _rows("moments"):
        motion = row["query"]["text"].split()[-1]
        for part, expected in ((row["document"], True), (row["negatives"][0], False)):
            middle = (part.start + part.end) / 2
            assert (part.clip.motion_at(middle) == motion) == expected
        assert row["document"].clip == row["query"]["video"]


def test_pages_answer_their_question_and_hard_negatives_do_not():
    rows = _rows("question-to-page", 200)
    for row in rows:
        assert row["query"] in answered_by(row["document"])
        assert all(row["query"] not in answered_by(page) for page in row.get("negatives", []))
    assert 50 < sum("negatives" in row for row in rows) < 200


def test_texts_are_right_for_their_picture_and_wrong_for_the_twin():
    """What the twin does not change is said of both, and then it is no negative."""
    for seed in range(200):
        row = text_to_item("scene", np.random.default_rng(seed))
        for other in row.get("negatives", []):
            counts = [sorted((len(g), g[0].noun) for g in item.groups) for item in (row["document"], other)]
            changed = counts[0] != counts[1]
            placed = any(word in row["query"] for word in (" of ", "above", "below", " in the "))
            assert changed or placed


def test_sizes_of_what_is_seen_are_those_of_the_model():
    for name, size in (("text-to-page", {(112, 168)}), ("text-to-image", {(112, 112), (448, 448)})):
        source = next(source for source in world_sources(size=40) if source.name == name)
        assert {source[place]["document"].size for place in range(40)} == size
    clips = next(source for source in world_sources(size=40) if source.name == "text-to-clip")
    assert clips[0]["document"].frames.shape == (8, 84, 84, 3)


def test_texts_hold_every_word_and_every_instruction():
    texts = list(world_texts(rows=40))
    words = {word for text in texts for word in text.split()}
    assert set(ALL_WORDS) <= words
    assert {text for wordings in INSTRUCTIONS.values() for text in wordings} <= set(texts)


def test_seeds_of_training_are_even():
    assert all(source.rows.seed[0] % 2 == 0 for seed in (0, 1, 7) for source in world_sources(seed, size=1))
