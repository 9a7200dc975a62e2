"""Which files can be read here: kinds of pictures, codecs of clips, and PDFs with the fonts they name."""

from __future__ import annotations

import warnings
from typing import Any

import av
from PIL import features
from pypdfium2 import PDFIUM_INFO

from vlm2vec.errors import VLM2VecError, VLM2VecWarning
from vlm2vec.media.documents import page_count, render_page
from vlm2vec.media.limits import Limits
from vlm2vec.media.pixels import PixelRules
from vlm2vec.media.readers import readers
from vlm2vec.media.source import Source

__all__ = ["images", "pdfs", "videos"]

_PICTURES = {
    "JPEG": "jpg",
    "PNG": "zlib",
    "WebP": "webp",
    "AVIF": "avif",
    "JPEG 2000": "jpg_2000",
    "TIFF": "libtiff",
}
_CODECS = {
    "H.264": ("h264",),
    "H.265": ("hevc",),
    "VP8": ("vp8",),
    "VP9": ("vp9",),
    "AV1": ("libdav1d", "libaom-av1", "av1"),
    "MPEG-4": ("mpeg4",),
    "MPEG-2": ("mpeg2video",),
    "ProRes": ("prores",),
    "Motion JPEG": ("mjpeg",),
}
# Of each script a font that is in no file, its encoding and order of characters, and three of these.
_FONTS = {
    "Chinese": (b"STSong-Light", b"UniGB-UCS2-H", b"GB1", b"<4E2D65876587>"),
    "Japanese": (b"HeiseiMin-W3", b"UniJIS-UCS2-H", b"Japan1", b"<65E5672C8A9E>"),
    "Korean": (b"HYSMyeongJo-Medium", b"UniKS-UCS2-H", b"Korea1", b"<D55CAE00D55C>"),
}


def images() -> dict[str, bool]:
    """Of each kind of picture, whether Pillow reads it here."""
    return {name: bool(features.check(feature)) for name, feature in _PICTURES.items()}


def videos() -> dict[str, Any]:
    """The version of FFmpeg, and of each codec whether it is decoded here."""
    codecs = {name: any(one in av.codecs_available for one in decoders) for name, decoders in _CODECS.items()}
    return {"ffmpeg": av.ffmpeg_version_info, "codecs": codecs}


def pdfs() -> dict[str, Any]:
    """PDFium's version, how PDFs are read, and of each script whether fonts that a file only names are there.

    A page in each of these fonts is drawn. "error" says why none can be, where that is so.
    """
    limits = Limits()
    found: dict[str, Any] = {
        "pdfium": str(PDFIUM_INFO.build),
        "reader_memory_gib": limits.reader_memory / 2**30,
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what "no_readers" says; no font is lacking for that
            page_count(Source.from_bytes(_page(*_FONTS["Chinese"])))
        found["fonts"] = {script: _is_drawn(*font) for script, font in _FONTS.items()}
    except (VLM2VecError, OSError) as error:
        found["error"] = str(error)
    found["readers"] = len(readers().pids)
    if not found["readers"]:
        found["no_readers"] = readers().why_none or "those that were started have ended"
    return found


def _is_drawn(font: bytes, encoding: bytes, order: bytes, text: bytes) -> bool:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        picture = render_page(Source.from_bytes(_page(font, encoding, order, text)), 1, PixelRules())
    is_dark = bool((picture < 128).any())
    return is_dark and not any(issubclass(each.category, VLM2VecWarning) for each in said)


def _page(font: bytes, encoding: bytes, order: bytes, text: bytes) -> bytes:
    """A PDF of one page with a text in a font that is not in it."""
    content = b"BT /F 60 Tf 10 30 Td %s Tj ET" % text
    objects = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
        b"<</Length %d>>\nstream\n%s\nendstream" % (len(content), content),
        b"<</Type/Font/Subtype/Type0/BaseFont/%s/Encoding/%s/DescendantFonts[6 0 R]>>" % (font, encoding),
        b"<</Type/Font/Subtype/CIDFontType0/BaseFont/%s/FontDescriptor 7 0 R"
        b"/CIDSystemInfo<</Registry(Adobe)/Ordering(%s)/Supplement 2>>>>" % (font, order),
        b"<</Type/FontDescriptor/FontName/%s/Flags 6/FontBBox[0 -200 1000 900]"
        b"/ItalicAngle 0/Ascent 800/Descent -200/StemV 80>>" % font,
    )
    written = bytearray(b"%PDF-1.7\n")
    starts = []
    for number, content in enumerate(objects, start=1):
        starts.append(len(written))
        written += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % start for start in starts)
    end = b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table)
    trailer = b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(written))
    return bytes(written) + end + trailer
