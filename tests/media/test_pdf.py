from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from media_making import encrypted_pdf_bytes, image_bytes, pdf_bytes, pdf_of_pages, random_picture

from vlm2vec.errors import InputError, LimitError, MediaError
from vlm2vec.media.limits import Limits
from vlm2vec.media.pdf import page_count, page_size_in_pixels, parse_pages, render_page
from vlm2vec.media.pixels import PixelRules
from vlm2vec.media.resize import target_size
from vlm2vec.media.source import Source

RULES = PixelRules()
RED_LEFT_HALF = "1 0 0 rg 0 0 100 100 re f"
WIDE = "/MediaBox [0 0 200 100]"


def source(*pages, **options):
    return Source.from_bytes(pdf_of_pages(pages, **options))


def average(image):
    return [round(float(v)) for v in image.reshape(-1, 3).mean(axis=0)]


@pytest.mark.parametrize(
    ("turn", "size"), [(0, (100, 200)), (90, (200, 100)), (180, (100, 200)), (270, (200, 100))]
)
def test_pages_are_turned_as_they_are_shown(turn, size):
    given = source(f"{WIDE} /Rotate {turn}", contents=RED_LEFT_HALF)
    image = render_page(given, 1, RULES)
    assert page_size_in_pixels(given, 1, RULES) == image.shape[:2]
    assert (image.shape[0] > image.shape[1]) == (size[0] > size[1])
    h, w = image.shape[:2]
    red = {0: image[:, : w // 2], 90: image[: h // 2], 180: image[:, w // 2 :], 270: image[h // 2 :]}[turn]
    assert average(red)[0] == 255
    assert average(red)[1] < 5


def test_a_page_is_drawn_at_the_size_that_the_model_sees():
    given = Source.from_bytes(pdf_bytes((612, 792), (2000, 100)))
    for page, natural in ((1, (2200, 1700)), (2, (278, 5556))):
        for max_pixels in (None, 784 * 64):
            expected = target_size(*natural, RULES, max_pixels=max_pixels)
            image = render_page(given, page, RULES, max_pixels=max_pixels)
            assert image.shape == (*expected, 3)
            assert page_size_in_pixels(given, page, RULES, max_pixels=max_pixels) == expected
            assert image.dtype == np.uint8
            assert image.flags.c_contiguous


def test_colours_are_rgb_on_white():
    image = render_page(source(WIDE, contents=RED_LEFT_HALF), 1, RULES)
    assert image[5, 5].tolist() == [255, 0, 0]
    assert image[5, -5].tolist() == [255, 255, 255]


APPEARANCE = (
    "<< /Type /XObject /Subtype /Form /BBox [0 0 50 50] /Length 26 >> stream\n"
    "0 0 1 rg 0 0 50 50 re f  \nendstream"
)
ANNOTATION = "<< /Type /Annot /Subtype {kind} /Rect [0 0 50 50] /F 4 /AP << /N 3 0 R >> {more} >>"


@pytest.mark.parametrize(
    ("kind", "more", "catalogue"),
    [("/Square", "", ""), ("/Widget", "/FT /Tx /T (a)", "/AcroForm << /Fields [4 0 R] >>")],
)
def test_annotations_and_form_fields_are_drawn(kind, more, catalogue):
    given = source(
        f"{WIDE} /Annots [4 0 R]",
        extra=[APPEARANCE, ANNOTATION.format(kind=kind, more=more)],
        trailer=f"|{catalogue}",
    )
    image = render_page(given, 1, RULES)
    assert image[-20, 20, 2] > 200
    assert image[-20, 20, 0] < 200  # a form field is highlighted, so not exactly blue
    assert image[20, -20].tolist() == [255, 255, 255]


@pytest.mark.parametrize("page", [0, 3, -1])
def test_a_page_that_is_not_there_is_an_error_that_counts_them(page):
    for action in (render_page, page_size_in_pixels):
        with pytest.raises(InputError, match=f"no page {page}: the document has 2 pages"):
            action(Source.from_bytes(pdf_bytes((9, 9), (9, 9))), page, RULES)


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        (5, [5]),
        ("5", [5]),
        ([1, 2], [1, 2]),
        ((3, 1), [3, 1]),
        (range(2, 5), [2, 3, 4]),
        ("1-3,7", [1, 2, 3, 7]),
        (" 9 - 10 , 1", [9, 10, 1]),
        ("8-", [8, 9, 10]),
        (np.int64(4), [4]),
        ([np.int64(4)], [4]),
    ],
)
def test_page_selections(pages, expected):
    assert parse_pages(pages, 10) == expected


