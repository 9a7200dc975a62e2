import io
import struct

import av
import pytest
from media_making import clip_bytes

from vlm2vec.errors import MediaError
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
