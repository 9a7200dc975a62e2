"""Pages: a question, and the page that answers it."""

from __future__ import annotations

from typing import Any

import numpy as np

from vlm2vec.world.items import any_page
from vlm2vec.world.pages import Page
from vlm2vec.world.twins import twin

__all__ = ["FIND_PAGE", "answered_by", "find_page"]

FIND_PAGE = "Find the page that answers the question."


def answered_by(page: Page) -> list[str]:
    """Questions that the page answers, and few others would."""
    questions = [f"Which page is titled {page.title_text}?"]
    if page.heading is not None:
        questions.append(f"Which page has the heading {page.heading.text}?")
        questions.append(f"Which page about {page.title[0].text} has the heading {page.heading.text}?")
    for word, number in page.cells:
        questions.append(f"Which page has {number.text} next to {word.text}?")
        questions.append(f"Which page says how many there are of {word.text}?")
    if not page.cells:
        questions.append(f"Which page has a {page.colour} {page.figure} about {page.title_text}?")
    return questions


def find_page(rng: np.random.Generator) -> dict[str, Any]:
    """A question, and the page that answers it; a twin that does not answer it is a hard negative."""
    page = any_page(rng)
    while rng.random() < 0.5 and not page.cells:  # a quarter of all pages has a table, and those ask for more
        page = any_page(rng)
    questions = answered_by(page)
    question, other = questions[rng.integers(len(questions))], twin(page, rng)
    row = {"query": question, "document": page, "query_instruction": FIND_PAGE}
    return row if question in answered_by(other) else row | {"negatives": [other]}
