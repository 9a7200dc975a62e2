"""Small PDFs, one per feature of the format, made in code for the tests of `vlm2vec.media.pdf`."""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageFont

BOX = "[0 0 200 100]"
SHAPES = b"1 0 0 rg 10 10 60 30 re f 0 0 1 rg 120 50 60 40 re f 0 0.6 0 RG 4 w 20 90 m 180 20 l S"


def stream(data: bytes, entries: str = "") -> bytes:
    """A stream object."""
    return f"<<{entries}/Length {len(data)}>>\nstream\n".encode() + data + b"\nendstream"


def pdf_file(objects: Mapping[int, bytes | str], trailer: str = "") -> bytes:
    """A PDF of these objects with a right table of their places; 1 is the catalogue."""
    data, places = bytearray(b"%PDF-1.7\n"), {}
    for number, body in sorted(objects.items()):
        places[number] = len(data)
        data += b"%d 0 obj\n%b\nendobj\n" % (
            number,
            body.encode("latin-1") if isinstance(body, str) else body,
        )
    count = max(objects) + 1
    table = "".join(
        f"{places[n]:010d} 00000 n \n" if n in places else "0000000000 00000 f \n" for n in range(1, count)
    )
    start = len(data)
    data += f"xref\n0 {count}\n0000000000 65535 f \n{table}".encode()
    return bytes(
        data + f"trailer\n<</Size {count}/Root 1 0 R{trailer}>>\nstartxref\n{start}\n%%EOF\n".encode()
    )


def page_file(
    content: bytes,
    *,
    box: str = BOX,
    page: str = "",
    resources: str = "",
    catalogue: str = "",
    extra: Mapping[int, bytes | str] | None = None,
) -> bytes:
    """A PDF of one page; further objects count from 5."""
    return pdf_file(
        {
            1: f"<</Type/Catalog/Pages 2 0 R{catalogue}>>",
            2: "<</Type/Pages/Kids[3 0 R]/Count 1>>",
            3: f"<</Type/Page/Parent 2 0 R/MediaBox{box}/Contents 4 0 R/Resources<<{resources}>>{page}>>",
            4: stream(content),
            **(extra or {}),
        }
    )


def pages_file(count: str, pages: int = 3) -> bytes:
    """A PDF of several pages, of which the tree says that there are `count`; "" leaves that out."""
    kids = " ".join(f"{10 + i} 0 R" for i in range(pages))
    return pdf_file(
        {
            1: "<</Type/Catalog/Pages 2 0 R>>",
            2: f"<</Type/Pages/Kids[{kids}]{count and f'/Count {count}'}>>",
            **{
                10 + i: f"<</Type/Page/Parent 2 0 R/MediaBox{BOX}/Contents {20 + i} 0 R>>"
                for i in range(pages)
            },
            **{20 + i: stream(b"%d 0 0 rg 0 0 200 100 re f" % (i % 2)) for i in range(pages)},
        }
    )


def text_page(
    font: str, *, text: bytes = b"(Hello, World 0123)", size: int = 24, **extra: bytes | str
) -> bytes:
    """A page with a line of text in a font, given as its dictionary; `n6` is object 6, and so on."""
    content = b"BT /F %d Tf 10 60 Td %b Tj 0 -40 Td %b Tj ET" % (size, text, text)
    objects = {int(name[1:]): body for name, body in extra.items()}
    return page_file(content, resources="/Font<</F 5 0 R>>", extra={5: font, **objects})


def descriptor(name: str, *, flags: int = 32, stem: int = 80, more: str = "") -> str:
    """A font descriptor."""
    return (
        f"<</Type/FontDescriptor/FontName/{name}/Flags {flags}/StemV {stem}/ItalicAngle 0/Ascent 900"
        f"/Descent -200/CapHeight 700/FontBBox[0 -200 1000 900]{more}>>"
    )


def simple_font(
    name: str,
    kind: str = "Type1",
    *,
    flags: int = 32,
    stem: int = 80,
    width: int = 0,
    encoding: str = "WinAnsi",
) -> bytes:
    """A page in a font of one byte a character that is not in the file."""
    widths = f"/FirstChar 32/LastChar 126/Widths[{' '.join([str(width)] * 95)}]" if width else ""
    coded = f"/Encoding/{encoding}Encoding" if encoding else ""
    return text_page(
        f"<</Type/Font/Subtype/{kind}/BaseFont/{name}{coded}{widths}/FontDescriptor 6 0 R>>",
        n6=descriptor(name, flags=flags, stem=stem),
    )


