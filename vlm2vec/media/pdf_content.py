"""What a PDF page holds, by PDFium's list of its objects, and what of it did not come out in the drawing."""

from __future__ import annotations

import ctypes
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["PageContent", "enlargement", "is_plain", "read_content", "undrawn"]

Matrix = tuple[float, float, float, float, float, float]

_IDENTITY: Matrix = (1, 0, 0, 1, 0, 0)
_MAX_DEPTH = 8  # of forms within forms; PDFium itself stops at a limit of its own
_TEXTS_PER_FONT = 3  # that are kept of a font in the file
_LOOKED_AT = 8  # texts of another font, spread over the page, that are looked for in the drawing
_UNKNOWN = 0xFFFF  # a code that is no character
_NAMED_CHARACTERS = 8
_FIRST_FOREIGN = "\u0300"  # PDFium's own faces have Latin letters alone, and some symbols
_SHAPELESS = {"Zs", "Zl", "Zp", "Cc", "Cf", "Cn", "Co", "Cs", "Mn"}
_NOT_PAINTED = (3, 7)  # text render modes: invisible, as the words over a scan are, and clip alone
_CODESTREAM, _STYLE = b"\xff\x4f\xff\x51", b"\xff\x52"  # markers SOC with SIZ, and COD (ISO 15444-1, annex A)


@dataclass(frozen=True)
class _Object:
    """A text or image object with the matrix of the form it stands in."""

    raw: Any
    form: Matrix


@dataclass
class PageContent:
    """Objects of a page that may fail to come out.

    Attributes:
        texts: For each font, by its address, its texts, of a font in the file the first alone: the address
            of the object and the matrix of the form it stands in.
        is_foreign: For each font, whether it is not in the file, so that another stands in for it.
        images: The images.
        shadings: How many there are.
        empty_forms: Forms in which PDFium finds nothing, or which are too deep to be looked into. One that
            has no resources and uses those of the page, from within another form, is among them.
    """

    texts: dict[int, list[tuple[int, Matrix]]] = field(default_factory=dict)
    is_foreign: dict[int, bool] = field(default_factory=dict)
    images: list[_Object] = field(default_factory=list)
    shadings: int = 0
    empty_forms: int = 0


def read_content(page: Any) -> PageContent:
    """The objects of a page, those within forms too; annotations and patterns are not among them."""
    import pypdfium2.raw as pdfium

    text, image, shading, form = (
        pdfium.FPDF_PAGEOBJ_TEXT,
        pdfium.FPDF_PAGEOBJ_IMAGE,
        pdfium.FPDF_PAGEOBJ_SHADING,
        pdfium.FPDF_PAGEOBJ_FORM,
    )
    font_of = _plain_call(pdfium.FPDFTextObj_GetFont, ctypes.c_void_p)
    content = PageContent()
    texts, is_foreign = content.texts, content.is_foreign
    for kind, address, matrix in _walk(ctypes.cast(page, ctypes.c_void_p).value, _IDENTITY, 0):
        if kind == text:
            font = font_of(address) or 0
            known = texts.get(font)
            if known is None:
                known = texts[font] = []
                is_foreign[font] = bool(font) and pdfium.FPDFFont_GetIsEmbedded(_font(font)) == 0
            if is_foreign[font] or len(known) < _TEXTS_PER_FONT:
                known.append((address, matrix))
        elif kind == image:
            content.images.append(_Object(_page_object(address), matrix))
        elif kind == shading:
            content.shadings += 1
        elif kind == form:
            content.empty_forms += 1
    return content


