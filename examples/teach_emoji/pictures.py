"""A picture of what a model finds: hits and confusions, a line for each name asked for."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import PIL.Image
from PIL import ImageDraw, ImageFont

from teach_emoji.drawings import SIDE, Concept
from teach_emoji.rows import plain_rows
from vlm2vec import VLM2Vec

__all__ = ["contact_sheet"]

_FOUND, _GAP, _NAME = 5, 12, 250
_RIGHT, _TEXT = "#0a8f3c", "#222222"


def contact_sheet(
    model: VLM2Vec, concepts: Sequence[Concept], vendor: str, lines: int = 8
) -> PIL.Image.Image:
    """The first five drawings for some names: on the left those that found theirs, on the right others.

    A frame marks the right drawing; where it is not among the five it stands after them, with its rank.
    """
    rows = plain_rows(concepts, vendor)
    drawings = [row["document"] for row in rows]
    queries = model.encode_query([row["query"] for row in rows])
    found = np.argsort(-(queries @ model.encode_document(drawings).T), axis=1)  # (names, drawings)
    ranks = (found == np.arange(len(rows))[:, None]).argmax(axis=1)
    rng = np.random.default_rng(0)
    halves = [rng.permutation(np.flatnonzero(chosen))[:lines] for chosen in (ranks == 0, ranks > 0)]
    width = _NAME + (_FOUND + 1) * (SIDE + _GAP) + 6 * _GAP
    sheet = PIL.Image.new("RGB", (2 * width, lines * (SIDE + _GAP) + _GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(20)
    for half, numbers in enumerate(halves):
        for line, number in enumerate(numbers):
            left, top = half * width + _GAP, line * (SIDE + _GAP) + _GAP
            name = "\n".join(textwrap.wrap(concepts[number].name, 22)[:3])
            pen.multiline_text((left, top + 10), name, _TEXT, font)
            for place, other in enumerate(found[number, :_FOUND]):
                at = left + _NAME + place * (SIDE + _GAP)
                _show(sheet, drawings[other], at, top, right=other == number)
            if ranks[number] >= _FOUND:
                at = left + _NAME + _FOUND * (SIDE + _GAP) + 2 * _GAP
                _show(sheet, drawings[number], at, top, right=True)
                pen.text((at + SIDE + 5, top + SIDE // 3), str(ranks[number] + 1), _RIGHT, font)
    return sheet


def _show(sheet: PIL.Image.Image, drawing: PIL.Image.Image, left: int, top: int, *, right: bool) -> None:
    sheet.paste(drawing, (left, top))
    if right:
        box = (left - 3, top - 3, left + SIDE + 2, top + SIDE + 2)
        ImageDraw.Draw(sheet).rectangle(box, outline=_RIGHT, width=3)