def cjk_font(name: str, encoding: str, ordering: str, text: bytes, *, stem: int = 80) -> bytes:
    """A page in a font of two bytes a character that is not in the file."""
    return text_page(
        f"<</Type/Font/Subtype/Type0/BaseFont/{name}/Encoding/{encoding}/DescendantFonts[6 0 R]>>",
        text=text,
        n6=f"<</Type/Font/Subtype/CIDFontType0/BaseFont/{name}/CIDSystemInfo<</Registry(Adobe)"
        f"/Ordering({ordering})/Supplement 2>>/FontDescriptor 7 0 R>>",
        n7=descriptor(name, flags=6, stem=stem),
    )


def photo(width: int = 96, height: int = 64, mode: str = "RGB") -> Image.Image:
    """A smooth picture, so that readers may resample it in their own ways."""
    y, x = np.mgrid[0:height, 0:width]
    levels = np.stack([x * 255 / width, y * 255 / height, 255 - (x + y) * 255 / (width + height)], axis=-1)
    return Image.fromarray(levels.astype(np.uint8)).convert(mode)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    """A picture as a file."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def image_page(data: bytes, entries: str, *, content: bytes = b"", **extra: bytes | str) -> bytes:
    """A page that an image object fills, but for a margin."""
    content = content or b"q 180 0 0 80 10 10 cm /I Do Q"
    objects = {int(name[1:]): body for name, body in extra.items()}
    entries = f"/Type/XObject/Subtype/Image{entries}"
    return page_file(content, resources="/XObject<</I 5 0 R>>", extra={5: stream(data, entries), **objects})


def jpx_page(side: int = 1200, levels: int = 1, *, matrix: str = "200 0 0 100 0 0", page: str = "") -> bytes:
    """A page with a JPEG 2000 scan of `levels` resolutions, its mean level near 100."""
    coarse = np.random.default_rng(0).integers(0, 200, (8, 8), dtype=np.uint8)
    scan = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
    data = encoded(scan, "JPEG2000", num_resolutions=levels)
    entries = f"/Type/XObject/Subtype/Image/Width {side}/Height {side}/Filter/JPXDecode"
    content = f"q {matrix} cm /I Do Q".encode()
    return page_file(content, resources="/XObject<</I 5 0 R>>", page=page, extra={5: stream(data, entries)})


def features() -> dict[str, bytes]:
    """A PDF for each feature whose drawing is compared with another reader's."""
    return {**_boxes(), **_fonts(), **_blends(), **_images(), **_paints()}


def _boxes() -> dict[str, bytes]:
    boxes = {
        "plain": (BOX, ""),
        "offset": ("[-50 -20 150 80]", ""),
        "corners swapped": ("[200 100 0 0]", ""),
        "crop": (BOX, "/CropBox[20 20 150 90]"),
        "crop partly outside": (BOX, "/CropBox[100 40 400 300]"),
        "crop and turn": (BOX, "/CropBox[20 20 150 90]/Rotate 90"),
        "user unit": ("[0 0 40 20]", "/UserUnit 5"),
        "tall": ("[0 0 100 200]", ""),
        **{f"turn {turn}": (BOX, f"/Rotate {turn}") for turn in (90, 180, 270, -90, 450)},
    }
    return {f"box: {name}": page_file(SHAPES, box=box, page=page) for name, (box, page) in boxes.items()}


