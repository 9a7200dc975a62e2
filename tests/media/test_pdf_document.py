import subprocess
import sys
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from media_making import pdf_of_pages
from pdf_making import SHAPES, jpx_page, page_file, pages_file

from vlm2vec.errors import LimitError, MediaError, VLM2VecWarning
from vlm2vec.media.limits import Limits
from vlm2vec.media.pdf import page_count, page_size_in_pixels, render_page
from vlm2vec.media.pixels import PixelRules
from vlm2vec.media.source import Source

RULES = PixelRules()
PLAIN = page_file(SHAPES)


def draw(data: bytes, page: int = 1, **options) -> np.ndarray:
    return render_page(Source.from_bytes(data), page, RULES, **options)


@pytest.fixture(scope="module")
def right():
    return draw(PLAIN)


@pytest.mark.parametrize("count", ["1", "2", "3", "7", "99999", "0", "-3", "(x)", ""])
def test_the_pages_that_there_are_count_whatever_the_tree_says(count, tmp_path):
    path = tmp_path / "pages.pdf"
    path.write_bytes(pages_file(count))
    for source in (Source.from_bytes(pages_file(count)), Source.from_path(path)):
        more = count in ("7", "99999")  # which is told of, for they may have been lost
        with pytest.warns(VLM2VecWarning, match="pages, and 3 are there") if more else nullcontext():
            assert page_count(source) == 3
            assert [render_page(source, page, RULES)[0, 0, 0] for page in (1, 2, 3)] == [0, 255, 0]
            assert page_size_in_pixels(source, 3, RULES) == (280, 560)


def test_a_page_that_an_update_left_behind_is_not_counted():
    old = pages_file("3")
    new = old + b"2 0 obj\n<</Type/Pages/Kids[10 0 R]/Count 1>>\nendobj\n"
    table = b"xref\n2 1\n%010d 00000 n \n" % len(old)
    new += table + b"trailer\n<</Size 23/Root 1 0 R/Prev %d>>\nstartxref\n%d\n%%%%EOF\n" % (
        old.index(b"xref\n"),
        len(new),
    )
    assert page_count(Source.from_bytes(new)) == 1


def test_too_many_pages_are_still_refused():
    with pytest.raises(LimitError, match="3 pages, more than 2"):
        page_count(Source.from_bytes(pages_file("1")), limits=Limits(max_pdf_pages=2))


@pytest.mark.parametrize("crop", ["[300 300 500 500]", "[200 0 300 100]", "[0 0 0 0]", "[-90 -90 -10 -10]"])
def test_a_crop_box_beside_the_media_box_does_not_count(crop, right):
    data = page_file(SHAPES, page=f"/CropBox{crop}")
    assert np.array_equal(draw(data), right)
    assert page_size_in_pixels(Source.from_bytes(data), 1, RULES) == right.shape[:2]


@pytest.mark.parametrize("unit", ["5", "5.0", "2.5"])
def test_a_page_is_as_large_as_its_unit_says(unit):
    small = page_file(b"0.2 0 0 0.2 0 0 cm " + SHAPES, box="[0 0 40 20]", page=f"/UserUnit {unit}")
    points = 40 * float(unit)
    expected = page_size_in_pixels(
        Source.from_bytes(page_file(SHAPES, box=f"[0 0 {points} {points / 2}]")), 1, RULES
    )
    assert draw(small).shape[:2] == expected
    assert page_size_in_pixels(Source.from_bytes(small), 1, RULES) == expected


@pytest.mark.parametrize(
    "junk",
    [
        b"X",
        b"X" * 1000,
        b"X" * 1500,
        b"\r\n\r\n",
        b"\xef\xbb\xbf",
        b"\x1b%-12345X@PJL ENTER LANGUAGE=PDF\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/pdf\r\n\r\n",
        b"<html><head></head>\n",
    ],
)
def test_what_stands_before_the_header_does_not_matter(junk, right):
    assert np.array_equal(draw(junk + PLAIN), right)
    assert page_count(Source.from_bytes(junk + PLAIN)) == 1


CUT = {
    "cut after its objects": PLAIN[: PLAIN.index(b"xref\n")],
    "cut within the table": PLAIN[: PLAIN.index(b"xref\n") + 20],
    "no root": PLAIN.replace(b"/Root 1 0 R", b""),
    "a root that is not there": PLAIN.replace(b"/Root 1 0 R", b"/Root 9 0 R"),
    "no catalogue": PLAIN[PLAIN.index(b"2 0 obj") : PLAIN.index(b"xref\n")].join([b"%PDF-1.7\n", b""]),
}


@pytest.mark.parametrize("name", CUT)
def test_a_file_without_its_root_is_mended_with_a_warning(name, right):
    with pytest.warns(VLM2VecWarning, match="damaged or cut off"):
        picture = draw(CUT[name])
    assert np.array_equal(picture, right)


def test_a_page_that_a_cut_took_away_is_an_error_not_a_blank_picture():
    whole = pages_file("3").replace(b"0 0 0 rg 0 0 200 100 re f", b"0 0 0 rg 0 0 100 100 re f")
    cut = whole[: whole.index(b"21 0 obj")]
    with pytest.warns(VLM2VecWarning, match="damaged or cut off"):
        assert np.array_equal(draw(cut, 1), draw(whole, 1))
    with pytest.raises(MediaError, match="page 2 was lost"):
        draw(cut, 2)
    with pytest.raises(MediaError, match="cannot be opened"):
        draw(PLAIN[: PLAIN.index(b"4 0 obj")])


