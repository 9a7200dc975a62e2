"""A ranked result as one HTML file: thumbnails inside, nothing fetched, light and dark."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

from PIL import Image

__all__ = ["Hit", "Ranking", "write_gallery"]

THUMBNAIL_PIXELS = 360  # longer side: a card is some 12 rem wide, on screens of twice the density
FRAME_MILLISECONDS = 220
# The browser itself refuses anything that is not in the file.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


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
    style = files("vlm2vec").joinpath("gallery.css").read_text(encoding="utf-8")
    sections = "\n".join(_section(ranking) for ranking in rankings)
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p>{escape(note)}</p>
</header>
<main>
{sections}
</main>
<footer>{escape(footer)}</footer>
</body>
</html>
"""
    path.write_text(page, encoding="utf-8", errors="replace")
    return path


def _section(ranking: Ranking) -> str:
    cards = "\n".join(_card(hit) for hit in ranking.hits)
    note = f"\n<p>{escape(ranking.note)}</p>" if ranking.note else ""
    return f'<section>\n<h2 dir="auto">{escape(ranking.query)}</h2>{note}\n<ol>\n{cards}\n</ol>\n</section>'


def _card(hit: Hit) -> str:
    picture = _picture(hit) if hit.frames else f'<p class="excerpt" dir="auto">{escape(hit.excerpt)}</p>'
    answer = '<span class="answer">right answer</span>' if hit.right else ""
    link = f' href="{escape(hit.link)}"' if hit.link else ""
    bar = f'<span class="bar"><i style="width:{100 * min(1.0, max(0.0, hit.score)):.0f}%"></i></span>'
    return (
        f"<li{' class=right' if hit.right else ''}><a{link}>"
        f'<div class="top"><span class="rank">{hit.rank}</span>'
        f'<span class="kind">{escape(hit.kind)}</span></div>'
        f'<div class="stage">{picture}</div>'
        f'<div class="label"><span class="name">{escape(hit.name)}</span>'
        f'<span class="score">{hit.score:.3f}{bar}</span>'
        f"{answer}</div></a></li>"
    )


def _picture(hit: Hit) -> str:
    image = f'<img alt="{escape(hit.name)}" src="{_data_uri(hit.frames)}">'
    if len(hit.frames) == 1:
        return image
    still = _data_uri(hit.frames[:1])
    return f'<picture><source media="(prefers-reduced-motion: reduce)" srcset="{still}">{image}</picture>'


def _data_uri(frames: Sequence[Image.Image]) -> str:
    first, *rest = [_thumbnail(frame) for frame in frames]
    encoded = io.BytesIO()
    # With nothing to append, save_all writes an ordinary still.
    first.save(encoded, "WEBP", save_all=True, append_images=rest, duration=FRAME_MILLISECONDS, quality=80)
    return "data:image/webp;base64," + base64.b64encode(encoded.getvalue()).decode("ascii")


def _thumbnail(frame: Image.Image) -> Image.Image:
    small = frame.convert("RGB")
    small.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    return small
