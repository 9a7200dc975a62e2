"""Pictures, clips and PDFs: to a vector of the model inside the package."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .formats import damaged_file
from .reader import Case, Reader, WrongResultError, each_file

__all__ = ["check_vectors", "image", "pdf", "video"]

sys.path.append(str(Path(__file__).parents[1] / "media"))

_DECODE_SECONDS = 2.0
_SECONDS = 2 * 1.5 * _DECODE_SECONDS + 1.0  # twice, and what the model takes
_ALIKE = 1e-6


def _images() -> list[Case]:
    from media_making import image_bytes, random_picture
    from PIL import Image, features
    from png_making import png

    picture = random_picture(48, 40)
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {
        "rgb.png": image_bytes(picture),
        "alpha.png": image_bytes(picture.convert("RGBA")),
        "palette.png": image_bytes(picture.convert("P"), transparency=3),
        "deep.png": image_bytes(Image.fromarray(np.arange(48 * 40, dtype=np.uint16).reshape(40, 48))),
        "clear.png": png(np.asarray(picture), 2, 8, clear=[1, 2, 3]),
        "exif.png": image_bytes(picture, exif=exif),
        "base.jpg": image_bytes(picture, "JPEG"),
        "progressive.jpg": image_bytes(picture, "JPEG", progressive=True, exif=exif),
        "cmyk.jpg": image_bytes(picture.convert("CMYK"), "JPEG"),
        "grey.jpg": image_bytes(picture.convert("L"), "JPEG"),
        "one.gif": image_bytes(picture, "GIF"),
        "lossy.webp": image_bytes(picture, "WEBP"),
        "lossless.webp": image_bytes(picture.convert("RGBA"), "WEBP", lossless=True, exif=exif),
        "rgb.bmp": image_bytes(picture, "BMP"),
        "palette.bmp": image_bytes(picture.convert("P"), "BMP"),
        "raw.tif": image_bytes(picture, "TIFF"),
        "lzw.tif": image_bytes(picture, "TIFF", compression="tiff_lzw"),
        "fax.tif": image_bytes(picture.convert("1"), "TIFF", compression="group4"),
        "jpeg.tif": image_bytes(picture, "TIFF", compression="jpeg"),
        "pages.tif": image_bytes(picture, "TIFF", save_all=True, append_images=[picture]),
        "two.mpo": image_bytes(picture, "MPO", save_all=True, append_images=[picture]),
    }
    if features.check("avif"):
        files["still.avif"] = image_bytes(picture, "AVIF")
    return [{name: data} for name, data in files.items()]


def _videos() -> list[Case]:
    import av
    from media_making import clip_bytes, image_bytes, random_picture

    frames = [random_picture(32, 24, seed) for seed in range(5)]
    moving = {"save_all": True, "append_images": frames[1:], "duration": 80}
    files = {
        "h264.mp4": clip_bytes(count=12, gop=5),
        "sound.mp4": clip_bytes(count=8, audio=True),
        "fragments.mp4": clip_bytes(count=12, gop=4, muxer={"movflags": "frag_keyframe+empty_moov"}),
        "moving.gif": image_bytes(frames[0], "GIF", **moving),
        "moving.png": image_bytes(frames[0], "PNG", **moving),
        "moving.webp": image_bytes(frames[0], "WEBP", **moving),
    }
    for name, container, codec in (
        ("h264.mkv", "matroska", "libx264"),
        ("h264.ts", "mpegts", "libx264"),
        ("h264.flv", "flv", "libx264"),
        ("mpeg4.avi", "avi", "mpeg4"),
        ("mpeg1.mpg", "mpeg", "mpeg1video"),
        ("vp8.webm", "webm", "libvpx"),
        ("vp9.webm", "webm", "libvpx-vp9"),
        ("hevc.mp4", "mp4", "libx265"),
        ("mjpeg.mov", "mov", "mjpeg"),
        ("theora.ogg", "ogg", "libtheora"),
        ("wmv2.asf", "asf", "wmv2"),
        ("raw.y4m", "yuv4mpegpipe", "rawvideo"),
        ("ffv1.nut", "nut", "ffv1"),
        ("h264.h264", "h264", "libx264"),
    ):
        if codec in av.codecs_available:
            pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            size = (96, 64) if codec == "libx265" else (48, 32)  # x265 breaks the heap on smaller frames
            files[name] = clip_bytes(container, codec, count=10, gop=4, size=size, pixel_format=pixels)
    return [{name: data} for name, data in files.items()]


def _pdfs() -> list[Case]:
    from media_making import encrypted_pdf_bytes, pdf_bytes
    from pdf_making import features, pages_file
    from PIL import Image

    typeset = io.BytesIO()
    page = Image.new("RGB", (60, 80), "white")
    page.save(typeset, "PDF", save_all=True, append_images=[page])
    files = {
        "typeset": typeset.getvalue(),
        "blank": pdf_bytes((200, 100), (100, 300)),
        "closed": encrypted_pdf_bytes("secret"),
        "open": encrypted_pdf_bytes(""),
        "three": pages_file("3"),
        "many": pages_file("9"),
        "nested": _nested(depth=3, times=4),
        **{name: data for name, data in features().items() if len(data) < 40_000},
    }
    return [{f"{name}.pdf".replace("/", " "): data} for name, data in files.items()]


def _nested(*, depth: int, times: int) -> bytes:
    """A page with a form that draws another form several times, which draws another, and so on."""
    from pdf_making import SHAPES, page_file, stream

    entries = "/Type/XObject/Subtype/Form/BBox[0 0 200 100]/Resources<</XObject<</I {} 0 R>>>>"
    forms = {
        5 + level: stream(b"/I Do " * times if level < depth else SHAPES, entries.format(6 + level))
        for level in range(depth + 1)
    }
    return page_file(b"/I Do", resources="/XObject<</I 5 0 R>>", extra=forms)


def _start() -> Callable[[Path], None]:
    from vlm2vec import Limits, VLM2Vec
    from vlm2vec.errors import VLM2VecError

    model = VLM2Vec(device="cpu", limits=Limits(decode_seconds=_DECODE_SECONDS))
    model.encode("a text, so that the first case does not pay for what is loaded once")

    def read(folder: Path) -> None:
        """Read it twice, from memory and from the disk: both must come to the same."""
        (path,) = folder.iterdir()
        errors: list[VLM2VecError] = []
        vectors = model.encode([path.read_bytes(), path], on_error=lambda _, error: errors.append(error))
        if len(errors) == 1:
            raise WrongResultError(f"read once, and refused once ({errors[0]})")
        if errors:
            raise errors[0]
        check_vectors(vectors, 2)
        if np.abs(vectors[0] - vectors[1]).max() > _ALIKE:
            raise WrongResultError("two vectors of one file")

    return read


def check_vectors(vectors: np.ndarray, count: int | None, *, failed: bool = False) -> None:
    """Raise `WrongResultError` unless each row is finite and of unit length.

    Args:
        vectors: `(n, dim)`, or `(dim,)`.
        count: How many there must be; `None` for one without a list.
        failed: Whether a row may be NaN as a whole.
    """
    if vectors.ndim != (1 if count is None else 2) or (count is not None and len(vectors) != count):
        raise WrongResultError(f"vectors of shape {vectors.shape}")
    rows = np.atleast_2d(vectors)
    good = np.isfinite(rows).all(axis=1)
    if not failed and not good.all():
        raise WrongResultError("a vector is not finite")
    if failed and not (good | np.isnan(rows).all(axis=1)).all():
        raise WrongResultError("a vector is finite in part")
    if not np.allclose(np.linalg.norm(rows[good], axis=1), 1, atol=1e-5):
        raise WrongResultError("a vector is not of unit length")


image = Reader(_images, each_file(damaged_file), _start, _SECONDS, 50)
video = Reader(_videos, each_file(damaged_file), _start, _SECONDS, 40)
pdf = Reader(_pdfs, each_file(damaged_file), _start, _SECONDS, 20)