def _fonts() -> dict[str, bytes]:
    standard = ("Helvetica", "Helvetica-Bold", "Times-Roman", "Times-Italic", "Courier", "Symbol")
    made = {f"standard {name}": simple_font(name, encoding="") for name in standard if name != "Symbol"}
    glyph = b"1000 0 0 0 750 750 d1 0 0 750 750 re f"
    other = b"1000 0 0 0 750 750 d1 0 0 m 375 750 l 750 0 l f"
    made["type 3"] = text_page(
        "<</Type/Font/Subtype/Type3/FontBBox[0 0 750 750]/FontMatrix[0.001 0 0 0.001 0 0]"
        "/FirstChar 97/LastChar 98/CharProcs<</s 6 0 R/t 7 0 R>>"
        "/Encoding<</Differences[97/s/t]>>/Widths[1000 1000]/Resources<<>>>>",
        text=b"(ababab)",
        n6=stream(glyph),
        n7=stream(other),
    )
    font = _truetype()
    made["truetype"] = text_page(
        "<</Type/Font/Subtype/TrueType/BaseFont/Inside/Encoding/WinAnsiEncoding/FirstChar 32/LastChar 126"
        f"/Widths[{' '.join(['600'] * 95)}]/FontDescriptor 6 0 R>>",
        n6=descriptor("Inside", more="/FontFile2 7 0 R"),
        n7=stream(zlib.compress(font), f"/Filter/FlateDecode/Length1 {len(font)}"),
    )
    made["two bytes"] = text_page(
        "<</Type/Font/Subtype/Type0/BaseFont/Inside/Encoding/Identity-H/DescendantFonts[6 0 R]>>",
        text=b"<0024002500260027>",
        n6="<</Type/Font/Subtype/CIDFontType2/BaseFont/Inside/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)"
        "/Supplement 0>>/DW 700/CIDToGIDMap/Identity/FontDescriptor 7 0 R>>",
        n7=descriptor("Inside", flags=4, more="/FontFile2 8 0 R"),
        n8=stream(zlib.compress(font), f"/Filter/FlateDecode/Length1 {len(font)}"),
    )
    for mode in range(8):
        content = (
            b"BT /F 60 Tf %d Tr 1 0 0 rg 0 0 1 RG 10 30 Td (abc) Tj ET 0 0.5 0 rg 0 40 200 20 re f" % mode
        )
        made[f"render mode {mode}"] = page_file(
            content, resources="/Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica-Bold>>>>"
        )
    return {f"font: {name}": data for name, data in made.items()}


def _truetype() -> bytes:
    """The font that Pillow brings along."""
    font = ImageFont.load_default(20)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font.font_bytes


def _blends() -> dict[str, bytes]:
    modes = (
        "Normal Multiply Screen Overlay Darken Lighten ColorDodge ColorBurn HardLight SoftLight Difference "
        "Exclusion Hue Saturation Color Luminosity"
    )
    content = b"0.9 0.4 0.2 rg 0 0 120 100 re f /G gs 0.2 0.5 0.8 rg 60 20 120 60 re f"
    made = {
        f"blend: {mode}": page_file(content, resources=f"/ExtGState<</G<</BM/{mode}>>>>")
        for mode in modes.split()
    }
    made["blend: alpha"] = page_file(content, resources="/ExtGState<</G<</ca 0.4>>>>")
    mask = "/Type/XObject/Subtype/Form/BBox[0 0 200 100]/Group<</S/Transparency/CS/DeviceGray>>"
    made["blend: soft mask"] = page_file(
        content,
        resources="/ExtGState<</G<</SMask<</Type/Mask/S/Luminosity/G 5 0 R>>>>>>",
        extra={5: stream(b"0.7 g 100 0 100 100 re f", mask)},
    )
    return made


