"""Reads single frames of a video by seeking to the key frames before them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import av.error
import numpy as np

from vlm2vec.media.clip import Frames, joined
from vlm2vec.media.container import ClipFile, Key, PacketIndex

__all__ = ["Choose", "picture", "read_by_seeking"]

# From the time of each frame and the clip's duration, both in seconds, to positions.
Choose = Callable[[list[float], float], list[int]]

# What seeking costs, in frames: those decoded behind a found one before it is shown.
_SEEK_FRAMES = 8
# Only in H.264 does a packet say reliably that no other frame needs it.
_SKIPPABLE = ("h264",)


def read_by_seeking(clip: ClipFile, index: PacketIndex, choose: Choose) -> Frames:
    """The chosen frames, exactly as decoding everything would give them.

    Frames that turn out to be damaged leave the index, and the choice is made again from the rest.

    Args:
        clip: The open file.
        index: Its packets; `index.seekable` holds.
        choose: Chooses from the frames' times.
    """
    reader = _Reader(clip, index)
    available = list(index.pts)
    pictures: dict[int, np.ndarray] = {}
    damaged = 0
    while available:
        chosen = [available[i] for i in choose([index.seconds(p) for p in available], index.duration)]
        missing = [stamp for stamp in chosen if stamp not in pictures]
        for run in reader.runs(missing):
            pictures.update(reader.read(run))
        lost = [stamp for stamp in missing if stamp not in pictures]
        if not lost:
            problem = index.problem
            if damaged:
                problem = joined(problem, f"damaged frames: at least {damaged} of {len(index.pts)}")
            return Frames([pictures[p] for p in chosen], [index.seconds(p) for p in chosen], problem)
        for segment in sorted({reader.segment(stamp) for stamp in lost}):
            members = [stamp for stamp in available if reader.segment(stamp) == segment]
            good, broken = reader.survey(members)
            good -= set(lost)
            available = [stamp for stamp in available if stamp not in members or stamp in good]
            damaged += len(members) - len(good) if broken else 0
    return Frames([], [], joined(index.problem, "no frame is intact"))


def picture(frame: Any) -> np.ndarray:
    """A decoded frame, upright, of shape (H, W, 3), uint8 RGB."""
    rgb: np.ndarray = frame.to_ndarray(format="rgb24")
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return rgb
    # Nine 32-bit numbers; (x, y) is shown at (a x + c y, b x + d y) (ISO/IEC 14496-12, 6.2.2).
    a, b, _, c, d = np.frombuffer(bytes(matrix), "<i4")[:5]
    if abs(b) > abs(a):
        rgb, across, down = rgb.transpose(1, 0, 2), c, b
    else:
        across, down = a, d
    return np.ascontiguousarray(rgb[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])


class _Reader:
    """Decodes runs of frames, each from the key frame before it."""

    def __init__(self, clip: ClipFile, index: PacketIndex) -> None:
        self._clip = clip
        self._stamps = index.pts
        self._keys = index.keys
        self._key_stamps = [key.pts for key in index.keys]

    def segment(self, stamp: int) -> int:
        """Number of the key frame from which a frame is decoded; -1 for those before the first."""
        return bisect_right(self._key_stamps, stamp) - 1

    def runs(self, stamps: list[int]) -> Iterator[list[int]]:
        """Parts of the list that are decoded in one go, since few frames lie between."""
        run: list[int] = []
        for stamp in stamps:
            if run and self._skips(run[-1], stamp) > _SEEK_FRAMES:
                yield run
                run = []
            run.append(stamp)
        if run:
            yield run

    def _skips(self, stamp: int, later: int) -> int:
        """Frames that need not be decoded when the later one is sought instead of decoding on."""
        key = self._key_stamps[max(0, self.segment(later))]
        return bisect_left(self._stamps, key) - bisect_left(self._stamps, stamp) - 1

    def read(self, stamps: list[int]) -> dict[int, np.ndarray]:
        """Pictures of those of the frames that are intact."""
        pictures, bad = self._decode(stamps, convert=True)
        return {stamp: image for stamp, image in pictures.items() if stamp not in bad and image is not None}

    def survey(self, stamps: list[int]) -> tuple[set[int], bool]:
        """Which frames of one segment are intact, and whether something in it is damaged."""
        found, bad = self._decode(stamps, convert=False)
        return set(found) - bad, bool(bad)

    def _decode(self, stamps: list[int], *, convert: bool) -> tuple[dict[int, np.ndarray | None], set[int]]:
        """Decodes from the key frame before the first stamp until all are found or none can follow.

        Returns:
            What was found (no picture unless `convert`), and the stamps of damaged frames. A frame after a
            damaged one, in order of decoding and before the next key frame, counts as damaged.
        """
        wanted, last = set(stamps), max(stamps)
        found: dict[int, np.ndarray | None] = {}
        order: list[tuple[int, bool]] = []  # (stamp, is key) in order of decoding
        broken: set[int] = set()
        context = self._clip.stream.codec_context
        skips = convert and context.name in _SKIPPABLE
        keys_after = 0

        def take(frames: Iterable[Any]) -> None:
            for frame in frames:
                if frame.is_corrupt:
                    broken.add(frame.pts)
                if frame.pts in wanted and frame.pts not in found:
                    self._clip.check_size(frame.width, frame.height)
                    found[frame.pts] = picture(frame) if convert else None

        for packet in self._packets_from(stamps[0]):
            keys_after += packet.is_keyframe and packet.pts > last
            if keys_after > 1:
                break
            order.append((packet.pts, packet.is_keyframe))
            if skips:
                context.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
            try:
                take(self._clip.decode(packet))
            except av.error.FFmpegError:
                broken.add(packet.pts)
            if len(found) == len(wanted):
                break
        # Frames that wait to be shown may be what a frame in hand was decoded from.
        try:
            take(self._clip.decode(None))
        except av.error.FFmpegError:
            broken.add(order[-1][0])
        return found, _spread(order, broken)

    def _packets_from(self, stamp: int) -> Iterator[Any]:
        """Packets from the key frame before a frame on; from the first packet when there is none."""
        number = self.segment(stamp)
        if number < 0:
            self._clip.restart()
            yield from self._clip.packets()
            return
        key = self._keys[number]
        self._clip.stream.codec_context.flush_buffers()
        try:
            self._clip.container.seek(key.pts, stream=self._clip.stream)
        except av.error.FFmpegError:
            self._clip.restart()
        for _ in range(2):
            packets = self._clip.packets()
            for packet in packets:
                if packet.is_keyframe and packet.pts == key.pts:
                    yield packet
                    yield from packets
                    return
                if _is_behind(packet, key):
                    break
            self._clip.restart()


def _is_behind(packet: Any, key: Key) -> bool:
    return key.dts is not None and packet.dts is not None and bool(packet.dts > key.dts)


def _spread(order: list[tuple[int, bool]], broken: set[int]) -> set[int]:
    """Stamps of broken frames and of those that may be decoded from them."""
    bad = set(broken)
    spreading = False
    for stamp, is_key in order:
        spreading = (spreading and not is_key) or stamp in broken
        if spreading:
            bad.add(stamp)
    return bad
