"""Ranked results as one HTML file: thumbnails inside, nothing fetched, light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from vlm2vec.html import data_uri, write_page

__all__ = ["Hit", "Ranking", "write_gallery"]

THUMBNAIL_PIXELS = 360  # longer side: a card is some 12 rem wide, on screens of twice the density


@dataclass(frozen=True)
class Hit:
    """One ranked file, or page of a file.

    Attributes:
        rank: 1 is the best.
        score: Similarity to the query, at most 1.
        name: What the file is called.
        kind: What to call it in a word or two: "image", "clip", "page 3".
        frames: Its picture; several are shown as an animation, none as `excerpt`.
        excerpt: Text to show where there is no picture.
        link: Where the file is, seen from the gallery.
        right: Whether this is known to be the right answer.
    """

    rank: int
    score: float
    name: str
    kind: str
    frames: Sequence[Image.Image] = ()
    excerpt: str = ""
    link: str = ""
    right: bool = False

    @property
    def pictures(self) -> list[str]:
        """Its thumbnail, and of an animation one that stands still."""
        small = [frame.convert("RGB") for frame in self.frames]
        for frame in small:
            frame.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
        return [data_uri(frames) for frames in (small, small[:1])[: len(small)]]


@dataclass(frozen=True)
class Ranking:
    """A query and what was found for it, best first."""

    query: str
    hits: Sequence[Hit]
    note: str = ""


def write_gallery(
    path: Path, rankings: Iterable[Ranking], *, title: str, note: str = "", footer: str = ""
) -> Path:
    """Write ranked results as one HTML file that needs nothing else.

    Args:
        path: The file to write; one that exists is replaced.
        rankings: One section each, in order.
        title: Heading of the page.
        note: A sentence below the heading.
        footer: A sentence at the end.

    Returns:
        `path`.

    Example:
        >>> import tempfile
        >>> hit = Hit(1, 0.83, "sky.png", "image", frames=[Image.new("RGB", (32, 24), "skyblue")])
        >>> path = Path(tempfile.mkdtemp()) / "found.html"
        >>> page = write_gallery(path, [Ranking("blue", [hit])], title="Found")
        >>> "sky.png" in page.read_text(encoding="utf-8")
        True
    """
    write_page(path, "gallery.html", title=title, note=note, rankings=rankings, footer=footer)
    return path