def _images() -> dict[str, bytes]:
    rgb, grey, bits = (
        photo(),
        photo(mode="L"),
        photo(mode="L").point(lambda level: 255 * (level > 110)).convert("1"),
    )
    size = f"/Width {rgb.width}/Height {rgb.height}/BitsPerComponent 8"
    colour, shade = f"{size}/ColorSpace/DeviceRGB", f"{size}/ColorSpace/DeviceGray"
    one = f"/Width {rgb.width}/Height {rgb.height}/BitsPerComponent 1/ColorSpace/DeviceGray"
    raw, levels = rgb.tobytes(), grey.tobytes()
    fax = _strip(encoded(bits, "TIFF", compression="group4"))
    fax_of = f"/Filter/CCITTFaxDecode/DecodeParms<</K -1/Columns {rgb.width}/Rows {rgb.height}>>"
    palette = rgb.quantize(16)
    table = bytes(palette.getpalette()[:48]).hex()  # type: ignore[index]
    made = {
        "no filter": (raw, colour),
        "flate": (zlib.compress(raw), f"{colour}/Filter/FlateDecode"),
        "flate with a predictor": (
            zlib.compress(_up(np.asarray(rgb))),
            f"{colour}/Filter/FlateDecode/DecodeParms<</Predictor 15/Colors 3/Columns {rgb.width}>>",
        ),
        "hexadecimal": (raw.hex().encode() + b">", f"{colour}/Filter/ASCIIHexDecode"),
        "base 85": (base64.a85encode(raw) + b"~>", f"{colour}/Filter/ASCII85Decode"),
        "two filters": (
            base64.a85encode(zlib.compress(raw)) + b"~>",
            f"{colour}/Filter[/ASCII85Decode/FlateDecode]",
        ),
        "run lengths": (_runs(levels), f"{shade}/Filter/RunLengthDecode"),
        "jpeg": (encoded(rgb, "JPEG", quality=95), f"{colour}/Filter/DCTDecode"),
        "grey jpeg": (encoded(grey, "JPEG", quality=95), f"{shade}/Filter/DCTDecode"),
        "progressive jpeg": (
            encoded(rgb, "JPEG", quality=95, progressive=True),
            f"{colour}/Filter/DCTDecode",
        ),
        "jpeg 2000": (encoded(rgb, "JPEG2000"), f"{size}/Filter/JPXDecode"),
        "grey jpeg 2000": (encoded(grey, "JPEG2000", num_resolutions=2), f"{size}/Filter/JPXDecode"),
        "fax": (fax, one + fax_of),
        "bits": (bits.tobytes(), one),
        "bits inverted": (bits.tobytes(), f"{one}/Decode[1 0]"),
        "grey": (levels, shade),
        "grey inverted": (levels, f"{shade}/Decode[1 0]"),
        "palette": (palette.tobytes(), f"{size}/ColorSpace[/Indexed/DeviceRGB 15<{table}>]"),
        "colour key": (raw, f"{colour}/Mask[0 90 0 255 0 255]"),
        "calibrated": (
            raw,
            f"{size}/ColorSpace[/CalRGB<</WhitePoint[0.9505 1 1.089]/Gamma[2.2 2.2 2.2]/Matrix"
            "[0.4124 0.2126 0.0193 0.3576 0.7152 0.1192 0.1805 0.0722 0.9505]>>]",
        ),
        "16 bits": (
            np.asarray(grey).astype(">u2").__mul__(257).astype(">u2").tobytes(),
            f"/Width {rgb.width}/Height {rgb.height}/BitsPerComponent 16/ColorSpace/DeviceGray",
        ),
    }
    pages = {f"image: {name}": image_page(*parts) for name, parts in made.items()}
    pages["image: soft mask"] = image_page(
        raw, f"{colour}/SMask 6 0 R", n6=stream(levels, f"/Type/XObject/Subtype/Image{shade}")
    )
    pages["image: stencil"] = image_page(
        bits.tobytes(),
        f"/Width {rgb.width}/Height {rgb.height}/BitsPerComponent 1/ImageMask true",
        content=b"0 0.5 1 rg q 180 0 0 80 10 10 cm /I Do Q",
    )
    pages["image: turned"] = image_page(raw, colour, content=b"q 0 80 -180 0 190 10 cm /I Do Q")
    pages["image: inline"] = page_file(
        b"q 180 0 0 80 10 10 cm BI /W 2 /H 2 /BPC 8 /CS /G /F /AHx ID 00 ff ff 40> EI Q".replace(
            b" ff", b"ff"
        )
    )
    return pages


