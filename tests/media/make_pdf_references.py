"""Writes `tests/data/pdf_readers.npz`: the PDFs of `pdf_making.features`, drawn by MuPDF.

Run `python tests/media/make_pdf_references.py` after `pip install pymupdf`; the tests need neither.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pdf_making import features

REFERENCES = Path(__file__).parents[1] / "data" / "pdf_readers.npz"
CELLS = 14  # a page is drawn at multiples of 28 pixels


def cells(picture: np.ndarray) -> np.ndarray:
    """Mean levels of 14 x 14 cells of a picture of shape (H, W, 3), uint8."""
    rows = [part.mean(axis=0) for part in np.array_split(picture.astype(np.float64), CELLS, axis=0)]
    means = [part.mean(axis=1) for part in np.array_split(np.stack(rows), CELLS, axis=1)]
    return np.stack(means, axis=1).round().astype(np.uint8)


def drawn(data: bytes) -> np.ndarray:
    """The first page by MuPDF, 1,120 pixels on its longer side."""
    import pymupdf  # which the tests do not need

    with pymupdf.open(stream=data, filetype="pdf") as document:
        scale = 1120 / max(document[0].rect.width, document[0].rect.height)
        picture = document[0].get_pixmap(matrix=pymupdf.Matrix(scale, scale), alpha=False, annots=True)
        levels = np.frombuffer(picture.samples, np.uint8).reshape(picture.h, picture.w, 3)
        return cells(levels)


if __name__ == "__main__":
    np.savez_compressed(REFERENCES, **{name: drawn(data) for name, data in features().items()})