def _walk(parent: int | None, matrix: Matrix, depth: int) -> Iterator[tuple[int, int, Matrix]]:
    """Kind, address and outer matrix of each object of a page, or of a form within it, which may be empty."""
    import pypdfium2.raw as pdfium

    # A dense page has thousands of objects, and a call that gives a number takes a third of the time.
    if depth:
        count, get = pdfium.FPDFFormObj_CountObjects, pdfium.FPDFFormObj_GetObject
        number: Any = ctypes.c_ulong
    else:
        count, get = pdfium.FPDFPage_CountObjects, pdfium.FPDFPage_GetObject
        number = ctypes.c_int
    object_at = _plain_call(get, ctypes.c_void_p, number)
    kind_of = _plain_call(pdfium.FPDFPageObj_GetType, ctypes.c_int)
    form_kind = pdfium.FPDF_PAGEOBJ_FORM
    objects = _plain_call(count, ctypes.c_int)(parent)
    if depth and parent is not None and not objects:
        yield form_kind, parent, matrix
    for i in range(objects):
        address = object_at(parent, i)
        kind = kind_of(address)
        if kind != form_kind or depth == _MAX_DEPTH:
            yield kind, address, matrix
        else:
            yield from _walk(address, _times(_matrix(_page_object(address)), matrix), depth + 1)


def _plain_call(function: Any, result: Any, *more: Any) -> Any:
    """A function of PDFium that takes an address (and more), and gives addresses as numbers."""
    address = ctypes.cast(function, ctypes.c_void_p).value or 0
    return ctypes.CFUNCTYPE(result, ctypes.c_void_p, *more)(address)


def _page_object(address: int) -> Any:
    import pypdfium2.raw as pdfium

    return ctypes.cast(address, pdfium.FPDF_PAGEOBJECT)


def _font(address: int) -> Any:
    import pypdfium2.raw as pdfium

    return ctypes.cast(address, pdfium.FPDF_FONT)


def enlargement(page: Any, content: PageContent, height: int, width: int) -> int:
    """How many times larger a page must be drawn for its JPEG 2000 images to be decoded.

    PDFium leaves out as many of their resolution levels as the drawing does not need, and draws nothing
    where an image has fewer (found with PDFium 159.0.8149).
    """
    return max((_enlargement(page, image, height, width) for image in content.images), default=1)


def _enlargement(page: Any, image: _Object, height: int, width: int) -> int:
    import pypdfium2.raw as pdfium

    if "JPXDecode" not in _filters(image.raw):
        return 1
    wide, high = pdfium.FPDF_GetPageWidthF(page), pdfium.FPDF_GetPageHeightF(page)
    scales = (width / wide, height / high)
    if pdfium.FPDFPage_GetRotation(page) % 2:
        scales = scales[::-1]
    a, b, c, d, _, _ = _times(_matrix(image.raw), image.form)
    shown = (max(1.0, (abs(a) + abs(c)) * scales[0]), max(1.0, (abs(b) + abs(d)) * scales[1]))
    columns, rows = _image_size(image.raw)
    smaller = min(columns / shown[0], rows / shown[1])
    return 1 if smaller < 2 else int(smaller / 2 ** (_levels(image.raw) + 1)) + 1


def undrawn(page: Any, content: PageContent, picture: np.ndarray, *, times: int) -> list[str]:
    """What a page holds and the picture of it, of shape (H, W, 3), does not show: a phrase for each.

    Args:
        page: PDFium's page.
        content: Its objects.
        picture: What was drawn.
        times: How many times larger it was drawn.
    """
    found = [phrase for image in content.images if (phrase := _lost_image(page, image, picture, times))]
    if any(content.is_foreign.values()):
        found += _lost_fonts(page, content, picture)
    if not found and is_plain(picture):
        if what := _seen_content(page, content):
            found.append(f"it comes out in one colour, though it holds {what}")
        elif content.empty_forms:
            found.append("it comes out in one colour, and has forms in which PDFium finds nothing to draw")
    return list(dict.fromkeys(found))