@pytest.mark.parametrize(
    "data",
    [
        PLAIN.replace(b"00000 n", b"00001 n"),
        PLAIN.replace(b"startxref\n", b"startxref\n9"),
        PLAIN.replace(b"\n", b"\r\n"),
        PLAIN.replace(b"endobj\n", b""),
        PLAIN.replace(b"/Length %d" % len(SHAPES), b"/Length 7"),
        PLAIN.replace(b"/Type/Pages", b""),
        PLAIN + PLAIN,
    ],
    ids=["generations", "start", "line ends", "ends of objects", "length", "type", "twice"],
)
@pytest.mark.filterwarnings("error")
def test_what_pdfium_mends_itself_is_drawn(data, right):
    assert np.array_equal(draw(data), right)


@pytest.mark.parametrize("size", [(2384, 3370), (2592, 3456), (3370, 4768), (14400, 14400), (28346, 28346)])
def test_posters_are_drawn_at_the_budget(size):
    width, height = size
    data = page_file(b"1 0 0 rg 0 0 %d %d re f" % size, box=f"[0 0 {width} {height}]")
    picture = draw(data)
    assert abs(picture.shape[0] / picture.shape[1] - height / width) < 0.05
    assert picture.shape[0] * picture.shape[1] <= RULES.max_pixels
    assert picture.reshape(-1, 3).max(axis=0).tolist() == [255, 0, 0]


def test_a_page_drawn_beyond_the_limit_is_refused():
    for action in (render_page, page_size_in_pixels):
        with pytest.raises(LimitError, match="page 1 is drawn at 560 x 280 pixels, more than 9,999"):
            action(Source.from_bytes(PLAIN), 1, RULES, limits=Limits(max_image_pixels=9_999))


@pytest.mark.parametrize("box", ["[0 0 9999999 100000]", "[0 0 0.1 0.1]"])
def test_a_page_of_no_possible_size_is_an_error(box):
    with pytest.raises(MediaError, match="page 1 is"):
        draw(page_file(SHAPES, box=box))


BROKEN = {
    "no pages": pdf_of_pages([]),
    "header alone": b"%PDF-1.7\n",
    "half": PLAIN[:60],
    "no tree": page_file(SHAPES).replace(b"/Pages 2 0 R", b""),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_failed_opening_says_why_and_never_success(name):
    with pytest.raises(MediaError) as caught:
        page_count(Source.from_bytes(BROKEN[name]))
    assert "Success" not in str(caught.value)
    assert caught.value.fix


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted in /proc")
@pytest.mark.parametrize("name", [*BROKEN, "whole", "no such page"])
def test_no_opening_leaves_a_descriptor_behind(name, tmp_path):
    path = tmp_path / "a.pdf"
    path.write_bytes(BROKEN.get(name, PLAIN))
    page = 5 if name == "no such page" else 1

    def attempt() -> None:
        with warnings.catch_warnings(action="ignore"):
            try:
                render_page(Source.from_path(path), page, RULES)
            except ValueError:
                assert name != "whole"

    attempt()
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    for _ in range(20):
        attempt()
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before


def test_pdfium_and_its_wrapper_write_nothing(tmp_path):
    """Forms of a kind that is not read, broken files, and documents that are open at the end."""
    files = {
        **BROKEN,
        "xfa": page_file(SHAPES, catalogue="/AcroForm<</Fields[]/XFA 5 0 R>>", extra={5: "(x)"}),
        "whole": PLAIN,
    }
    for name, data in files.items():
        (tmp_path / f"{name}.pdf").write_bytes(data)
    code = (
        "import sys, contextlib; from pathlib import Path; from vlm2vec.media.pdf import render_page\n"
        "from vlm2vec.media.pixels import PixelRules; from vlm2vec.media.source import Source\n"
        "for path in Path(sys.argv[1]).iterdir():\n"
        "    with contextlib.suppress(ValueError): render_page(Source.from_path(path), 1, PixelRules())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_a_file_of_very_many_objects_without_a_page_is_an_error():
    data = b"%PDF-1.7\n" + b"1 0 obj " * 100_000 + b"\nendstream"
    with pytest.raises(MediaError):
        page_count(Source.from_bytes(data))


def test_a_unit_of_nothing_is_none():
    assert page_size_in_pixels(Source.from_bytes(page_file(SHAPES, page="/UserUnit 0")), 1, RULES) == (
        280,
        560,
    )


FORK = """
import os, signal, sys, threading
from vlm2vec.media.pdf import render_page
from vlm2vec.media.pixels import PixelRules
from vlm2vec.media.source import Source
source = Source.from_bytes(sys.stdin.buffer.read())
def draw():
    render_page(source, 1, PixelRules())
done = threading.Event()
def draw_on():
    while not done.is_set():
        draw()
thread = threading.Thread(target=draw_on)
thread.start()
for _ in range(5):
    child = os.fork()
    if not child:
        signal.alarm(20)
        draw()
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        done.set()
        sys.exit("the child was stopped")
done.set()
thread.join()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not fork by default")
def test_a_child_draws_that_was_forked_while_its_parent_was_drawing():
    command = [sys.executable, "-W", "ignore", "-c", FORK]
    subprocess.run(command, input=jpx_page(levels=6), check=True, timeout=120)
