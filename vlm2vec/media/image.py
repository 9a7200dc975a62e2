"""Images from files, bytes, PIL objects and arrays to (H, W, 3) RGB."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    ImageOps,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
    features,
)

from vlm2vec.describe import shorten
from vlm2vec.errors import InputError, LimitError, MediaError, VLM2VecError, VLM2VecWarning
from vlm2vec.fork import free_after_fork
from vlm2vec.media.bmp import clear_pixels
from vlm2vec.media.deadline import Deadline
from vlm2vec.media.heard import heard, listening, note, warn_of
from vlm2vec.media.limits import Limits
from vlm2vec.media.pixels import Alpha
from vlm2vec.media.png import chunks, transparent_level, transparent_pixels, without_large_comments
from vlm2vec.media.rgb import array_size, array_to_rgb, as_array, to_rgb
from vlm2vec.media.signature import Signature
from vlm2vec.media.source import Source
from vlm2vec.media.tiff import check_directory, check_strips
from vlm2vec.media.unread import unread_kind
from vlm2vec.media.watched import WatchedFile, reading_in_steps, watched

__all__ = [
    "check_area",
    "check_bytes",
    "decoding_errors",
    "has_late_exif",
    "load_image",
    "load_picture",
    "moves",
    "open_image",
    "picture_in",
    "picture_size",
    "single_picture",
    "upright_size",
]

# Pillow's other formats are rarer than their parsers' faults. Imported here, no thread has to load them.
_PLUGINS = (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
_READING = "reading the image"
_MOST_SAID = 300  # characters of what Pillow says, which may repeat what is in the file
# Pillow holds a pointer to each row, and to resize a side it needs four weights of 8 bytes for each of its
# pixels: 3 GiB for 1 x 64 million of them. Beside rows of this many pixels that is little. Sides that a JPEG
# may have are always taken.
_NARROW_SIDE = 64
_LONG_SIDE = 65_535
# Formats whose further frames are motion; those of a TIFF are pages, those of an MPO the same picture again.
_ANIMATIONS = ("GIF", "PNG", "WEBP", "AVIF")

# What a picture of a TIFF is, and two of its bits (TIFF 6.0, section 8, NewSubfileType).
_SUBFILE_TYPE, _SMALLER, _MASK = 254, 1, 4
# Whether the samples of a TIFF count from black or from white (the same, PhotometricInterpretation).
_PHOTOMETRIC, _WHITE_IS_0 = 262, 0
# EXIF data is a TIFF's directory, of which Pillow makes objects; most have some kilobytes.
_MOST_EXIF = 2**23
_DEEP_MODES = ("I;16", "I;16B", "I", "F")

# How Pillow and libtiff say that a file is whole and of a kind that they were not made for.
_UNKNOWN_KINDS = ("Unsupported ", "not configured", "not yet supported", "not supported")
_BROKEN_JPEG = "broken data stream"  # which Pillow says of kinds that libjpeg does not know, too

# What makes a picture upright, by its EXIF orientation (EXIF 2.3, tag 0x0112).
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Reading a PIL image that was opened lazily moves its file's position and fills its caches.
_PIL_LOCK = free_after_fork(threading.Lock())


def picture_size(image: Image.Image | Any, *, limits: Limits) -> tuple[int, int]:
    """Size of a PIL image or an array as (height, width), upright, without decoding it.

    Raises:
        InputError: It has a form that is no image.
        LimitError: It is larger than a limit.
    """
    if isinstance(image, Image.Image):
        check_area(image.width, image.height, limits)
        deadline = Deadline(limits.decode_seconds, _READING)
        with listening(), _PIL_LOCK, decoding_errors(), watched(image, deadline):
            image = single_picture(image, limits, deadline)
            image.getexif()
            return upright_size(image)
    height, width = array_size(as_array(image))
    check_area(width, height, limits)
    return height, width


def load_image(
    image: Source | Image.Image | Any,
    *,
    alpha: Alpha = "drop",
    limits: Limits | None = None,
    deadline: Deadline | None = None,
) -> np.ndarray:
    """Decodes an image, turned upright as its EXIF orientation says.

    Args:
        image: A `Source`; a PIL image; or an array or tensor of shape (H, W, 3), (H, W, 4), (H, W, 1),
            (H, W), or with the channels first where that is unambiguous: uint8, bool, or floats in [0, 1].
        alpha: What happens to transparency.
        limits: Upper limits.
        deadline: Of the clip that it is a frame of; one of its own by default.

    Returns:
        Picture of shape (H, W, 3), uint8 RGB, contiguous; it may be read-only.

    Raises:
        InputError: An array or PIL image has a form that is no image.
        MediaError: The file is no image, is broken, or holds several pictures.
        LimitError: It is larger than a limit, or takes too long.

    Warns:
        VLM2VecWarning: Pillow or libtiff found something broken in it, and read on.

    Example:
        >>> load_image(Image.new("L", (3, 2), 7)).shape
        (2, 3, 3)
    """
    return np.asarray(load_picture(image, alpha=alpha, limits=limits, deadline=deadline))


def load_picture(
    image: Source | Image.Image | Any,
    *,
    alpha: Alpha = "drop",
    limits: Limits | None = None,
    deadline: Deadline | None = None,
) -> Image.Image | np.ndarray:
    """As `load_image`, without the copy from a PIL image, in RGB, to an array; `fit` takes either."""
    limits = limits or Limits()
    deadline = deadline or Deadline(limits.decode_seconds, "decoding the image")
    deadline.check()
    picture: Image.Image | np.ndarray
    with listening() as messages:
        if isinstance(image, Source):
            picture = _load_source(image, alpha, limits, deadline)
        elif isinstance(image, Image.Image):
            picture = _load_pil(image, alpha, limits, deadline)
        else:
            array = as_array(image)
            height, width = array_size(array)
            check_area(width, height, limits)
            picture = array_to_rgb(array, alpha)
    warn_of(image.describe() if isinstance(image, Source) else "a PIL image", messages, VLM2VecWarning)
    return picture


def _load_source(source: Source, alpha: Alpha, limits: Limits, deadline: Deadline) -> Image.Image:
    with _opened(source, limits, deadline) as (opened, file):
        picture = single_picture(opened, limits, deadline)
        check_strips(picture, limits)
        _decode_in_place(picture)
        reading_in_steps(picture)
        clear = None
        if alpha == "white":
            clear = clear_pixels(file) if picture.format == "BMP" else transparent_pixels(picture, file)
        picture.load()
        deadline.check()
        if clear is not None:
            picture.putalpha(Image.fromarray(np.where(clear, np.uint8(0), np.uint8(255))))
        return _to_upright_rgb(picture, _transposition(picture), alpha)


def _load_pil(image: Image.Image, alpha: Alpha, limits: Limits, deadline: Deadline) -> Image.Image:
    check_area(image.width, image.height, limits)
    with decoding_errors():
        with _PIL_LOCK, watched(image, deadline):
            image = single_picture(image, limits, deadline)
            check_strips(image, limits)
            level = transparent_level(image)
            reading_in_steps(image)
            image.load()
            transposition = _transposition(image)
        if level is not None:
            image = image.copy()  # what it says of itself is the caller's
            image.info["transparency"] = level
        return _to_upright_rgb(image, transposition, alpha)


def _to_upright_rgb(picture: Image.Image, transposition: Image.Transpose | None, alpha: Alpha) -> Image.Image:
    rgb = to_rgb(picture if transposition is None else picture.transpose(transposition), alpha)
    return ImageOps.invert(rgb) if _is_negative(picture) else rgb


def _is_negative(picture: Image.Image) -> bool:
    """Whether a TIFF has white as 0, in samples of more than 8 bits: in others Pillow turns them round."""
    if picture.format != "TIFF" or picture.mode not in _DEEP_MODES:
        return False
    tags: Any = getattr(picture, "tag_v2", {})
    return bool(tags.get(_PHOTOMETRIC) == _WHITE_IS_0)


@contextmanager
def open_image(source: Source, *, limits: Limits, deadline: Deadline | None = None) -> Iterator[Image.Image]:
    """Opens an image file and reads its header; whatever a decoder raises inside is a MediaError.

    Args:
        source: The file.
        limits: Upper limits.
        deadline: What it asks when it is read; one of its own by default.

    Raises:
        MediaError: It is no image.
        LimitError: It is larger than a limit, or takes too long.
    """
    with _opened(source, limits, deadline or Deadline(limits.decode_seconds, _READING)) as (picture, _):
        yield picture


@contextmanager
def _opened(source: Source, limits: Limits, deadline: Deadline) -> Iterator[tuple[Image.Image, BinaryIO]]:
    """The same, and the file that it is in."""
    if source.is_folder:
        raise MediaError("this is a folder, not an image", fix="Pass it as a video.")
    with source.open() as file:
        signature = source.signature_of(file)
        with picture_in(file, signature, limits=limits, deadline=deadline) as (picture, readable):
            yield picture, readable


@contextmanager
def picture_in(
    file: BinaryIO, signature: Signature | None, *, limits: Limits | None, deadline: Deadline
) -> Iterator[tuple[Image.Image, BinaryIO]]:
    """The same for the content of a file that is open already."""
    if limits is not None:
        check_bytes(file.seek(0, io.SEEK_END), limits)
    if signature is None or signature.kind != "image" or signature.label.upper() not in Image.OPEN:
        what = "an unknown format" if signature is None else signature.label
        raise MediaError(
            f"this is not an image but {what}", fix="JPEG, PNG, WebP, GIF, BMP, TIFF and AVIF are read."
        )
    asking = cast("BinaryIO", WatchedFile(file, deadline))
    with decoding_errors():
        readable = without_large_comments(asking) if signature.label == "PNG" else asking
        if signature.label == "TIFF":
            check_directory(asking)
        readable.seek(0)
    errors = decoding_errors(lambda: unread_kind(readable, signature.label.upper()))
    with listening(), errors, Image.open(readable, formats=[signature.label.upper()]) as picture:
        if limits is not None:
            check_area(picture.width, picture.height, limits)
        level = transparent_level(picture)
        if level is not None:
            picture.info["transparency"] = level
        yield picture, asking


@contextmanager
def decoding_errors(kind: Callable[[], str | None] = lambda: None) -> Iterator[None]:
    """Turns what Pillow raises on broken or hostile files, and on kinds of them, into this package's errors.

    Args:
        kind: What the file is, if it is something that Pillow does not read.
    """
    try:
        yield
    except VLM2VecError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise LimitError(
            f"Pillow refuses the image ({error})", fix="Raise PIL.Image.MAX_IMAGE_PIXELS."
        ) from error
    except Exception as error:  # decoders raise almost anything on bytes made to break them
        is_unidentified = isinstance(error, UnidentifiedImageError)  # its text holds an address in memory
        reasons = [*([] if is_unidentified else [f"{type(error).__name__}: {error}"]), *heard()[:1]]
        reason = shorten("; ".join(reasons), _MOST_SAID)
        is_unknown = any(words in reason for words in _UNKNOWN_KINDS)
        what = kind() if is_unknown or is_unidentified or _BROKEN_JPEG in reason else None
        if what is None and is_unknown:
            what = shorten(str(error), _MOST_SAID)
        if what is not None:
            raise MediaError(
                f"Pillow does not read this kind of image: {what}",
                fix="Convert it with another program, to a PNG or JPEG of 8 bits a channel.",
            ) from error
        fix = "It is damaged, cut off, or closed; open or write it again."
        if is_unidentified:
            fix = "It is damaged, cut off, or of a kind that Pillow does not read; write it again, as a PNG."
        raise MediaError(f"the image cannot be read{reason and f' ({reason})'}", fix=fix) from error


def _decode_in_place(picture: Image.Image) -> None:
    """Lets libjpeg-turbo write pixels of four bytes, as Pillow holds them, instead of spreading three."""
    if picture.format == "JPEG" and picture.mode == "RGB" and features.check_feature("libjpeg_turbo"):
        assert isinstance(picture, ImageFile.ImageFile)  # noqa: S101  # it was opened, not made
        picture.tile = [tile._replace(args=("RGBX", "")) for tile in picture.tile]


def upright_size(picture: Image.Image) -> tuple[int, int]:
    """Height and width once it is turned upright, without decoding."""
    width, height = picture.size
    # Pillow itself swaps the sides of a TIFF, and turns it when it loads.
    if picture.format != "TIFF" and _orientation(picture) >= 5:
        return width, height
    return height, width


def _transposition(picture: Image.Image) -> Image.Transpose | None:
    return _TRANSPOSITIONS.get(_orientation(picture))


def _orientation(picture: Image.Image) -> int:
    """EXIF orientation, 1 to 8, without decoding."""
    if len(picture.info.get("exif") or b"") > _MOST_EXIF:
        note("its EXIF data has more than 8 MiB, so it stays as it is turned")
        return 1
    try:
        # The getexif() of a PNG decodes it, to look for a chunk after the pixels; the base class does not.
        value = Image.Image.getexif(picture).get(ExifTags.Base.Orientation, 1)
    except Exception:  # what Pillow raises on bytes that are no EXIF data: the pixels are sound all the same
        note("its EXIF data cannot be read, so it stays as it is turned")
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def has_late_exif(picture: Image.Image) -> bool:
    """Whether a PNG, just opened, has an EXIF chunk after its pixels, from its chunks' headers alone."""
    if picture.format != "PNG" or "exif" in picture.info:
        return False
    assert isinstance(picture, ImageFile.ImageFile)  # noqa: S101  # it was opened, not made
    file: Any = picture.fp
    offset = file.tell()
    try:
        return any(name == b"eXIf" for name, _, _ in chunks(file))
    finally:
        file.seek(offset)


