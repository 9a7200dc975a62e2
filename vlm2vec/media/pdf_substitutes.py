"""PDFium's own faces, which stand in for fonts that a PDF does not embed, put into one known state.

They are shared by all documents of the process and keep what the last one set: the weight and width of the
two that change shape (multiple-master faces), and which table of characters the Helvetica faces look in.
Fonts without a list of widths read theirs from that state, and characters that a font lacks are looked up in
it, so a page would come out one way or another by what was drawn before it. Drawing a small page of these
faces first costs 0.2 to 0.3 ms; initialising the library again would break documents that a caller holds.
"""

from __future__ import annotations

import itertools

__all__ = ["reset_substitutes"]

# Weights at which the faces are as a new process finds them, 470 (in place of 469) and 300, as PDFium reckons
# them from StemV: 5 * 94, and 5 * 75 * 4 / 5 for the one with serifs. Codes of two bytes leave the width be.
_SHAPED = (("Neutral", 32, 94), ("NeutralS", 34, 75))  # names of no font, so that these stand in
# A font of this kind, with this encoding, leaves its face looking in the Unicode table.
_PLAIN = ("Helvetica", "Helvetica-Bold", "Helvetica-BoldOblique", "Helvetica-Oblique")
_DESCRIPTOR = (
    "<</Type/FontDescriptor/FontName/%s/Flags %d/StemV %d/ItalicAngle 0/Ascent 900/Descent -200/CapHeight 700"
    "/FontBBox[0 -200 1000 900]>>"
)
_SIDE = 16  # pixels
_SIZE = "%07.3f 0 %07.3f"  # what differs from one drawing to the next, always of one length

# PDFium keeps each glyph that it drew while a document that uses its face is open, and a glyph that it kept
# would set nothing: so no two drawings in a million have the same size and slant.
_count = itertools.count()


def reset_substitutes() -> None:
    """Puts the faces into their known state; the caller holds `PDFIUM_LOCK`."""
    import pypdfium2.raw as pdfium

    number = next(_count)
    size = _SIZE % (8 + number % 1000 / 1000, number // 1000 % 1000 / 1000)
    data = _DOCUMENT.replace((_SIZE % (8, 0)).encode(), size.encode())
    document = pdfium.FPDF_LoadMemDocument64(data, len(data), None)
    page = pdfium.FPDF_LoadPage(document, 0)
    bitmap = pdfium.FPDFBitmap_Create(_SIDE, _SIDE, 0)
    pdfium.FPDF_RenderPageBitmap(bitmap, page, 0, 0, _SIDE, _SIDE, 0, 0)
    pdfium.FPDFBitmap_Destroy(bitmap)
    pdfium.FPDF_ClosePage(page)
    pdfium.FPDF_CloseDocument(document)


def _document() -> bytes:
    """A PDF whose page loads the plain faces and draws a letter in each of the others."""
    fonts = {f"P{i}": _plain_font(name) for i, name in enumerate(_PLAIN)}
    fonts |= {f"S{i}": _shaped_font(*font) for i, font in enumerate(_SHAPED)}
    content = "BT " + "".join(f"/P{i} 1 Tf " for i in range(len(_PLAIN)))
    content += f"/S0 1 Tf {_SIZE % (8, 0)} 8 1 1 Tm <0041> Tj /S1 1 Tf <0041> Tj ET"
    resources = "".join(f"/{key} {5 + i} 0 R" for i, key in enumerate(fonts))
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 {_SIDE} {_SIDE}]/Contents 4 0 R"
        f"/Resources<</Font<<{resources}>>>>>>",
        f"<</Length {len(content)}>>\nstream\n{content}\nendstream",
        *fonts.values(),
    ]
    text, places = "%PDF-1.7\n", []
    for i, body in enumerate(objects):
        places.append(len(text))
        text += f"{i + 1} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    text += f"xref\n0 {len(places) + 1}\n0000000000 65535 f \n{table}"
    text += f"trailer\n<</Size {len(places) + 1}/Root 1 0 R>>\nstartxref\n{text.index('xref')}\n%%EOF\n"
    return text.encode("ascii")


def _plain_font(name: str) -> str:
    descriptor = _DESCRIPTOR % (name, 32, 80)
    return (
        f"<</Type/Font/Subtype/TrueType/BaseFont/{name}/Encoding/WinAnsiEncoding/FontDescriptor{descriptor}>>"
    )


def _shaped_font(name: str, flags: int, stem: int) -> str:
    descriptor = _DESCRIPTOR % (name, flags, stem)
    return (
        f"<</Type/Font/Subtype/Type0/BaseFont/{name}/Encoding/Identity-H/DescendantFonts"
        f"[<</Type/Font/Subtype/CIDFontType0/BaseFont/{name}/FontDescriptor{descriptor}"
        "/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>>>]>>"
    )


_DOCUMENT = _document()
