"""Damage that knows a format, so that it comes further than the first check of a length or a checksum."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from random import Random

from .mutations import INTEGERS, damaged, damaged_text, damaged_tree

__all__ = ["damaged_file", "damaged_safetensors"]


_SELDOM = 0.1


def damaged_file(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """A medium with damage of its own format, or of any."""
    known = next((change for magic, change in _FORMATS if magic.match(data)), None)
    if known is not None and rng.random() < 0.6:
        data = known(data, rng, others)
        return data if rng.random() < 0.7 else damaged(data, rng, others)
    return damaged(data, rng, others)


def _png(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Chunks changed, lost, doubled or moved; their checksums are right."""
    chunks, place = [], 8
    while place + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, place)
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + size]))
        place += 12 + size
    chunks = _shuffled(chunks, rng, others, _inflated)
    return data[:8] + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def _inflated(body: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Other bytes; of compressed ones, what is in them, compressed again."""
    if rng.random() < 0.5:
        try:
            return zlib.compress(damaged(zlib.decompress(body), rng, others), 1)
        except zlib.error:
            pass
    return damaged(body, rng, others)


def _shuffled(
    chunks: list[tuple[bytes, bytes]],
    rng: Random,
    others: Sequence[bytes],
    change: Callable[[bytes, Random, Sequence[bytes]], bytes],
) -> list[tuple[bytes, bytes]]:
    if not chunks:
        return chunks
    index = rng.randrange(len(chunks))
    name, body = chunks[index]
    action = rng.randrange(6)
    if action < 3:
        chunks[index] = (name, change(body, rng, others))
    elif action == 3:
        chunks[index:index] = [(name, body)] * rng.choice((1, 1, 100))
    elif action == 4:
        del chunks[index]
    else:
        chunks.insert(rng.randrange(len(chunks)), chunks.pop(index))
    return chunks


def _jpeg(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Segments changed, lost, doubled or moved; their lengths are right."""
    segments, place = [], 2
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != 0xDA:
        (size,) = struct.unpack_from(">H", data, place + 2)
        segments.append((data[place : place + 2], data[place + 4 : place + 2 + size]))
        place += 2 + size
    rest = data[place:]
    if rng.random() < _SELDOM and (scan := rest.rfind(b"\xff\xda")) >= 0:  # the last scan, over and over
        rest = rest[:-2] + rest[scan:-2] * rng.choice((1, 30, 3000)) + rest[-2:]
    segments = _shuffled(segments, rng, others, damaged)
    return (
        data[:2]
        + b"".join(
            name + struct.pack(">H", min(len(body) + 2, 65535)) + body[:65533] for name, body in segments
        )
        + rest
    )


def _riff(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Chunks of WebP and AVI."""
    chunks, place = [], 12
    while place + 8 <= len(data):
        (size,) = struct.unpack_from("<I", data, place + 4)
        chunks.append((data[place : place + 4], data[place + 8 : place + 8 + size]))
        place += 8 + size + size % 2
    chunks = _shuffled(chunks, rng, others, damaged)
    body = b"".join(
        name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2) for name, body in chunks
    )
    return data[:4] + struct.pack("<I", len(body) + 4) + data[8:12] + body


def _tiff(data: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    """A field of the first directory with another tag, type, count or value."""
    order = "<" if data[:2] == b"II" else ">"
    content = bytearray(data)
    try:
        (first,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, first)
        entry = first + 2 + 12 * rng.randrange(max(count, 1))
        place, kind = rng.choice(((0, "H"), (2, "H"), (4, "I"), (8, "I"), (8, "I")))
        value = rng.choice((*INTEGERS, rng.randrange(300), first, len(data)))
        if rng.random() < 0.1:
            entry, place, kind = first + 2 + 12 * count, 0, "I"  # where the next directory is
        struct.pack_into(f"{order}{kind}", content, entry + place, value % (65536 if kind == "H" else 2**32))
    except struct.error:
        pass
    return bytes(content)


_BOXES = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"meta", b"iprp", b"ipco", b"moof", b"traf"}


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, bytes]]:
    """Start, end and name of each box of an ISO base media file."""
    while start + 8 <= end:
        size, name = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8]
        stop = min(start + size, end) if size >= 8 else end
        yield start, stop, name
        if name in _BOXES:
            yield from _boxes(data, start + (12 if name == b"meta" else 8), stop)
        start = stop


def _iso(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """A box with another size, name or number in it, or lost, doubled, or in the place of another."""
    boxes = [box for box in _boxes(data, 0, len(data)) if box[2] != b"mdat" or rng.random() < 0.1]
    if not boxes:
        return damaged(data, rng, others)
    content = bytearray(data)
    start, stop, _ = rng.choice(boxes)
    action = rng.randrange(8)
    if action == 0:
        content[start : start + 4] = (rng.choice((*INTEGERS, stop - start + 1)) % 2**32).to_bytes(4, "big")
    elif action == 1:
        content[start + 4 : start + 8] = rng.choice((b"free", b"stsz", b"elst", rng.choice(boxes)[2]))
    elif action == 2:
        other = rng.choice(boxes)
        content[start:stop] = data[other[0] : other[1]]
    elif action == 3:
        content[stop:stop] = data[start:stop] * rng.choice((1, 20))
    else:
        for _ in range(rng.choice((1, 1, 3))):
            place = min(
                start + 8 + 4 * rng.randrange(max((min(stop, start + 200) - start - 8) // 4, 1)), len(data)
            )
            content[place : place + 4] = (rng.choice((*INTEGERS, rng.randrange(99))) % 2**32).to_bytes(
                4, "big"
            )
    return bytes(content)


_PDF_WORDS = tuple(
    (
        b"obj endobj stream endstream xref trailer startxref Type Pages Page Kids Count Parent "
        b"MediaBox CropBox UserUnit Rotate Contents Resources XObject Form Image Font Pattern "
        b"Shading ColorSpace Encrypt Length Filter FlateDecode DCTDecode JPXDecode LZWDecode "
        b"ASCIIHexDecode RunLengthDecode CCITTFaxDecode Predictor Columns Colors BitsPerComponent "
        b"Width Height SMask Mask Decode Index N First ObjStm XRef Root Info ID Annots AP BBox "
        b"Matrix Group Widths FirstChar LastChar Encoding ToUnicode DescendantFonts FontFile2 Do q "
        b"Q cm re f S W n BT ET Tj Td Tf sh gs rg scn null true false R "
    ).split()
)
_REFERENCE, _OBJECT = re.compile(rb"(\d+) 0 R"), re.compile(rb"\d+ 0 obj.*?endobj\n?", re.DOTALL)


def _pdf(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Objects that refer to others, are lost, doubled or taken from elsewhere; other numbers and names."""
    action = rng.randrange(6)
    objects = list(_OBJECT.finditer(data))
    if action == 0 and (found := list(_REFERENCE.finditer(data))):
        one = rng.choice(found)
        return data[: one.start(1)] + str(rng.randrange(len(objects) + 2)).encode() + data[one.end(1) :]
    if action == 1 and objects:
        one = rng.choice(objects)
        return data[: one.start()] + data[one.end() :]
    if action == 2 and objects and others:
        one = rng.choice(objects)
        foreign = [found[0] for found in _OBJECT.finditer(rng.choice(others))] or [one[0]]
        return data[: one.end()] + rng.choice(foreign) + data[one.end() :]
    if action == 3 and objects:
        one = rng.choice(objects)
        return data[: one.start()] + damaged(one[0], rng, others) + data[one.end() :]
    return damaged_text(data, rng, _PDF_WORDS)


_FORMATS: tuple[tuple[re.Pattern[bytes], Callable[[bytes, Random, Sequence[bytes]], bytes]], ...] = (
    (re.compile(rb"\x89PNG"), _png),
    (re.compile(rb"\xff\xd8"), _jpeg),
    (re.compile(rb"RIFF"), _riff),
    (re.compile(rb"II\*\0|MM\0\*"), _tiff),
    (re.compile(rb"....ftyp", re.DOTALL), _iso),
    (re.compile(rb"%PDF"), _pdf),
)


def damaged_safetensors(data: bytes, rng: Random, others: Sequence[bytes] = ()) -> bytes:
    """A file of weights whose header lies, of types, shapes, places, its length; or with other numbers."""
    (size,) = struct.unpack_from("<Q", data)
    header, weights = data[8 : 8 + size], data[8 + size :]
    action = rng.randrange(10)
    if action < 5:
        tree = json.loads(header)
        kinds = ("F64", "F32", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "F4", "C64", "X")
        tree = damaged_tree(
            tree, rng, (*kinds, *INTEGERS, [0, 0], [0, 1], [2**40, 4], [0, 2**63], None, {}, "")
        )
        header = json.dumps(tree).encode("utf-8", "surrogatepass")
    elif action == 5:
        header = damaged(header, rng, others)
    elif action == 6:
        return (rng.choice((*INTEGERS, size + 1, len(data))) % 2**64).to_bytes(8, "little") + data[8:]
    elif action == 7:
        return damaged(data, rng, others)
    else:
        content = bytearray(weights)
        for _ in range(rng.choice((1, 8, 200))):
            place = 4 * rng.randrange(max(len(content) // 4, 1))
            content[place : place + 4] = rng.choice(
                (b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xff\xff\x7f\x7f", b"\xff" * 4)
            )
        weights = bytes(content)
    return struct.pack("<Q", len(header)) + header + weights
