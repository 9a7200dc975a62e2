"""What a file is, read from its first bytes: the name of a file proves nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["HEAD_BYTES", "Kind", "Signature", "recognise"]

Kind = Literal["image", "video", "pdf", "text"]

# A PDF header may follow up to 1,024 bytes of something else (PDF 1.7, implementation note 13), and in real
# files follows more.
HEAD_BYTES = 2048


@dataclass(frozen=True)
class Signature:
    """A file's kind and format.

    Attributes:
        kind: What it can be embedded as; `None` for a known format that cannot be embedded.
        label: The format's usual name.
    """

    kind: Kind | None
    label: str


# (offset, bytes, what it is): the first match counts.
_TABLE: tuple[tuple[int, bytes, Signature], ...] = (
    (0, b"\xff\xd8\xff", Signature("image", "JPEG")),
    (0, b"\x89PNG\r\n\x1a\n", Signature("image", "PNG")),
    (0, b"GIF8", Signature("image", "GIF")),
    (0, b"II*\0", Signature("image", "TIFF")),
    (0, b"MM\0*", Signature("image", "TIFF")),
    (0, b"II+\0", Signature("image", "TIFF")),
    (0, b"MM\0+", Signature("image", "TIFF")),
    (0, b"\x1a\x45\xdf\xa3", Signature("video", "Matroska")),
    (0, b"\x00\x00\x01\xba", Signature("video", "MPEG-PS")),
    (0, b"\x00\x00\x01\xb3", Signature("video", "MPEG video")),
    (0, b"\x00\x00\x01\xb0", Signature("video", "MPEG-4 video")),
    (0, b"\x00\x00\x00\x01Bud1", Signature(None, "macOS .DS_Store")),
    (0, b"\x00\x00\x00\x01", Signature("video", "raw video")),
    (0, b"\x00\x00\x01", Signature("video", "raw video")),
    (0, b"FLV\x01", Signature("video", "FLV")),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Signature("video", "ASF")),
    (0, b"OggS", Signature("video", "Ogg")),
    (0, b"YUV4MPEG2", Signature("video", "Y4M")),
    (0, b"DKIF", Signature("video", "IVF")),
    (0, b"\x06\x0e\x2b\x34\x02\x05\x01\x01", Signature("video", "MXF")),
    (0, b".RMF", Signature("video", "RealMedia")),
    (0, b"nut/multimedia container\0", Signature("video", "NUT")),
    (4, b"moov", Signature("video", "QuickTime")),
    (4, b"mdat", Signature("video", "QuickTime")),
    (4, b"wide", Signature("video", "QuickTime")),
    (4, b"skip", Signature("video", "QuickTime")),
    (4, b"free", Signature("video", "QuickTime")),
    (0, b"ID3", Signature(None, "MP3 audio")),
    (0, b"\xff\xfb", Signature(None, "MP3 audio")),
    (0, b"fLaC", Signature(None, "FLAC audio")),
    (0, b"8BPS", Signature(None, "Photoshop")),
    (0, b"PK\x03\x04", Signature(None, "ZIP or Office")),
    (0, b"\x1f\x8b", Signature(None, "gzip")),
    (0, b"{\\rtf", Signature(None, "RTF")),
    (0, b"#EXTM3U", Signature(None, "HLS playlist")),
    (0, b"%!PS", Signature(None, "PostScript")),
    (0, b"\x00\x00\x00\x0cjP  ", Signature(None, "JPEG 2000")),
    (0, b"\xff\x4f\xff\x51", Signature(None, "JPEG 2000")),
)

# Sizes of the header behind a BMP file's own, one for each version; the file's own has no safe mark but "BM".
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)

# What a RIFF file (bytes 8 to 12) and an ISO base media file (its major brand) hold.
_RIFF = {
    b"WEBP": Signature("image", "WebP"),
    b"AVI ": Signature("video", "AVI"),
    b"WAVE": Signature(None, "WAV audio"),
}
_BRANDS = {
    b"avif": Signature("image", "AVIF"),
    b"avis": Signature("image", "AVIF"),
    b"heic": Signature(None, "HEIC"),
    b"heix": Signature(None, "HEIC"),
    b"hevc": Signature(None, "HEIC"),
    b"mif1": Signature(None, "HEIC"),
    b"msf1": Signature(None, "HEIC"),
    b"M4A ": Signature(None, "M4A audio"),
}


def recognise(head: bytes) -> Signature | None:
    """The signature of a file that starts with `head`; `None` when nothing matches.

    Args:
        head: The first `HEAD_BYTES` bytes, or all if there are fewer.

    Example:
        >>> recognise(b"%PDF-1.7")
        Signature(kind='pdf', label='PDF')
        >>> recognise(b"Dear reader") is None
        True
    """
    if head[:4] == b"RIFF" and head[8:12] in _RIFF:
        return _RIFF[head[8:12]]
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    if _is_icon(head):
        return Signature(None, "Windows icon" if head[2] == 1 else "Windows cursor")
    for offset, magic, signature in _TABLE:
        if head.startswith(magic, offset):
            return signature
    if _is_transport_stream(head):
        return Signature("video", "MPEG-TS")
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return Signature("image", "BMP")
    if b"%PDF-" in head:
        return Signature("pdf", "PDF")
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        return _markup(head)
    return None


def _iso_media(head: bytes) -> Signature:
    """An ISO base media file: AVIF by any of its brands, the rest by the major one."""
    size = int.from_bytes(head[:4], "big")
    brands = [head[8:12], *(head[i : i + 4] for i in range(16, min(size, len(head)), 4))]
    if b"avif" in brands or b"avis" in brands:
        return _BRANDS[b"avif"]
    return _BRANDS.get(brands[0], Signature("video", "MP4"))


def _is_icon(head: bytes) -> bool:
    """Icons or cursors, whose start is that of raw video: a count, and the first one behind all entries."""
    count, offset = int.from_bytes(head[4:6], "little"), int.from_bytes(head[18:22], "little")
    is_folder = head[:4] in (b"\0\0\1\0", b"\0\0\2\0") and head[9:10] == b"\0"
    return is_folder and 0 < count <= (offset - 6) // 16


def _is_transport_stream(head: bytes) -> bool:
    """Packets of 188 bytes that start with 0x47; Blu-ray puts four bytes before each."""
    return any(
        len(head) > first + step and all(head[i] == 0x47 for i in range(first, len(head), step))
        for first, step in ((0, 188), (4, 192))
    )


def _markup(head: bytes) -> Signature:
    text = head.lower()
    if b"<svg" in text:
        return Signature(None, "SVG")
    return Signature(None, "web page (HTML)" if b"<html" in text or b"<!doctype" in text else "XML")
