"""Indices that take FFmpeg hours to put in order."""

import io
import struct

import numpy as np
import pytest
from media_making import clip_bytes, decode_all

from vlm2vec.media.container import ClipFile
from vlm2vec.media.deadline import Deadline
from vlm2vec.media.limits import Limits
from vlm2vec.media.matroska import has_long_index
from vlm2vec.media.sampling import uniform_indices
from vlm2vec.media.source import Source
from vlm2vec.media.video import read_frames

SEGMENT, CLUSTER = bytes.fromhex("18538067"), bytes.fromhex("1f43b675")
ENTRIES = 60_000


def element(name: str, *content: bytes) -> bytes:
    joined = b"".join(content)
    return bytes.fromhex(name) + struct.pack(">Q", len(joined) | 1 << 56) + joined


def index() -> bytes:
    """Entries from the last to the first."""

    def entry(i: int) -> bytes:
        place = element("b7", element("f7", b"\1"), element("f1", b"\0"))
        return element("bb", element("b3", struct.pack(">I", ENTRIES - i)), place)

    return element("1c53bb6b", *map(entry, range(ENTRIES)))


def in_front(data: bytes) -> bytes:
    """The file with a long index before its first cluster."""
    cluster = data.index(CLUSTER)
    return opened(data) + data[content(data) : cluster] + index() + data[cluster:]


def at_the_end(data: bytes) -> bytes:
    """The file with a long index behind all, to which a table at its front leads."""

    def table(place: int) -> bytes:
        name, number = element("53ab", bytes.fromhex("1c53bb6b")), element("53ac", struct.pack(">Q", place))
        return element("114d9b74", element("4dbb", name, number))

    rest = data[content(data) :]
    return opened(data) + table(len(table(0)) + len(rest)) + rest + index()


def content(data: bytes) -> int:
    return data.index(SEGMENT) + 12


def opened(data: bytes) -> bytes:
    """The start of the file, which does not say how long it is."""
    return data[: data.index(SEGMENT)] + SEGMENT + b"\x01" + b"\xff" * 7


@pytest.mark.parametrize("changed", [in_front, at_the_end])
def test_a_long_index_is_seen_and_left_unread(changed):
    data = clip_bytes("matroska")
    assert not has_long_index(io.BytesIO(data))
    assert has_long_index(io.BytesIO(changed(data)))
    source = Source.from_bytes(changed(data))
    with ClipFile(source, limits=Limits(), deadline=Deadline(60, "reading")) as clip:
        clip.container.seek(0, stream=clip.stream)
        assert len(clip.stream.index_entries) < 1000
    everything = decode_all(data)
    frames = read_frames(source).frames
    assert all(np.array_equal(a, everything[i]) for a, i in zip(frames, uniform_indices(60, 8), strict=True))


def test_an_index_that_flv_brings_is_left_unread():
    def text(word: str) -> bytes:
        return struct.pack(">H", len(word)) + word.encode()

    def numbers(values: range) -> bytes:
        return b"\x0a" + struct.pack(">I", len(values)) + b"".join(struct.pack(">xd", one) for one in values)

    keys = [
        text("times"),
        numbers(range(5000, 0, -1)),
        text("filepositions"),
        numbers(range(10**7, 10**7 + 5000)),
    ]
    said = [text("keyframes"), b"\x03", *keys, b"\0\0\x09"]
    body = b"".join([b"\x02", text("onMetaData"), b"\x08\0\0\0\x01", *said, b"\0\0\x09"])
    data = clip_bytes("flv", "flv1")
    tag = b"\x12" + struct.pack(">I", len(body))[1:] + bytes(7) + body
    source = Source.from_bytes(data[:13] + tag + struct.pack(">I", len(tag)) + data[13:])
    with ClipFile(source, limits=Limits(), deadline=Deadline(60, "reading")) as clip:
        clip.index()
        assert len(clip.stream.index_entries) < 1000
    assert len(read_frames(source).frames) == 8


@pytest.mark.parametrize("size", range(0, 600, 7))
def test_a_file_that_is_cut_off_is_walked_to_its_end(size):
    assert has_long_index(io.BytesIO(clip_bytes("matroska")[:size])) in (True, False)


@pytest.mark.parametrize("size", [2**56 - 2, 2**40])
def test_places_that_no_file_has_are_its_end(size, tmp_path):
    """By an element that is longer than the file, and by a table that leads far behind it."""
    data = clip_bytes("matroska")
    longer = bytes.fromhex("ec") + struct.pack(">Q", size | 1 << 56)
    number = element("53ac", struct.pack(">Q", size << 8))
    table = element("114d9b74", element("4dbb", element("53ab", bytes.fromhex("1c53bb6b")), number))
    path = tmp_path / "clip.mkv"
    path.write_bytes(opened(data) + table + longer + data[content(data) :])
    assert not has_long_index(io.BytesIO(path.read_bytes()))
    with path.open("rb") as file:
        assert not has_long_index(file)


def test_a_place_in_a_table_that_ends_within_it_is_none(tmp_path):
    data = clip_bytes("matroska")
    table = element("114d9b74", bytes.fromhex("4dbb8453ac0100"))
    path = tmp_path / "clip.mkv"
    path.write_bytes(opened(data) + table + data[content(data) :])
    with path.open("rb") as file:
        assert not has_long_index(file)