def moves(picture: Image.Image) -> bool:
    """Whether a GIF, PNG, WebP or AVIF has more than one frame."""
    return picture.format in _ANIMATIONS and bool(getattr(picture, "is_animated", False))


def single_picture(picture: Image.Image, limits: Limits, deadline: Deadline) -> Image.Image:
    """The one picture that an image holds, which stays as it is: mostly itself.

    Smaller copies of a picture, and masks, are not pictures of their own (TIFF 6.0, NewSubfileType). Where
    the main one comes behind them, it is another image, over the same file. One that the caller has sought
    stays.

    Raises:
        MediaError: There are several.
        LimitError: The main one is larger than a limit, or there are too many copies.
    """
    if moves(picture):
        raise MediaError("the image is animated", fix="Pass it as a video, or pass one frame of it.")
    file: Any = getattr(picture, "fp", None)
    if picture.format != "TIFF" or file is None or not getattr(picture, "is_animated", False):
        return picture
    # To count the pages of an image is to seek them, and what a caller has painted on it is lost then.
    position = file.tell()
    other: Any = Image.open(file, formats=["TIFF"])
    pages = _main_pages(other, deadline)
    shown = picture.tell() or pages[0] if len(pages) == 1 else picture.tell()
    other.seek(shown)
    file.seek(position)
    if len(pages) != 1:
        raise MediaError("the TIFF has several pages", fix="Pass its pages as single images.")
    if shown == picture.tell():
        return picture
    check_area(other.width, other.height, limits)
    opened: Image.Image = other
    return opened


