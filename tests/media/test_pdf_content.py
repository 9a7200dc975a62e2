import warnings

import numpy as np
import pytest
from pdf_making import (
    SHAPES,
    cjk_font,
    field_page,
    image_page,
    jpx_page,
    page_file,
    photo,
    simple_font,
    stream,
    text_page,
)

from vlm2vec.errors import VLM2VecWarning
from vlm2vec.media.limits import Limits
from vlm2vec.media.pdf import render_page
from vlm2vec.media.pixels import PixelRules
from vlm2vec.media.source import Source

RULES = PixelRules()
SMALL = PixelRules(max_pixels=112 * 112)


def draw(data: bytes, rules: PixelRules = RULES, **options) -> tuple[np.ndarray, list[str]]:
    """The picture of a page, and what was said about it."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        picture = render_page(Source.from_bytes(data), 1, rules, **options)
    assert all(issubclass(one.category, VLM2VecWarning) for one in said)
    return picture, [str(one.message) for one in said]


@pytest.mark.parametrize("levels", [1, 2, 3, 6])
@pytest.mark.parametrize("max_pixels", [56 * 56, 112 * 112, 448 * 448, 1_003_520])
def test_a_jpeg_2000_scan_of_few_resolutions_is_drawn(levels, max_pixels):
    picture, said = draw(jpx_page(levels=levels), PixelRules(max_pixels=max_pixels))
    assert 90 < picture.mean() < 110
    assert not said


def test_it_is_drawn_the_same_as_one_of_many_resolutions():
    few, many = (draw(jpx_page(levels=levels), SMALL)[0].astype(int) for levels in (1, 6))
    assert np.abs(few - many).mean() < 4


@pytest.mark.parametrize(
    "options",
    [{"page": "/Rotate 90"}, {"matrix": "0 100 -200 0 200 0"}, {"matrix": "40 0 0 20 10 10"}],
)
def test_it_is_drawn_however_it_stands_on_the_page(options):
    picture, said = draw(jpx_page(**options), SMALL)
    assert picture.std() > 10
    assert not said


def test_it_is_drawn_inside_a_form():
    data = jpx_page()
    inner = page_file(
        b"0.5 0 0 0.5 0 0 cm /X Do",
        resources="/XObject<</X 6 0 R>>",
        extra={
            5: data[data.index(b"<</Type/XObject") : data.index(b"\nendobj", data.index(b"<</Type/XObject"))],
            6: stream(
                b"q 400 0 0 200 0 0 cm /I Do Q",
                "/Type/XObject/Subtype/Form/BBox[0 0 400 200]/Resources<</XObject<</I 5 0 R>>>>",
            ),
        },
    )
    picture, said = draw(inner, SMALL)
    assert 90 < picture.mean() < 110
    assert not said


FORM = "/Type/XObject/Subtype/Form/BBox[0 0 200 100]"


def nested(inner: bytes, *, own: str = "", outer: str = "", depth: int = 1, beside: bytes = b"") -> bytes:
    """A page with a form that draws another, and so on; resources of the last, and of the one around it."""
    image = stream(bytes(range(0, 240, 10)), f"{IMAGE}/Width 4/Height 2")
    forms = {
        6 + level: stream(b"/F Do", f"{FORM}/Resources<</XObject<</F {7 + level} 0 R{outer}>>>>")
        for level in range(depth)
    }
    forms[6 + depth] = stream(inner, f"{FORM}{own}")
    return page_file(b"/F Do " + beside, resources="/XObject<</F 6 0 R/I 5 0 R>>", extra={5: image, **forms})


IMAGE = "/Type/XObject/Subtype/Image/ColorSpace/DeviceRGB/BitsPerComponent 8"
IN_FORM = b"q 200 0 0 100 0 0 cm /I Do Q"


@pytest.mark.parametrize(
    ("data", "is_told"),
    [
        (nested(IN_FORM), True),
        (nested(IN_FORM, depth=40), True),
        (nested(IN_FORM, outer="/I 5 0 R"), False),
        (nested(IN_FORM, own="/Resources<<>>"), False),
        (nested(IN_FORM, own="/Resources<</XObject<</I 5 0 R>>>>"), False),
        (nested(SHAPES), False),
        (nested(b"1 1 1 rg 0 0 200 100 re f"), False),
        (nested(b"", beside=SHAPES), False),
    ],
    ids=["of the page", "deep", "around it", "empty", "its own", "shapes", "white", "beside others"],
)
def test_a_page_in_one_colour_with_forms_that_are_empty_is_not_silent(data, is_told):
    """PDFium looks for the names of a form without resources in the form around it, and not in the page."""
    picture, said = draw(data)
    assert (picture.std() == 0) == (is_told or b"1 1 1 rg" in data)
    assert [line.partition("page 1: ")[2] for line in said] == is_told * [
        "it comes out in one colour, and has forms in which PDFium finds nothing to draw"
    ]


def test_a_jpeg_2000_scan_that_may_not_be_drawn_larger_is_named():
    picture, said = draw(jpx_page(), SMALL, limits=Limits(max_image_pixels=112 * 112))
    assert picture.min() == 255
    assert "an image of 1200 x 1200 pixels (JPXDecode) cannot be drawn" in said[0]
    assert said[0].startswith(f"{len(jpx_page()):,} bytes of PDF, page 1: ")


@pytest.mark.parametrize("levels", [1, 6])
@pytest.mark.parametrize("rules", [SMALL, RULES])
@pytest.mark.parametrize(
    "content",
    [
        b"q 100 0 0 50 10 10 cm /I Do Q 0 0.5 0 rg 0 0 120 70 re f",
        b"q 0 0 5 5 re W n q 100 0 0 50 50 40 cm /I Do Q Q",
        b"/C gs q 100 0 0 50 10 10 cm /I Do Q /O gs",
        b"/OC /L BDC q 100 0 0 50 10 10 cm /I Do Q EMC",
    ],
    ids=["covered", "clipped", "clear", "hidden"],
)
def test_a_jpeg_2000_image_that_is_not_to_be_seen_is_not_called_undrawn(content, rules, levels):
    data = jpx_page(levels=levels)
    image = data[data.index(b"<</Type/XObject") : data.index(b"\nendobj", data.index(b"<</Type/XObject"))]
    page = page_file(
        content + RED,
        resources="/XObject<</I 5 0 R>>/ExtGState<</C<</ca 0>>/O<</ca 1>>>>/Properties<</L 7 0 R>>",
        catalogue="/OCProperties<</OCGs[7 0 R]/D<</OFF[7 0 R]>>>>",
        extra={5: image, 7: "<</Type/OCG/Name(a layer)>>"},
    )
    picture, said = draw(page, rules)
    assert picture.std() > 10
    assert said == []


@pytest.mark.parametrize("kind", ["JPXDecode", "DCTDecode", "JBIG2Decode"])
def test_an_image_that_is_damaged_is_named(kind):
    data = image_page(
        b"\0" * 200, f"/Width 96/Height 64/BitsPerComponent 8/ColorSpace/DeviceGray/Filter/{kind}"
    )
    assert any(f"an image of 96 x 64 pixels ({kind}) cannot be drawn" in one for one in draw(data)[1])


@pytest.mark.parametrize(
    ("name", "encoding", "ordering", "text", "characters"),
    [
        ("STSong-Light", "UniGB-UCS2-H", "GB1", b"<4E2D65876587>", "\u4e2d\u6587"),
        ("HeiseiMin-W3", "UniJIS-UCS2-H", "Japan1", b"<65E5672C8A9E>", "\u65e5\u672c\u8a9e"),
        ("HYSMyeongJo-Medium", "UniKS-UCS2-H", "Korea1", b"<D55CAE00D55C>", "\ud55c\uae00"),
        ("MSung-Light", "UniCNS-UCS2-H", "CNS1", b"<004100424E2D>", "\u4e2d"),
    ],
)
def test_a_font_that_is_nowhere_is_named_with_what_is_missing(name, encoding, ordering, text, characters):
    picture, said = draw(cjk_font(name, encoding, ordering, text))
    if not said:  # a font for it is installed here
        assert picture.min() < 100
        return
    assert f"the font {name} is neither in the file nor on this machine" in said[0]
    assert f"its characters {characters} are missing" in said[0]


def test_a_font_without_a_table_of_its_characters_is_named():
    _, said = draw(cjk_font("Nowhere", "Identity-H", "Identity", b"<900090019002>"))
    assert "the font Nowhere is neither in the file nor on this machine, so its " in said[0]
    assert said[0].endswith("missing")


@pytest.mark.parametrize(
    ("encoding", "ordering", "text"),
    [
        ("UniJIS-UCS2-V", "Japan1", b"<65E5672C8A9E>"),
        ("90ms-RKSJ-V", "Japan1", b"<93FA967B>"),
        ("Identity-V", "Identity", b"<900090019002>"),
    ],
)
def test_vertical_text_in_a_font_that_is_nowhere_is_not_lost_silently(encoding, ordering, text):
    data = cjk_font("Nowhere", encoding, ordering, text).replace(b"10 60 Td", b"60 90 Td")
    picture, said = draw(data)
    if not said:  # a font for it is installed here
        assert picture.min() < 100
        return
    assert said[0].endswith(
        "the font Nowhere is neither in the file nor on this machine, so its text is missing"
    )


@pytest.mark.parametrize("name", ["#82l#82r#96#BE#92#A9", "#CB#CE#CC#E5"], ids=["Shift-JIS", "GBK"])
def test_a_font_whose_name_is_not_text_is_called_so(name):
    _, said = draw(cjk_font(name, "Identity-H", "Identity", b"<900090019002>"))
    assert "the font whose name is not text is neither in the file nor on this machine, so its " in said[0]
    assert "\ufffd" not in said[0]


@pytest.mark.parametrize(
    "data",
    [
        simple_font("Helvetica"),
        simple_font("Tahoma", "TrueType", stem=0),
        simple_font("Qwertz", width=500),
        simple_font("Symbol", encoding=""),
        page_file(b""),
        page_file(b"1 1 1 rg 0 0 200 100 re f"),
        page_file(b"1 0 0 rg 0 0 200 100 re f"),
        image_page(b"\xff" * 96 * 64, "/Width 96/Height 64/BitsPerComponent 8/ColorSpace/DeviceGray"),
        text_page("<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>", text=b"(   )"),
    ],
    ids=["standard", "another", "narrow", "symbols", "empty", "white", "red", "white image", "spaces"],
)
def test_a_page_that_lacks_nothing_is_not_spoken_of(data):
    assert draw(data)[1] == []


def test_the_invisible_words_over_a_scan_are_not_spoken_of():
    words = b"q 180 0 0 80 10 10 cm /I Do Q BT 3 Tr /F 12 Tf 20 40 Td <4E2D6587> Tj ET"
    data = image_page(
        photo(mode="L").tobytes(),
        "/Width 96/Height 64/BitsPerComponent 8/ColorSpace/DeviceGray",
        content=words,
        n6="<</Type/Font/Subtype/Type0/BaseFont/STSong-Light/Encoding/UniGB-UCS2-H/DescendantFonts[7 0 R]>>",
        n7="<</Type/Font/Subtype/CIDFontType0/BaseFont/STSong-Light/CIDSystemInfo<</Registry(Adobe)"
        "/Ordering(GB1)/Supplement 2>>>>",
    ).replace(b"/XObject<</I 5 0 R>>", b"/XObject<</I 5 0 R>>/Font<</F 6 0 R>>")
    picture, said = draw(data)
    assert picture.std() > 10
    assert said == []


def test_content_that_comes_out_in_one_colour_is_never_silent():
    white = page_file(
        b"1 g BT /F 30 Tf 10 40 Td (white on white) Tj ET",
        resources="/Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>",
    )
    _, said = draw(white)
    assert "it comes out in one colour, though it holds text" in said[0]
    hidden = image_page(
        photo(mode="L").tobytes(),
        "/Width 96/Height 64/BitsPerComponent 8/ColorSpace/DeviceGray",
        content=b"q 180 0 0 80 10 10 cm /I Do Q 1 g 0 0 200 100 re f",
    )
    assert "though it holds images" in draw(hidden)[1][0]


@pytest.mark.parametrize("catalogue", ["", "/AcroForm<</Fields[5 0 R]>>"])
def test_a_field_is_drawn_whether_or_not_its_form_came_along(catalogue):
    picture, said = draw(field_page(catalogue))
    height, width = picture.shape[:2]
    red, green, blue = picture[height // 2, width // 2].tolist()
    assert red > 180
    assert green == blue < 60
    assert picture[5, 5].tolist() == [255, 255, 255]
    assert said == []


def test_the_warning_names_the_file_and_comes_once(tmp_path):
    path = tmp_path / "scan.pdf"
    path.write_bytes(image_page(b"\0", "/Width 9/Height 9/Filter/JPXDecode"))
    with pytest.warns(VLM2VecWarning, match=r"scan\.pdf, page 1: an image of 9 x 9") as said:
        render_page(Source.from_path(path), 1, RULES)
    assert len(said) == 1


def test_a_plain_page_of_shapes_is_not_touched():
    picture, said = draw(page_file(SHAPES))
    assert picture.std() > 10
    assert said == []


RED = b" 1 0 0 rg 160 10 20 20 re f"
HELVETICA = "/Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>"


@pytest.mark.parametrize(
    "content",
    [
        b"BT /F 12 Tf 10 40 Td (covered) Tj ET 1 g 0 30 150 40 re f",
        b"/C gs BT /F 12 Tf 10 40 Td (clear) Tj ET /O gs",
        b"q 0 0 5 5 re W n BT /F 12 Tf 10 40 Td (clipped) Tj ET Q",
        b"/OC /L BDC BT /F 12 Tf 10 40 Td (on a hidden layer) Tj ET EMC",
    ],
    ids=["covered", "clear", "clipped", "hidden"],
)
def test_text_that_is_not_to_be_seen_is_not_blamed_on_its_font(content):
    data = page_file(
        content + RED,
        resources=HELVETICA + "/ExtGState<</C<</ca 0>>/O<</ca 1>>>>/Properties<</L 7 0 R>>",
        catalogue="/OCProperties<</OCGs[7 0 R]/D<</OFF[7 0 R]>>>>",
        extra={7: "<</Type/OCG/Name(a layer)>>"},
    )
    assert draw(data)[1] == []


def test_a_page_of_many_lost_fonts_is_spoken_of_eight_times():
    fonts = "".join(
        f"/F{i}<</Type/Font/Subtype/Type0/BaseFont/N{i}/Encoding/Identity-H/DescendantFonts"
        f"[<</Type/Font/Subtype/CIDFontType0/BaseFont/N{i}/CIDSystemInfo<</Registry(Adobe)"
        "/Ordering(Identity)/Supplement 0>>>>]>>"
        for i in range(40)
    )
    content = b"".join(b"BT /F%d 9 Tf 10 %d Td <900090019002> Tj ET " % (i, i * 20) for i in range(40))
    _, said = draw(page_file(content + RED, box="[0 0 400 800]", resources=f"/Font<<{fonts}>>"))
    assert len(said) == 8
    assert said[-1].endswith("page 1: 33 more of its fonts and images are missing")
