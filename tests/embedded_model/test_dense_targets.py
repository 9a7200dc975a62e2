"""Dense targets agree with what is drawn."""

from __future__ import annotations

import numpy as np

from embedded_model.dense_targets import (
    ASPECTS,
    LETTERS,
    NOT_ASKED,
    dense_targets,
    ink_targets,
    letter_targets,
)
from vlm2vec.world import draw_clip, draw_page, draw_scene, render_scene
from vlm2vec.world.scenes import Scene
from vlm2vec.world.shapes import Thing
from vlm2vec.world.vocabulary import COLOURS, PAPER


def _answers(targets: np.ndarray, aspect: str) -> list[str]:
    column = targets[:, list(ASPECTS).index(aspect)]
    return ["not asked" if answer == NOT_ASKED else ASPECTS[aspect][answer] for answer in column]


def test_a_thing_in_one_cell_is_the_answer_of_that_token():
    thing = Thing("blue", "ring", "small", x=1.5 / 4, y=2.5 / 4, diameter=0.2)
    targets = dense_targets(Scene((thing,), PAPER[0]))
    place = 2 * 4 + 1
    for aspect, answer in (("colour", "blue"), ("shape", "ring"), ("size", "small")):
        assert [k for k, value in enumerate(_answers(targets, aspect)) if value == answer] == [place]
    assert set(_answers(targets, "word")) == set(_answers(targets, "motion")) == {"not asked"}


def test_the_answered_colour_is_in_the_pixels_of_its_cell():
    for seed in range(20):
        scene = draw_scene(np.random.default_rng(seed))
        cells = np.asarray(render_scene(scene)).reshape(4, 28, 4, 28, 3).swapaxes(1, 2).reshape(16, -1, 3)
        for cell, colour in zip(cells, _answers(dense_targets(scene), "colour"), strict=True):
            matches = (cell == COLOURS.get(colour, scene.paper)).all(axis=1)
            assert matches.sum() > 10


def test_centres_add_up_to_the_number_of_things():
    """However many tokens each reaches over."""
    for seed in range(60):
        scene = draw_scene(np.random.default_rng(seed), counted=True)
        centres = [ASPECTS["centres"].index(answer) for answer in _answers(dense_targets(scene), "centres")]
        assert sum(centres) == len(scene.things)
    clip = draw_clip(np.random.default_rng(2))
    per_step = np.array(_answers(dense_targets(clip), "centres")).reshape(4, 9)
    assert (np.sum(per_step != "nothing", axis=1) <= 1 + (clip.bystander is not None)).all()
    assert (np.sum(per_step != "nothing", axis=1) >= 1).all()


def test_a_colour_without_a_name_is_not_asked_for():
    thing = Thing("#705a3c", "ring", "small", x=1.5 / 4, y=2.5 / 4, diameter=0.2)
    targets = dense_targets(Scene((thing,), PAPER[0]))
    place = 2 * 4 + 1
    assert _answers(targets, "shape")[place] == "ring" and _answers(targets, "centres")[place] == "one"
    colours = _answers(targets, "colour")
    assert colours.pop(place) == "not asked" and set(colours) == {"nothing"}


def test_a_clip_has_its_direction_wherever_the_mover_is_and_only_there():
    for seed in range(20):
        clip = draw_clip(np.random.default_rng(seed))
        targets = dense_targets(clip)
        assert targets.shape == (4 * 9, len(ASPECTS))
        motions = _answers(targets, "motion")
        assert clip.motions[0] in motions
        assert set(motions) <= {"nothing", "still", clip.motions[0]}
        nouns = zip(_answers(targets, "colour"), _answers(targets, "shape"), strict=True)
        moving = {noun for noun, motion in zip(nouns, motions, strict=True) if motion == clip.motions[0]}
        assert moving == {(clip.mover.colour, clip.mover.shape)}


def test_a_page_has_its_words_in_their_rows_and_its_figure_below():
    for seed in range(20):
        page = draw_page(np.random.default_rng(seed))
        targets = dense_targets(page)
        words = np.array(_answers(targets, "word")).reshape(6, 4)
        for row, word in enumerate(page.title):
            assert words[row, 0] == word.text
            assert set(words[row]) <= {word.text, "nothing"}
        assert set(words[2:].ravel()) == {"nothing"}
        assert set(_answers(targets, "shape")[12:]) == {page.figure}
        assert set(_answers(targets, "colour")[12:]) == {page.colour}


def test_letters_are_those_of_the_title_word_in_their_row():
    for seed in range(20):
        page = draw_page(np.random.default_rng(seed))
        letters = letter_targets(page).reshape(6, 4, -1)
        for row, word in enumerate(page.title):
            shown = {chr(ord("a") + index) for index in np.nonzero(letters[row].any(axis=0))[0]}
            assert shown == set(word.text)
        assert not letters[2:].any()


def test_ink_adds_up_to_the_area_of_the_things():
    square = Thing("red", "square", "large", x=0.5, y=0.5, diameter=0.4)
    ink = ink_targets(Scene((square,), PAPER[0]))
    assert ink.shape == (16, 49)
    assert abs(ink.sum() * 16 - (0.84 * 0.4 * 112) ** 2) < 120


def test_a_clip_of_several_motions_has_each_at_its_time():
    for seed in range(20):
        clip = draw_clip(np.random.default_rng(seed), motions=2)
        motions = np.array(_answers(dense_targets(clip), "motion")).reshape(4, 9)
        moving = [set(step) - {"nothing", "still"} for step in motions]
        first, last = clip.motions
        assert moving == [{first}, {first}, {last}, {last}]


def test_headings_and_tables_have_their_words_and_digits_where_they_stand():
    headings, rows = set(), set()
    for seed in range(60):
        page = draw_page(np.random.default_rng(seed), texts=True)
        words = np.array(_answers(dense_targets(page), "word")).reshape(6, 4)
        letters = letter_targets(page).reshape(6, 4, -1)
        expected = {0: [page.title[0]], 1: [page.title[1]], 2: [page.heading] if page.heading else []}
        expected |= {3 + row: [*cells] for row, cells in enumerate(page.cells)}
        for row in range(6):
            texts = [word.text for word in expected.get(row, [])]
            assert set(words[row]) - {"nothing"} == set(texts)
            assert {LETTERS[index] for index in np.nonzero(letters[row].any(axis=0))[0]} == set(
                "".join(texts)
            )
            if row > 2 and texts:
                assert words[row, 3] == texts[1] and words[row, 0] == texts[0]
        headings.add(page.heading is None)
        rows.add(len(page.cells))
    assert headings == {True, False} and rows == {0, 2, 3}


def test_the_figure_is_asked_for_only_where_it_is():
    for seed in range(60):
        page = draw_page(np.random.default_rng(seed), texts=True)
        figures = np.array(_answers(dense_targets(page), "shape")).reshape(6, 4)
        rows = len(page.cells) or 3
        assert set(figures[3 : 3 + rows].ravel()) == {page.figure}
        assert set(figures[:3].ravel()) | set(figures[3 + rows :].ravel()) == {"nothing"}