def _lost_image(page: Any, image: _Object, picture: np.ndarray, times: int) -> str | None:
    import pypdfium2.raw as pdfium

    part = _part(page, image, picture)
    if part is None or not is_plain(part):
        return None
    bitmap = pdfium.FPDFImageObj_GetBitmap(image.raw)
    if bitmap:
        # One that can be decoded is plain, covered, clipped, clear or hidden, if it was drawn large enough.
        height, width = picture.shape[:2]
        is_drawn = _enlargement(page, image, height * times, width * times) == 1
        is_drawn = is_drawn or is_plain(_levels_of(bitmap))
        pdfium.FPDFBitmap_Destroy(bitmap)
        if is_drawn:
            return None
    columns, rows = _image_size(image.raw)
    kind = ", ".join(_filters(image.raw)) or "no filter"
    return f"an image of {columns} x {rows} pixels ({kind}) cannot be drawn"


def _lost_fonts(page: Any, content: PageContent, picture: np.ndarray) -> list[str]:
    """Fonts that are not in the file and some of whose characters no face here has."""
    suspects = []
    for address, texts in content.texts.items():
        if content.is_foreign[address]:
            some = texts[:: -(-len(texts) // _LOOKED_AT)]
            blank = [text for one in some if _is_blank(page, text := _text_object(one), picture)]
            if blank or _may_lack(_font(address)) or all(_is_shapeless(_page_object(one)) for one, _ in some):
                suspects.append((_font(address), texts, blank))
    if not suspects:
        return []
    found = []
    # Reading the text takes as long as drawing it, so only where something may be missing.
    with _text_page(page) as text_page:
        characters = set(_all_text(text_page))
        for font, texts, blank in suspects:
            name = f"the font {_font_name(font)} is neither in the file nor on this machine"
            if lost := _lost_characters(font, texts, text_page, characters):
                which = "".join(lost[:_NAMED_CHARACTERS]) + ("..." if len(lost) > _NAMED_CHARACTERS else "")
                found.append(f"{name}, so its characters {which} are missing")
            elif _is_lost(font, texts, blank, text_page):
                found.append(f"{name}, so its text is missing")
    return found


def _may_lack(font: Any) -> bool:
    """Whether a font may hold more than Latin letters: what it does not know has the width of an em there."""
    import pypdfium2.raw as pdfium

    width = ctypes.c_float()
    pdfium.FPDFFont_GetGlyphWidth(font, _UNKNOWN, 1.0, width)
    return width.value >= 1 or not _has_shape(font, "A")


def _is_lost(font: Any, texts: list[tuple[int, Matrix]], blank: list[_Object], text_page: Any) -> bool:
    """Whether text is missing: it may also be blank since it is clear, covered, clipped or on a layer."""
    if any(_lacks(font, character) for text in blank for character in _text(text.raw, text_page)):
        return True
    # Of characters below one another PDFium does not say which they are if they have no shape.
    return all(_is_shapeless(raw := _page_object(one)) and not _text(raw, text_page) for one, _ in texts)


def _is_shapeless(raw: Any) -> bool:
    """Whether a text that is painted has a length and no breadth: none of its characters has a shape."""
    import pypdfium2.raw as pdfium

    left, bottom, right, top = sides = [ctypes.c_float() for _ in range(4)]
    if not _is_painted(raw) or not pdfium.FPDFPageObj_GetBounds(raw, *sides):
        return False
    lengths = right.value - left.value, top.value - bottom.value
    return min(lengths) == 0 < max(lengths)


def _lost_characters(
    font: Any, texts: list[tuple[int, Matrix]], text_page: Any, characters: set[str]
) -> list[str]:
    """Those of a page's characters that a font not in the file is to show and cannot, each once."""
    lost = {character for character in characters if character >= _FIRST_FOREIGN and _lacks(font, character)}
    if not lost:
        return []
    objects = [_page_object(address) for address, _ in texts]
    shown = "".join(_text(raw, text_page) for raw in objects if _is_painted(raw))
    return [character for character in dict.fromkeys(shown) if character in lost]


def _lacks(font: Any, character: str) -> bool:
    return not _is_common(character) and not _has_shape(font, character)


def _has_shape(font: Any, character: str) -> bool:
    import pypdfium2.raw as pdfium

    return bool(pdfium.FPDFFont_GetGlyphPath(font, ord(character), 12.0))


def _is_blank(page: Any, text: _Object, picture: np.ndarray) -> bool:
    """Whether a text that is painted left nothing in its place, whose colour is another."""
    if not _is_painted(text.raw):
        return False
    part = _part(page, text, picture)
    return part is not None and is_plain(part) and not _has_colour(text.raw, part)


def _text_object(text: tuple[int, Matrix]) -> _Object:
    return _Object(_page_object(text[0]), text[1])


@contextmanager
def _text_page(page: Any) -> Iterator[Any]:
    import pypdfium2.raw as pdfium

    text_page = pdfium.FPDFText_LoadPage(page)
    try:
        yield text_page
    finally:
        pdfium.FPDFText_ClosePage(text_page)


def _is_painted(raw: Any) -> bool:
    import pypdfium2.raw as pdfium

    return pdfium.FPDFTextObj_GetTextRenderMode(raw) not in _NOT_PAINTED


def _is_common(character: str) -> bool:
    """Whether no shape is missed: spaces, marks and codes without a meaning, dashes and quotation marks."""
    return unicodedata.category(character) in _SHAPELESS or "\u2010" <= character <= "\u203a"


def _seen_content(page: Any, content: PageContent) -> str:
    """What there is to see, in words; empty where there is nothing."""
    import pypdfium2.raw as pdfium

    objects = [_page_object(address) for texts in content.texts.values() for address, _ in texts]
    with _text_page(page) as text_page:
        texts = sum(_is_painted(raw) and bool(_text(raw, text_page).strip()) for raw in objects)
    images = 0
    for image in content.images:
        bitmap = pdfium.FPDFImageObj_GetBitmap(image.raw)
        images += not bitmap or not is_plain(_levels_of(bitmap))
        if bitmap:
            pdfium.FPDFBitmap_Destroy(bitmap)
    named = (("text", texts), ("images", images), ("shadings", content.shadings))
    return " and ".join(name for name, count in named if count)


def is_plain(picture: np.ndarray) -> bool:
    """Whether all pixels of a picture are equal; a few of them decide in most cases."""
    first = picture[:1, :1]
    return bool((picture[::13, ::13] == first).all()) and bool((picture == first).all())


def _has_colour(raw: Any, part: np.ndarray) -> bool:
    """Whether text is painted in the very colour that is there: white on white."""
    import pypdfium2.raw as pdfium

    colour = [ctypes.c_uint() for _ in range(4)]
    known = pdfium.FPDFPageObj_GetFillColor(raw, *colour)
    return bool(known) and [c.value for c in colour[:3]] == part[0, 0].tolist()


def _part(page: Any, item: _Object, picture: np.ndarray) -> np.ndarray | None:
    """The part of a picture that an object covers; `None` where that has less than 2 x 2 pixels."""
    import pypdfium2.raw as pdfium

    sides = [ctypes.c_float() for _ in range(4)]
    if not pdfium.FPDFPageObj_GetBounds(item.raw, *sides):
        return None
    left, bottom, right, top = (side.value for side in sides)
    a, b, c, d, e, f = item.form
    height, width = picture.shape[:2]
    columns, rows = [], []
    x, y = ctypes.c_int(), ctypes.c_int()
    for u, v in ((left, bottom), (left, top), (right, bottom), (right, top)):
        pdfium.FPDF_PageToDevice(page, 0, 0, width, height, 0, a * u + c * v + e, b * u + d * v + f, x, y)
        columns.append(x.value)
        rows.append(y.value)
    part = picture[max(0, min(rows)) : max(0, *rows), max(0, min(columns)) : max(0, *columns)]
    return part if min(part.shape[:2]) >= 2 else None


def _levels_of(bitmap: Any) -> np.ndarray:
    """The pixels of a bitmap, of shape (H, W, channels)."""
    import pypdfium2.raw as pdfium

    rows, stride = pdfium.FPDFBitmap_GetHeight(bitmap), pdfium.FPDFBitmap_GetStride(bitmap)
    columns = pdfium.FPDFBitmap_GetWidth(bitmap)
    channels = {pdfium.FPDFBitmap_Gray: 1, pdfium.FPDFBitmap_BGR: 3}.get(
        pdfium.FPDFBitmap_GetFormat(bitmap), 4
    )
    buffer = ctypes.cast(pdfium.FPDFBitmap_GetBuffer(bitmap), ctypes.POINTER(ctypes.c_ubyte))
    array = np.ctypeslib.as_array(buffer, (rows, stride))[:, : columns * channels]
    return array.reshape(rows, columns, channels)


def _text(raw: Any, text_page: Any) -> str:
    import pypdfium2.raw as pdfium

    size = pdfium.FPDFTextObj_GetText(raw, text_page, None, 0)
    buffer = ctypes.create_string_buffer(size + 2)
    pdfium.FPDFTextObj_GetText(raw, text_page, ctypes.cast(buffer, ctypes.POINTER(pdfium.FPDF_WCHAR)), size)
    return buffer.raw[: max(0, size - 2)].decode("utf-16-le", "replace")


def _all_text(text_page: Any) -> str:
    import pypdfium2.raw as pdfium

    count = pdfium.FPDFText_CountChars(text_page)
    buffer = ctypes.create_string_buffer(2 * (count + 1))
    start = ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort))
    written = pdfium.FPDFText_GetText(text_page, 0, count, start)
    return buffer.raw[: 2 * max(0, written - 1)].decode("utf-16-le", "replace")


