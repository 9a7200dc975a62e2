"""What a TIFF's directories would make Pillow and libtiff do, found before they start: they ask nobody."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

from vlm2vec.errors import LimitError, MediaError
from vlm2vec.media.limits import Limits

__all__ = ["check_directory", "check_strips"]

# Of a directory, Pillow makes an object of each value, and of each strip and tile one more.
_MOST_VALUES = 2**20
# Tags of how pixels lie in the file (TIFF 6.0, sections 8 and 15), and the types that their numbers have.
_STRIPS, _STRIP_BYTES, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 273, 279, 322, 323, 324, 325
_LAYOUT = (_STRIPS, _STRIP_BYTES, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES)
_NUMBERS = (1, 3, 4, 16)  # BYTE, SHORT, LONG and LONG8
_KEPT = (1, 2, 7)  # BYTE, ASCII and UNDEFINED, whose values stay bytes
# libtiff unpacks whole tiles, and reads all bytes of each strip: several may be the same ones of the file.
_TILED = 2  # times the pixels that a picture may have, or by default might
_READ_AGAIN = 4  # times the bytes of the file, or of one of 64 MiB
_FIX = "Write it again, in larger strips or tiles."


def check_directory(file: BinaryIO, offset: int | None = None) -> None:
    """Refuses a directory with more values than Pillow should make objects of.

    Args:
        file: A TIFF; its position moves.
        offset: Where the directory is; the first one by default.

    Raises:
        MediaError: A tag of it has more than a million values, or where its pixels are is no whole number.
    """
    file.seek(0)
    head = file.read(16)
    order, is_big = "<" if head[:2] == b"II" else ">", b"\x2b" in head[2:4]
    start, counter, entry = (8, "Q", "HHQ8x") if is_big else (4, "H", "HHI4x")
    try:
        if offset is None:
            (offset,) = struct.unpack_from(f"{order}{'Q' if is_big else 'I'}", head, start)
        file.seek(offset)
        (count,) = struct.unpack(f"{order}{counter}", file.read(struct.calcsize(counter)))
        size = struct.calcsize(f"{order}{entry}")
        data = file.read(size * count)
    except (struct.error, OSError, OverflowError):
        return  # it is cut off, which Pillow says
    for tag, kind, values in struct.iter_unpack(f"{order}{entry}", data[: len(data) // size * size]):
        if tag in _LAYOUT and kind not in _NUMBERS:
            # Pillow and libtiff may read another of the same tag then, and not the same one.
            raise MediaError(f"the TIFF says by no whole number where its pixels are (tag {tag})", fix=_FIX)
        if values > _MOST_VALUES and (kind not in _KEPT or tag in (_STRIPS, _TILES)):
            raise MediaError(
                f"the TIFF lists {values:,} values under one tag ({tag}), more than {_MOST_VALUES:,}",
                fix=_FIX,
            )


def check_strips(picture: Any, limits: Limits) -> None:
    """Refuses a TIFF, opened and not loaded, whose strips or tiles are far more work than its pixels.

    Raises:
        LimitError: Its tiles reach far beyond the picture, or its strips are read over and over.
    """
    if picture.format != "TIFF" or not picture.tile or picture.tile[0].codec_name != "libtiff":
        return
    tags = picture.tag_v2
    _, _, width, height = picture.tile[0].extents
    sides = [_number(tags.get(tag)) for tag in (_TILE_WIDTH, _TILE_HEIGHT)]
    if all(sides):
        wide, high = (-(-whole // side) * side for whole, side in zip((width, height), sides, strict=True))
        most = _TILED * max(limits.max_image_pixels, Limits.max_image_pixels)
        if wide * high > most:
            raise LimitError(
                f"the tiles of the image cover {wide} x {high}, more than {most:,} pixels",
                fix="Write it with smaller tiles, or raise Limits.max_image_pixels.",
            )
    file = picture.fp
    position = file.tell()
    size = file.seek(0, 2)
    file.seek(position)
    counts = (*tags.get(_STRIP_BYTES, ()), *tags.get(_TILE_BYTES, ()))
    if not counts:  # libtiff takes all that is there
        counts = (size,) * (len(tags.get(_STRIPS, ())) + len(tags.get(_TILES, ())))
    read = sum(min(count, size) for count in counts)
    if read > _READ_AGAIN * max(size, Limits.max_image_bytes):
        raise LimitError(
            f"the strips of the image have {read:,} bytes together, in a file of {size:,}", fix=_FIX
        )


def _number(value: Any) -> int:
    """A whole number above 0, which Pillow gives as bytes if it is of the type BYTE; 0 for anything else."""
    if isinstance(value, bytes):
        value = int.from_bytes(value, "little")
    return max(0, value) if isinstance(value, int) else 0
