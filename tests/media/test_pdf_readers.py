"""Pages against another reader: MuPDF's drawings (`make_pdf_references.py`), as means of 14 x 14 cells."""

from pathlib import Path

import numpy as np
import pytest
from pdf_making import features

from vlm2vec.media.pdf import render_page
from vlm2vec.media.pixels import PixelRules
from vlm2vec.media.source import Source

REFERENCES = np.load(Path(__file__).parents[1] / "data" / "pdf_readers.npz")
FEATURES = features()
# Levels of 255. Readers smooth edges in their own ways, and bring their own faces for the standard fonts.
MEAN, GREATEST = 2, 40


def cells(picture: np.ndarray) -> np.ndarray:
    side = REFERENCES["box: plain"].shape[0]
    height, width = (length // side for length in picture.shape[:2])
    return picture.reshape(side, height, side, width, 3).mean(axis=(1, 3))


def test_every_feature_has_a_reference():
    assert set(REFERENCES.files) == set(FEATURES)
    assert len(FEATURES) > 80


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.filterwarnings("error")
def test_a_page_looks_as_another_reader_shows_it(name):
    picture = render_page(Source.from_bytes(FEATURES[name]), 1, PixelRules())
    difference = np.abs(cells(picture) - REFERENCES[name])
    assert difference.mean() < MEAN
    assert difference.max() < GREATEST