def _font_name(font: Any) -> str:
    import pypdfium2.raw as pdfium

    buffer = ctypes.create_string_buffer(256)
    size = min(256, pdfium.FPDFFont_GetBaseFontName(font, buffer, 256))
    try:
        name = buffer.raw[: max(0, size - 1)].decode("utf-8")
    except UnicodeDecodeError:  # in Shift-JIS, GBK or the like, which the file does not say
        return "whose name is not text"
    return "".join(c for c in name if c.isprintable())[:60] or "without a name"


def _filters(raw: Any) -> list[str]:
    import pypdfium2.raw as pdfium

    names = []
    for i in range(pdfium.FPDFImageObj_GetImageFilterCount(raw)):
        buffer = ctypes.create_string_buffer(64)
        size = pdfium.FPDFImageObj_GetImageFilter(raw, i, buffer, 64)
        names.append(buffer.raw[: max(0, min(size, 64) - 1)].decode("ascii", "replace"))
    return names


def _image_size(raw: Any) -> tuple[int, int]:
    """Columns and rows."""
    import pypdfium2.raw as pdfium

    columns, rows = ctypes.c_uint(), ctypes.c_uint()
    pdfium.FPDFImageObj_GetImagePixelSize(raw, columns, rows)
    return columns.value, rows.value


