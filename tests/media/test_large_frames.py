"""A few bytes of H.264 that hold very large frames: decoders take memory for sixteen of them and more."""

import pytest

from vlm2vec.errors import LimitError, VLM2VecWarning
from vlm2vec.media.sampling import Sampling
from vlm2vec.media.source import Source
from vlm2vec.media.video import clip_shape, read_frames

HEADERS, PICTURE_HEADERS, WHOLE, CHANGED = 0x67, 0x68, 0x65, 0x41  # kinds of units (H.264, table 7-1)
GREY_BLOCK = "00100111"  # one whose prediction is all of it


def coded(number: int) -> str:
    """An unsigned number as H.264 writes it (9.1)."""
    bits = f"{number + 1:b}"
    return "0" * (len(bits) - 1) + bits


def unit(kind: int, bits: str) -> bytes:
    bits += "1"
    bits += "0" * (-len(bits) % 8)
    escaped, zeros = bytearray(), 0
    for byte in int(bits, 2).to_bytes(len(bits) // 8, "big"):
        if zeros == 2 and byte <= 3:
            escaped.append(3)
            zeros = 0
        escaped.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return b"\0\0\0\1" + bytes([kind]) + escaped


def clip(side: int, frames: int) -> bytes:
    """Grey frames, each but the first equal to the one before it."""
    blocks = side // 16
    sequence = [f"{66:08b}", "0" * 8, f"{62:08b}", *map(coded, (0, 0, 2, 16)), "0"]
    data = unit(HEADERS, "".join([*sequence, coded(blocks - 1), coded(blocks - 1), "1100"]))
    picture = [coded(0) * 2, "00", coded(0) * 3, "000", coded(0) * 3, "100"]
    data += unit(PICTURE_HEADERS, "".join(picture))
    head = [coded(0), coded(7), coded(0), "0000", coded(0), "00", coded(0), coded(1)]
    data += unit(WHOLE, "".join(head) + GREY_BLOCK * blocks**2)
    for i in range(1, frames):
        head = [coded(0), coded(5), coded(0), f"{i % 16:04b}", "000", coded(0), coded(1)]
        data += unit(CHANGED, "".join(head) + coded(blocks**2))
    return data


def test_the_clips_made_here_are_sound():
    assert [frame.shape for frame in read_frames(Source.from_bytes(clip(64, 9))).frames] == [(64, 64, 3)] * 8


@pytest.mark.parametrize("action", [clip_shape, read_frames])
def test_frames_far_above_the_limit_are_refused(action):
    with pytest.raises(LimitError, match="its frames are 16000 x 16000, more than 64,000,000 pixels"):
        action(Source.from_bytes(clip(16_000, 3)), Sampling())


def test_frames_that_become_so_large_on_the_way_are_not_decoded():
    data = clip(64, 9) + clip(16_000, 3)
    with pytest.warns(VLM2VecWarning, match="damaged frames"):
        frames = read_frames(Source.from_bytes(data), Sampling(12)).frames
    assert {frame.shape for frame in frames} == {(64, 64, 3)}