def _paints() -> dict[str, bytes]:
    ramp = "/Function<</FunctionType 2/Domain[0 1]/C0[1 0 0]/C1[0 0 1]/N 1>>/Extend[true true]"
    tile = (
        "/Type/Pattern/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 20 20]/XStep 20/YStep 20/Resources<<>>"
    )
    spot = "[/Separation/Spot/DeviceRGB<</FunctionType 2/Domain[0 1]/C0[1 1 1]/C1[0.1 0.6 0.3]/N 1>>]"
    made = {
        "axial": page_file(
            b"/S sh",
            resources=f"/Shading<</S<</ShadingType 2/ColorSpace/DeviceRGB/Coords[0 0 200 0]{ramp}>>>>",
        ),
        "radial": page_file(
            b"/S sh",
            resources="/Shading<</S<</ShadingType 3/ColorSpace/DeviceRGB/Coords[100 50 0 100 50 80]"
            f"{ramp}>>>>",
        ),
        "tiling": page_file(
            b"/Pattern cs /P scn 0 0 200 100 re f",
            resources="/Pattern<</P 5 0 R>>",
            extra={5: stream(b"1 0 0 rg 0 0 10 10 re f 0 0 1 rg 10 10 10 10 re f", tile)},
        ),
        "spot colour": page_file(b"/C cs 0.7 scn 20 20 150 60 re f", resources=f"/ColorSpace<</C {spot}>>"),
        "clip": page_file(b"100 50 m 180 50 l 140 95 l 60 95 l h W n 0 0.4 0.8 rg 0 0 200 100 re f"),
        "even and odd": page_file(b"0.3 g 20 20 160 60 re 60 30 80 40 re f*"),
        "dashes": page_file(b"8 w [20 10] 0 d 10 30 m 190 30 l S 1 J 10 70 m 190 70 l S"),
        "curve": page_file(b"0.8 0.2 0.5 rg 10 10 m 60 120 140 -20 190 90 c 190 10 l f"),
        "form": page_file(
            b"q 0.5 0 0 0.5 20 20 cm /X Do Q q 0.4 0 0 0.4 110 50 cm /X Do Q",
            resources="/XObject<</X 5 0 R>>",
            extra={5: stream(SHAPES, "/Type/XObject/Subtype/Form/BBox[0 0 200 100]")},
        ),
        "annotation": page_file(
            SHAPES,
            page="/Annots[5 0 R]",
            extra={
                5: "<</Type/Annot/Subtype/Square/Rect[40 20 160 80]/F 4/AP<</N 6 0 R>>>>",
                6: stream(b"0 0.7 0.7 rg 0 0 120 60 re f", "/Type/XObject/Subtype/Form/BBox[0 0 120 60]"),
            },
        ),
        "field outside a form": field_page(),
        "several streams": page_file(SHAPES).replace(b"/Contents 4 0 R", b"/Contents[4 0 R]"),
    }
    return {f"paint: {name}": data for name, data in made.items()}


def field_page(catalogue: str = "") -> bytes:
    """A filled field, red, that stands in no form unless the catalogue says so."""
    return page_file(
        b"",
        page="/Annots[5 0 R]",
        catalogue=catalogue,
        extra={
            5: "<</Type/Annot/Subtype/Widget/FT/Tx/T(name)/V(x)/Rect[20 20 180 80]/F 4/AP<</N 6 0 R>>>>",
            6: stream(b"1 0 0 rg 0 0 160 60 re f", "/Type/XObject/Subtype/Form/BBox[0 0 160 60]"),
        },
    )


def _strip(tiff: bytes) -> bytes:
    """The one strip of a TIFF."""
    with Image.open(io.BytesIO(tiff)) as picture:
        start, count = picture.tag_v2[273][0], picture.tag_v2[279][0]  # type: ignore[attr-defined]
    return tiff[start : start + count]


def _up(rows: np.ndarray) -> bytes:
    """Rows with PNG's filter "up", each after its number."""
    flat = rows.reshape(len(rows), -1)
    lines: Sequence[np.ndarray] = [flat[0], *(flat[1:] - flat[:-1])]
    return b"".join(b"\x02" + line.astype(np.uint8).tobytes() for line in lines)


def _runs(data: bytes) -> bytes:
    """Run lengths, of literal runs alone (PDF 1.7, 7.4.5)."""
    parts = [data[i : i + 128] for i in range(0, len(data), 128)]
    return b"".join(bytes([len(part) - 1]) + part for part in parts) + b"\x80"


def nested_forms(depth: int) -> bytes:
    """Ten forms that each draw the next ten times: PDFium takes ten times the memory with each level."""
    made: dict[int, bytes | str] = {}
    for level in range(depth):
        is_last = level == depth - 1
        inner = "" if is_last else f"/XObject<</F {6 + level} 0 R>>"
        entries = f"/Type/XObject/Subtype/Form/BBox[0 0 200 200]/Resources<<{inner}>>"
        made[5 + level] = stream(b"0 0 10 10 re f" if is_last else b"/F Do " * 10, entries)
    return page_file(b"/F Do", resources="/XObject<</F 5 0 R>>", extra=made)


def many_shadings(count: int) -> bytes:
    """A page painted so many times over by a function: some 70 ms and six bytes each."""
    code = b"{ 2 copy mul 3 1 roll sin exch cos }"
    shading = "<</ShadingType 1/ColorSpace/DeviceRGB/Matrix[2000 0 0 2000 0 0]/Function 6 0 R>>"
    function = stream(code, "/FunctionType 4/Domain[0 1 0 1]/Range[0 1 0 1 0 1]")
    return page_file(
        b"/S sh " * count,
        box="[0 0 2000 2000]",
        resources="/Shading<</S 5 0 R>>",
        extra={5: shading, 6: function},
    )