def _main_pages(picture: Any, deadline: Deadline) -> list[int]:
    """Numbers of a TIFF's first two pictures that are neither smaller copies nor masks.

    No more pages are read than that takes: Pillow counts them in the square of their number.
    """
    pages: list[int] = []
    count = 0
    while len(pages) < 2:
        deadline.check()
        if count and picture.tag_v2.next:
            check_directory(picture.fp, picture.tag_v2.next)
        try:
            picture.seek(count)
        except EOFError:
            break
        if not int(picture.tag_v2.get(_SUBFILE_TYPE, 0)) & (_SMALLER | _MASK):
            pages.append(count)
        count += 1
    return pages


def check_bytes(size: int, limits: Limits) -> None:
    """Raises LimitError for an image file of too many bytes."""
    if size > limits.max_image_bytes:
        raise LimitError(
            f"the image file has {size:,} bytes, more than {limits.max_image_bytes:,}",
            fix="Raise Limits.max_image_bytes.",
        )


def check_area(width: int, height: int, limits: Limits) -> None:
    """Raises LimitError for too many pixels, or a side that costs more than they do; InputError for none."""
    if width < 1 or height < 1:
        raise InputError(f"the image is {width} x {height} pixels", fix="Pass one with at least one pixel.")
    if width * height > limits.max_image_pixels:
        raise LimitError(
            f"the image is {width} x {height}, more than {limits.max_image_pixels:,} pixels",
            fix="Make it smaller, or raise Limits.max_image_pixels.",
        )
    longest = max(_LONG_SIDE, limits.max_image_pixels // _NARROW_SIDE)
    if max(width, height) > longest:
        raise LimitError(
            f"the image is {width} x {height}, and more than {longest:,} pixels on a side take much memory",
            fix="Crop it, or raise Limits.max_image_pixels.",
        )
