"""What a typeset page shows, and where."""

from __future__ import annotations

from dataclasses import dataclass

from vlm2vec.world.page_words import PlacedWord

__all__ = ["FIGURE_BOX", "PAGE_SIZE", "Page"]

PAGE_SIZE = (112, 168)
"""Width and height of a page at the embedded model's size, in pixels; the unit of all lengths here."""

FIGURE_BOX = (0, 84, 112, 168)
"""Left, top, right and bottom of the part of a page that its chart or table is drawn in."""


@dataclass(frozen=True)
class Page:
    """What a page shows.

    Attributes:
        title: Its two words, top to bottom.
        font: One of `FONTS`.
        figure: One of `FIGURES`.
        colour: Colour of the figure, one of `COLOURS`.
        values: Sizes of bars, slices and points, each between 0.2 and 1.
        filler: Lines too small to read, between title and figure.
        heading: A word between title and figure.
        cells: A word and a number for each row of a table that can be read.
    """

    title: tuple[PlacedWord, PlacedWord]
    font: str
    figure: str
    colour: str
    values: tuple[float, ...]
    filler: tuple[str, ...]
    heading: PlacedWord | None = None
    cells: tuple[tuple[PlacedWord, PlacedWord], ...] = ()

    @property
    def title_text(self) -> str:
        """The title on one line."""
        return " ".join(word.text for word in self.title)

    @property
    def table_text(self) -> str:
        """What the table says, such as `apple 3 and cloud 7`."""
        rows = [f"{word.text} {number.text}" for word, number in self.cells]
        return " and ".join([", ".join(rows[:-1]), rows[-1]] if len(rows) > 1 else rows)

    @property
    def words(self) -> tuple[PlacedWord, ...]:
        """All that can be read, from top to bottom."""
        heading = () if self.heading is None else (self.heading,)
        return (*self.title, *heading, *(word for row in self.cells for word in row))
