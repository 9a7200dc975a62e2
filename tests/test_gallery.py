"""The gallery: one file, nothing fetched, everything escaped."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from vlm2vec.gallery import THUMBNAIL_PIXELS, Hit, Ranking, write_gallery

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>&amp;'"


def page_of(tmp_path: Path, *rankings: Ranking, **texts: str) -> str:
    return write_gallery(tmp_path / "g.html", rankings, **{"title": "t", **texts}).read_text(encoding="utf-8")


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def red(*size: int) -> Image.Image:
    return Image.new("RGB", size, "red")


def pictures(page: str) -> list[Image.Image]:
    found = re.findall(r'(?:src|srcset)="data:image/webp;base64,([^"]+)"', page)
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in found]


def test_everything_from_outside_is_escaped(tmp_path: Path) -> None:
    hit = Hit(1, 0.5, HOSTILE, HOSTILE, frames=[red(8, 8)], link=HOSTILE)
    text = Hit(2, 0.4, "t", "text", excerpt=HOSTILE)
    ranking = Ranking(HOSTILE, [hit, text], note=HOSTILE)
    page = page_of(tmp_path, ranking, title=HOSTILE, note=HOSTILE, footer=HOSTILE)
    parsed = Tags(page)
    assert "script" not in {tag for tag, _ in parsed.tags}
    assert all(not name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    # The title twice, note, footer; the query and its note; name, kind and excerpt.
    assert parsed.texts.count(HOSTILE) == 9
    assert ("a", {"href": HOSTILE}) in parsed.tags


def test_nothing_is_fetched(tmp_path: Path) -> None:
    page = page_of(tmp_path, Ranking("q", [Hit(1, 0.5, "a", "image", frames=[red(8, 8)], link="a.png")]))
    parsed = Tags(page)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in parsed.tags}
    sources = [value for _, attributes in parsed.tags for name, value in attributes.items() if "src" in name]
    assert sources
    assert all(value is not None and value.startswith("data:image/webp;base64,") for value in sources)
    assert not re.search(r"url\(|@import|https?:", page)
    policy = next(a["content"] for tag, a in parsed.tags if tag == "meta" and "http-equiv" in a)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_a_clip_moves_and_stands_still_for_those_who_ask_for_that(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "lime", "blue")]
    page = page_of(tmp_path, Ranking("q", [Hit(1, 0.5, "clip", "video", frames=frames)]))
    still, moving = pictures(page)
    assert (still.n_frames, moving.n_frames) == (1, 3)
    assert re.search(r'<source media="\(prefers-reduced-motion: reduce\)"', page)
    moving.seek(2)
    assert moving.convert("RGB").getpixel((32, 32)) == pytest.approx((0, 0, 255), abs=12)


@pytest.mark.parametrize("size", [(2000, 1000), (30, 4000), (10, 10)])
def test_thumbnails_keep_their_shape_and_are_small(size: tuple[int, int], tmp_path: Path) -> None:
    page = page_of(tmp_path, Ranking("q", [Hit(1, 0.5, "a", "image", frames=[red(*size)])]))
    (thumbnail,) = pictures(page)
    assert max(thumbnail.size) == min(max(size), THUMBNAIL_PIXELS)
    assert thumbnail.width / thumbnail.height == pytest.approx(size[0] / size[1], rel=0.35)


def test_the_right_answer_is_marked_and_no_other(tmp_path: Path) -> None:
    hits = [Hit(1, 0.5, "a", "image"), Hit(2, 0.4, "b", "image", right=True), Hit(3, 0.3, "c", "image")]
    page = page_of(tmp_path, Ranking("q", hits))
    classes = [attributes.get("class") for tag, attributes in Tags(page).tags if tag == "li"]
    assert classes == [None, "right", None]
    assert page.count("right answer") == 1


@pytest.mark.parametrize(("score", "width"), [(-0.3, "0%"), (0.254, "25%"), (1.0000001, "100%")])
def test_the_bar_stays_inside_the_card(score: float, width: str, tmp_path: Path) -> None:
    page = page_of(tmp_path, Ranking("q", [Hit(1, score, "a", "image")]))
    assert f'style="width:{width}"' in page
    assert f"{score:.3f}" in page


def test_words_in_other_scripts_survive(tmp_path: Path) -> None:
    page = page_of(tmp_path, Ranking("красный круг", [Hit(1, 0.5, "写真.png", "image")]), title="شمس")
    for word in ("красный круг", "写真.png", "شمس"):
        assert word in page