@pytest.mark.parametrize(
    ("pages", "words"),
    [
        (0, "no page 0: the document has 10 pages"),
        (11, "no page 11"),
        (-1, "no page -1"),
        ("0", "no page 0"),
        ("5-11", "no page 11"),
        ("1-999999999", "no page 999999999"),
        ("3-1", "backwards"),
        ("", "no selection"),
        ("a", "no selection"),
        ("1,,2", "no selection"),
        ("-3", "no selection"),
        ("1.5", "no selection"),
        ([], "no page is chosen"),
        (range(0), "no page is chosen"),
        (1.0, "no whole number"),
        (True, "no whole number"),
        ([1, "2"], "no whole number"),
        ([None], "no whole number"),
    ],
)
def test_bad_page_selections_are_errors(pages, words):
    with pytest.raises(InputError, match=words):
        parse_pages(pages, 10)


def test_one_page_is_counted_in_the_singular():
    with pytest.raises(InputError, match=r"has 1 page\."):
        parse_pages(2, 1)


def test_a_text_names_no_more_pages_than_memory_is_there_for():
    with pytest.raises(InputError, match=r"the pages '1-2000,1-2000.* are more than 100,000"):
        parse_pages("1-2000," * 10**6 + "1", 2000)


def test_an_encrypted_file_opens_with_its_password():
    given = Source.from_bytes(encrypted_pdf_bytes("secret"))
    assert page_count(given, password="secret") == 1
    assert render_page(given, 1, RULES, password="secret").min() == 255
    with pytest.raises(MediaError, match=r"the PDF is encrypted\. Pass its password"):
        page_count(given)
    with pytest.raises(MediaError, match="password is wrong") as caught:
        render_page(given, 1, RULES, password="sesame")
    assert "sesame" not in str(caught.value)


def test_a_password_that_is_not_needed_does_not_matter():
    assert page_count(Source.from_bytes(pdf_bytes((10, 10))), password="x") == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"%PDF-1.7\n", "cannot be opened"),
        (pdf_bytes((100, 100))[:60], "cannot be opened"),
        (pdf_of_pages([]), "no pages"),
        (b"<html>", "web page"),
        (image_bytes(random_picture()), "PNG"),
        (b"hello", "unknown format"),
    ],
)
def test_what_is_no_pdf_is_an_error(data, words):
    with pytest.raises(MediaError, match=words):
        page_count(Source.from_bytes(data))


def test_a_truncated_cross_reference_is_repaired():
    data = pdf_bytes((100, 50))
    assert page_count(Source.from_bytes(data[: data.index(b"startxref")])) == 1


def test_a_folder_is_no_pdf(tmp_path):
    with pytest.raises(MediaError, match="folder"):
        page_count(Source.from_path(tmp_path))


@pytest.mark.parametrize("box", ["[0 0 0.1 100]", "[0 0 100 0.1]"])
def test_a_page_without_area_is_an_error(box):
    with pytest.raises(MediaError, match=r"page 1 is .* points"):
        render_page(source(f"/MediaBox {box}"), 1, RULES)


def test_a_strip_is_refused_by_the_rules():
    with pytest.raises(InputError, match="ratio above 200"):
        render_page(Source.from_bytes(pdf_bytes((5000, 10))), 1, RULES)


def test_too_many_pages_are_refused():
    given = Source.from_bytes(pdf_bytes(*[(10, 10)] * 5))
    assert page_count(given) == 5
    with pytest.raises(LimitError, match="5 pages, more than 4"):
        page_count(given, limits=Limits(max_pdf_pages=4))


def test_a_circular_outline_does_not_matter():
    outline = [
        "<< /Type /Outlines /First 4 0 R /Last 4 0 R /Count 1 >>",
        "<< /Title (a) /Parent 3 0 R /Next 4 0 R /First 4 0 R /Last 4 0 R >>",
    ]
    given = source(WIDE, extra=outline, trailer="|/Outlines 3 0 R")
    assert render_page(given, 1, RULES).min() == 255


def test_many_threads_draw_what_one_draws():
    documents = [
        source(*[WIDE] * 3, contents=f"{i / 8} 0.5 0 rg {10 * i} 10 40 40 re f BT ET") for i in range(8)
    ]
    jobs = [(given, page) for given in documents for page in (1, 2, 3)] * 2
    expected = [render_page(given, page, RULES) for given, page in jobs]
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(lambda job: render_page(*job, RULES), jobs))
    assert all(np.array_equal(a, b) for a, b in zip(images, expected, strict=True))
    assert not np.array_equal(images[0], images[3])


def test_an_error_in_one_thread_does_not_lock_the_others_out():
    with pytest.raises(MediaError):
        page_count(Source.from_bytes(b"%PDF-1.7\n"))
    with pytest.raises(InputError):
        render_page(Source.from_bytes(pdf_bytes((10, 10))), 2, RULES)
    assert page_count(Source.from_bytes(pdf_bytes((10, 10)))) == 1
