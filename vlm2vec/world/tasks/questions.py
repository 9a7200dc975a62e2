"""Question answering: a picture, clip or page and a question; the answer is the document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from vlm2vec.world.captions import motion_text
from vlm2vec.world.clips import Clip, reverse
from vlm2vec.world.items import any_clip, any_page, any_scene
from vlm2vec.world.pages import Page
from vlm2vec.world.places import place, relation
from vlm2vec.world.scenes import Scene
from vlm2vec.world.shapes import Thing
from vlm2vec.world.vocabulary import COUNTS, plural, with_article

__all__ = [
    "ANSWER",
    "Question",
    "about_clip",
    "about_page",
    "about_scene",
    "question_about_clip",
    "question_about_page",
    "question_about_scene",
]

ANSWER = "Answer the question."


class Question(NamedTuple):
    """A question with one right answer.

    Attributes:
        text: The question.
        answer: The right answer.
        wrong: Answers that would be right for something else in the picture.
    """

    text: str
    answer: str
    wrong: tuple[str, ...] = ()


def _ask(rng: np.random.Generator, item: Scene | Clip | Page, questions: list[Question]) -> dict[str, Any]:
    """A row with one of the questions."""
    question = questions[rng.integers(len(questions))]
    row = {
        "query": {"video" if isinstance(item, Clip) else "image": item, "text": question.text},
        "document": question.answer,
        "query_instruction": ANSWER,
    }
    return row | ({"negatives": list(question.wrong)} if question.wrong else {})


def question_about_scene(rng: np.random.Generator) -> dict[str, Any]:
    """Colour, shape, number and place of things in a scene, and what is beside them."""
    scene = any_scene(rng)
    return _ask(rng, scene, about_scene(scene))


def question_about_clip(rng: np.random.Generator) -> dict[str, Any]:
    """What moves in a clip, where, and what first and last."""
    clip = any_clip(rng)
    return _ask(rng, clip, about_clip(clip))


def question_about_page(rng: np.random.Generator) -> dict[str, Any]:
    """What a page says in its title, heading and table, and what it shows."""
    page = any_page(rng)
    return _ask(rng, page, about_page(page))


def about_scene(scene: Scene) -> list[Question]:
    """All questions about a scene whose answers are clear."""
    groups = scene.groups
    colours, shapes = ([getattr(group[0], name) for group in groups] for name in ("colour", "shape"))
    counts = [COUNTS[len(group) - 1] for group in groups]
    questions = []
    for group, colour, shape, count in zip(groups, colours, shapes, counts, strict=True):
        noun = group[0].noun
        if shapes.count(shape) == 1:
            verb, named = ("are", plural(shape)) if len(group) > 1 else ("is", shape)
            questions.append(_question(f"What colour {verb} the {named}?", colour, colours))
        if colours.count(colour) == 1:
            questions.append(_question(f"What shape is {colour}?", shape, shapes))
        if max(map(len, groups)) > 1:
            questions.append(_question(f"How many {plural(noun)} are there?", count, counts))
    singles = [group[0] for group in groups if len(group) == 1]
    places = [place(thing) for thing in singles]
    questions += [
        _question(f"Where is the {thing.noun}?", where, places)
        for thing, where in zip(singles, places, strict=True)
    ]
    questions += _neighbours(scene.things, singles)
    return questions


def _neighbours(things: Iterable[Thing], singles: list[Thing]) -> Iterator[Question]:
    """What is beside, above or below each single thing, where that is exactly one other."""
    for thing in singles:
        others = [other for other in things if other is not thing]
        relations = [relation(other, thing) for other in others]
        if None in relations:
            continue  # something is neither plainly beside nor plainly above
        for other, where in zip(others, relations, strict=True):
            if other in singles and relations.count(where) == 1:
                nouns = [with_article(each.noun) for each in singles]
                yield _question(f"What is {where} the {thing.noun}?", with_article(other.noun), nouns)


def about_clip(clip: Clip) -> list[Question]:
    """All questions about a clip."""
    motions, noun = clip.motions, clip.mover.noun
    mover = with_article(noun)
    backwards = {reverse(clip).motions: None, motions[::-1]: None}
    wrong = [motion_text(other) for other in backwards]
    questions = [_question(f"Where does the {noun} move?", motion_text(motions), wrong)] * 2
    if len(motions) > 1:
        questions.append(_question(f"Where does the {noun} move first?", motions[0], motions))
        questions.append(_question(f"Where does the {noun} move last?", motions[-1], motions))
    still = [] if clip.bystander is None else [with_article(clip.bystander.noun)]
    questions.append(_question("What moves?", mover, still))
    if still:
        questions.append(_question("What stands still?", still[0], [mover]))
    return questions


def about_page(page: Page) -> list[Question]:
    """All questions about a page that has what they ask for."""
    words = [word.text for word in page.words]
    questions = [
        _question("What is the title?", page.title_text, words[2:]),
        _question(f"What colour is the {page.figure}?", page.colour, ()),
        _question("What does the page show?", with_article(page.figure), words[2:]),
    ]
    if page.heading is not None:
        questions += [_question("What is the heading?", page.heading.text, words)] * 2
    numbers = [number.text for _, number in page.cells]
    entries = [word.text for word, _ in page.cells]
    for entry, number in zip(entries, numbers, strict=True):
        questions.append(_question(f"What number is next to {entry}?", number, numbers))
        if numbers.count(number) == 1:
            questions.append(_question(f"What is next to the number {number}?", entry, entries))
    return questions


def _question(text: str, answer: str, others: Iterable[str]) -> Question:
    """The question, the other answers being wrong ones unless they are the same."""
    return Question(text, answer, tuple(other for other in dict.fromkeys(others) if other != answer))
