"""Pages with headings and tables that can be read."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pypdfium2
import pytest

from vlm2vec.world import draw_page, full_caption, render_pages, write_pages
from vlm2vec.world.fonts import FONTS
from vlm2vec.world.vocabulary import ALL_WORDS, COLOURS, DIGITS, DIRECTIONS, SHAPES

PAGES = [draw_page(np.random.default_rng(seed), texts=True) for seed in range(300)]


def test_the_vocabulary_has_a_few_hundred_different_words():
    assert 250 <= len(ALL_WORDS) == len(set(ALL_WORDS)) <= 300
    assert not set(ALL_WORDS) & {*COLOURS, *SHAPES, *DIRECTIONS}


def test_there_are_headings_tables_and_all_fonts():
    assert {page.heading is None for page in PAGES} == {True, False}
    assert {len(page.cells) for page in PAGES} == {0, 2, 3}
    assert {page.font for page in PAGES} == set(FONTS) and len(FONTS) >= 4
    for page in PAGES:
        assert (page.figure == "table") == bool(page.cells)
        texts = [word.text for word in page.words]
        words = [text for text in texts if text not in DIGITS]
        assert len(words) == len(set(words)) and set(words) <= set(ALL_WORDS)


def test_words_stay_on_the_page_and_in_rows_of_their_own():
    for page in PAGES:
        for word in page.words:
            assert word.x >= 0 and word.x + word.width <= min(word.right, 112) + 1e-9
            row = word.baseline // 28
            assert (
                row * 28 < word.baseline - 0.75 * word.size
                and word.baseline + 0.25 * word.size < row * 28 + 29
            )
        for one, other in combinations(page.words, 2):
            apart = one.x + one.width < other.x or other.x + other.width < one.x
            assert apart or one.baseline // 28 != other.baseline // 28


def test_what_is_to_be_read_is_large():
    assert min(word.size for page in PAGES for word in page.words) > 10


def test_the_pdf_holds_all_words_as_text(tmp_path):
    write_pages(PAGES[:20], tmp_path / "pages.pdf")
    document = pypdfium2.PdfDocument(tmp_path / "pages.pdf")
    for page, written in zip(PAGES[:20], document, strict=True):
        text = written.get_textpage().get_text_range().split()
        assert {word.text for word in page.words} <= set(text)


def test_captions_say_heading_and_table():
    for page in PAGES:
        caption = full_caption(page)
        assert caption.startswith(f"a page titled {page.title_text} with ")
        assert f"{page.colour} {page.figure}" in caption
        if page.heading is not None:
            assert f"the heading {page.heading.text} and" in caption
        for word, number in page.cells:
            assert f"{word.text} {number.text}" in caption


@pytest.mark.parametrize("font", FONTS)
def test_letters_of_every_font_are_all_different(font):
    """None is missing from the cut-down file: a missing one would look like any other missing one."""
    from PIL import ImageFont

    drawn = ImageFont.truetype(FONTS[font], 40)
    masks = {bytes(drawn.getmask(chr(code))) for code in range(33, 127)}
    assert len(masks) == 94


def test_the_table_is_inked_in_its_colour():
    for page in [page for page in PAGES if page.cells][:10]:
        pixels = render_pages([page])[0].astype(int)
        inked = (np.abs(pixels[84:] - COLOURS[page.colour]).max(axis=2) < 12).any(axis=1)
        assert inked[: 28 * len(page.cells) - 4].all()
