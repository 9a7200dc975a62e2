import io
import struct
import zlib
from contextlib import nullcontext

import av
import pytest
from media_making import clip_bytes

from vlm2vec.errors import LimitError, MediaError
from vlm2vec.media.limits import Limits
from vlm2vec.media.mp4 import check_sample_counts
from vlm2vec.media.source import Source
from vlm2vec.media.video import read_frames

MANY = 30_000_000


def fragments() -> bytes:
    return clip_bytes(muxer={"movflags": "frag_keyframe+empty_moov"})


def counting(data: bytes, name: bytes, *, offset: int, value: int = MANY) -> bytes:
    """The file with another number in its first box of this name, so many bytes into its content."""
    place = data.index(name) + 4 + offset
    return data[:place] + struct.pack(">I", value) + data[place + 4 :]


def constant_sizes(data: bytes) -> bytes:
    """All samples have a size of 1 byte, which needs no table."""
    return counting(counting(data, b"stsz", offset=4, value=1), b"stsz", offset=8)


@pytest.mark.parametrize(
    "data",
    [
        counting(fragments(), b"trun", offset=4),
        constant_sizes(clip_bytes()),
        counting(clip_bytes(), b"stts", offset=8),
        counting(clip_bytes(gop=12), b"ctts", offset=8),
    ],
    ids=["trun", "stsz", "stts", "ctts"],
)
def test_more_samples_than_bytes_are_refused_before_ffmpeg_takes_memory_for_them(data, monkeypatch):
    monkeypatch.setattr(av, "open", None)
    with pytest.raises(MediaError, match=r"counts 30,0.* samples in a file of .* bytes\. It is damaged"):
        read_frames(Source.from_bytes(data))


def test_fragments_are_counted_together():
    data = counting(fragments(), b"trun", offset=4, value=3_000_000)
    check_sample_counts(io.BytesIO(data))
    with pytest.raises(MediaError, match="counts 6,000,0"):
        check_sample_counts(io.BytesIO(data + data[data.index(b"moof") - 4 :]))


@pytest.mark.parametrize(
    "data", [clip_bytes(), fragments(), clip_bytes("matroska"), b"", b"\0\0\0\x08moov" * 9]
)
def test_other_files_pass_and_stay_where_they_are(data):
    file = io.BytesIO(data)
    file.seek(3)
    check_sample_counts(file)
    assert file.tell() == 3


def test_a_cut_off_file_is_walked_to_its_end():
    for data in (clip_bytes(muxer={"movflags": "faststart"}), fragments()):
        for size in range(0, 3_000, 7):
            check_sample_counts(io.BytesIO(data[:size]))


def box(name: bytes, *content: bytes) -> bytes:
    joined = b"".join(content)
    return struct.pack(">I4s", len(joined) + 8, name) + joined


def numbers(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def table(name: bytes, *values: int) -> bytes:
    return box(name, numbers(0, *values))


def sound(*tables: bytes) -> bytes:
    """A track of 8-bit sound that FFmpeg reads by chunks."""
    entry = box(b"sowt", numbers(0, 1, 0, 0), struct.pack(">HHHHI", 1, 8, 0, 0, 8000 << 16))
    described = [box(b"stsd", numbers(0, 1), entry), table(b"stts", 1, 1000, 1), table(b"stsz", 1, 1000)]
    kind = box(b"hdlr", numbers(0, 0), b"soun", numbers(0, 0, 0), b"\0")
    media = table(b"mdhd", 0, 0, 8000, 1000, 0) + kind + box(b"minf", box(b"stbl", *described, *tables))
    return box(b"trak", table(b"tkhd", *[0] * 20), box(b"mdia", media))


def with_track(data: bytes, track: bytes) -> bytes:
    """A clip whose header, the last of its boxes, has one more track."""
    start = data.index(b"moov") - 4
    return data[:start] + box(b"moov", data[start + 8 :], track)


def in_its_track(data: bytes, *boxes: bytes) -> bytes:
    """A clip with other boxes in front of what its only track has."""
    start = data.index(b"trak") - 4
    (size,) = struct.unpack_from(">I", data, start)
    track = box(b"trak", *boxes, data[start + 8 : start + size])
    moov = data.index(b"moov") - 4
    return data[:moov] + box(b"moov", data[moov + 8 : start], track, data[start + size :])


def packed(data: bytes) -> bytes:
    start = data.index(b"moov") - 4
    header = data[start:]
    content = box(b"dcom", b"zlib") + box(b"cmvd", numbers(len(header)), zlib.compress(header))
    return data[:start] + box(b"moov", box(b"cmov", content))


CHUNKS = table(b"stsc", 1, 1, 2**31 - 1, 1) + table(b"stco", 80, *[48] * 80)
EDITS = table(b"elst", 40_000, *[1000, 0, 0x10000] * 40_000)
LONG = counting(clip_bytes(), b"stsz", offset=8, value=1000)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (with_track(clip_bytes(), sound(CHUNKS)), "counts 1,073,741,823 samples"),
        (in_its_track(LONG, box(b"edts", EDITS)), "in 40,000 edits"),
        (in_its_track(LONG, EDITS), "in 40,000 edits"),
        (in_its_track(LONG, box(b"udta", EDITS)), "in 40,000 edits"),
        (packed(with_track(clip_bytes(), sound(CHUNKS))), "counts 1,073,741,823 samples"),
        (in_its_track(clip_bytes(), box(b"stsd", bytes(99), table(b"stsz", 1, MANY))), "counts 30,000,000"),
    ],
    ids=["chunks", "edits", "bare edits", "hidden edits", "packed", "behind a codec"],
)
def test_chunks_and_edits_are_counted_wherever_ffmpeg_finds_them(data, cause, monkeypatch):
    monkeypatch.setattr(av, "open", None)
    with pytest.raises(MediaError, match=cause):
        read_frames(Source.from_bytes(data))


def test_a_header_that_is_packed_is_read():
    assert len(read_frames(Source.from_bytes(packed(clip_bytes()))).frames) == 8


def test_a_few_edits_are_sound():
    edit = box(b"edts", table(b"elst", 3, *[100, 0, 0x10000] * 3))
    check_sample_counts(io.BytesIO(in_its_track(clip_bytes(), edit)))


@pytest.mark.parametrize(("kind", "is_sound"), [(b"soun", True), (b"vide", False)])
def test_sound_in_chunks_makes_fewer_entries_than_it_has_samples(kind, is_sound):
    """An hour of sound that was cut twelve times has 170 million samples; of pictures nobody has so many."""
    count = 3600 * 48_000
    edits = box(b"edts", table(b"elst", 12, *[100, 0, 0x10000] * 12))
    tables = table(b"stts", 1, count, 1) + table(b"stsz", 1, count) + table(b"stsc", 1, 1, 48_000, 1)
    boxes = box(b"hdlr", numbers(0, 0), kind), tables, table(b"stco", 3600, *[48] * 3600)
    refusal = nullcontext() if is_sound else pytest.raises(MediaError, match="counts 172,800,000 samples")
    with refusal:
        check_sample_counts(io.BytesIO(with_track(clip_bytes(), box(b"trak", edits, *boxes))))


def test_millions_of_boxes_are_not_walked_longer_than_a_clip_may_take():
    data = box(b"ftyp", b"isom", numbers(0)) + box(b"free") * 500_000
    with pytest.raises(LimitError, match=r"decoding the video took longer than 0\.05 s"):
        read_frames(Source.from_bytes(data), limits=Limits(decode_seconds=0.05))