def _levels(raw: Any) -> int:
    """How often a JPEG 2000 image was halved: the number of its decomposition levels, from its COD marker."""
    import pypdfium2.raw as pdfium

    size = pdfium.FPDFImageObj_GetImageDataRaw(raw, None, 0)
    buffer = ctypes.create_string_buffer(size)
    pdfium.FPDFImageObj_GetImageDataRaw(raw, buffer, size)
    start = max(0, buffer.raw.find(_CODESTREAM))
    place = buffer.raw.find(_STYLE, start, start + 65_536)
    # After the marker: its length (2 bytes), style (1), progression (1), layers (2), transform (1), levels.
    return buffer.raw[place + 9] if place >= 0 and place + 9 < size else 0


def _matrix(raw: Any) -> Matrix:
    import pypdfium2.raw as pdfium

    found = pdfium.FS_MATRIX()
    pdfium.FPDFPageObj_GetMatrix(raw, found)
    return found.a, found.b, found.c, found.d, found.e, found.f


def _times(first: Matrix, then: Matrix) -> Matrix:
    """Both matrices, the first applied first."""
    a, b, c, d, e, f = first
    g, h, i, j, k, m = then
    return a * g + b * i, a * h + b * j, c * g + d * i, c * h + d * j, e * g + f * i + k, e * h + f * j + m
