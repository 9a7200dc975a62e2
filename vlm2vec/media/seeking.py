"""Reads single frames of a video by seeking to the key frames before them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from queue import SimpleQueue
from typing import Any, TypeAlias

import av.error
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter

from vlm2vec.media.container import ClipFile, Key, PacketIndex
from vlm2vec.media.cores import share_of_cores
from vlm2vec.media.frames import FitFrame, Frames, joined
from vlm2vec.media.sampling import Sampling

__all__ = ["picture", "read_by_seeking"]

# What seeking costs, in frames: those decoded after a found one before it is shown.
_SEEK_FRAMES = 8
# What opening the file once more costs, in packets: a thread that decodes fewer is not worth it.
_PACKETS_PER_THREAD = 32
# Of frames that are decoded side by side: a decoder may keep seventeen, and those of so many take 1.6 GiB.
_PIXELS_AT_ONCE = 2**26
# Only in H.264 does a packet say reliably that no other frame needs it.
_SKIPPABLE = ("h264",)
# Pictures decoded from others. Codecs that do not tell say NONE, and their key packets are believed.
_INTER = (PictureType.P, PictureType.B)

_FitOne: TypeAlias = Callable[[np.ndarray], np.ndarray]


def read_by_seeking(clip: ClipFile, index: PacketIndex, sampling: Sampling, fit: FitFrame) -> Frames:
    """The chosen frames, exactly as decoding everything would give them.

    Frames that turn out to be damaged leave the index, and the choice is made again from the rest. Where a
    key packet turns out to need those before it, as with H.264 that refreshes its pictures bit by bit or
    H.263 in AVI files, the stream is decoded from its start.

    Args:
        clip: The open file.
        index: Its packets; `index.seekable` holds.
        sampling: Which frames.
        fit: Resizes each when it is decoded; in several threads at a time.
    """
    try:
        return _read(clip, index, sampling, fit)
    except _FalseKeyError:
        return _read(clip, replace(index, keys=()), sampling, fit)


def _read(clip: ClipFile, index: PacketIndex, sampling: Sampling, fit: FitFrame) -> Frames:
    reader = _Reader(clip, index)
    available = list(index.pts)
    pictures: dict[int, np.ndarray] = {}
    damaged = 0
    is_checked = not index.keys
    while available:
        times = index.seconds(available, sampling.rule)
        chosen = [available[i] for i in sampling.choose(times, index.duration(sampling.rule))]
        missing = [stamp for stamp in chosen if stamp not in pictures]
        pictures.update(_side_by_side(reader, list(reader.runs(missing)), _one_of(len(chosen), fit)))
        lost = [stamp for stamp in missing if stamp not in pictures]
        if not lost:
            problem = index.problem
            if damaged:
                problem = joined(problem, f"damaged frames: at least {damaged} of {len(index.pts)}")
            return Frames([pictures[p] for p in chosen], index.seconds(chosen, sampling.rule), problem)
        if not is_checked:
            is_checked = True
            if reader.lacks_headers(lost):
                return _read(clip, replace(index, keys=()), sampling, fit)
        for segment in sorted({reader.segment(stamp) for stamp in lost}):
            members = [stamp for stamp in available if reader.segment(stamp) == segment]
            good, broken = reader.survey(members)
            good -= set(lost)
            available = [stamp for stamp in available if stamp not in members or stamp in good]
            damaged += len(members) - len(good) if broken else 0
    return Frames([], [], joined(index.problem, "no frame is intact"))


def picture(frame: Any, reformatter: VideoReformatter) -> np.ndarray:
    """A decoded frame, upright, of shape (H, W, 3), uint8 RGB.

    Args:
        frame: The frame, as PyAV decodes it.
        reformatter: One for all frames of a clip: making one costs as much as using it.
    """
    rgb: np.ndarray = reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
    # Not `frame.side_data`: a frame keeps what that gives, which refers to the frame, so none would be freed
    # until the garbage collector comes by.
    try:
        side_data = SideDataContainer(frame)  # type: ignore[call-arg]  # which its stub does not know
    except ValueError:  # PyAV does not know every kind that FFmpeg has, such as EXIF; the turn it does
        return np.ascontiguousarray(np.rot90(rgb, frame.rotation // 90))
    matrix = side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return rgb
    # Nine 32-bit numbers; (x, y) is shown at (a x + c y, b x + d y) (ISO/IEC 14496-12, 6.2.2).
    a, b, _, c, d = np.frombuffer(bytes(matrix), "<i4")[:5]
    if abs(b) > abs(a):
        rgb, across, down = rgb.transpose(1, 0, 2), c, b
    else:
        across, down = a, d
    return np.ascontiguousarray(rgb[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])


def _one_of(count: int, fit: FitFrame) -> _FitOne:
    return lambda frame: fit(frame, count)


def _side_by_side(reader: _Reader, runs: list[list[int]], fit: _FitOne) -> dict[int, np.ndarray]:
    """Pictures of the intact frames of all runs; each run is decoded alone, on a core that no clip uses."""
    costs = [reader.cost(run) for run in runs]
    codec = reader.clip.stream.codec_context
    with share_of_cores() as share, ExitStack() as files:
        threads = min(
            share,
            len(runs),
            sum(costs) // _PACKETS_PER_THREAD,
            _PIXELS_AT_ONCE // max(1, codec.width * codec.height),
        )
        if threads <= 1:
            return {stamp: image for run in runs for stamp, image in reader.read(run, fit).items()}
        free: SimpleQueue[_Reader] = SimpleQueue()
        free.put(reader)
        for _ in range(threads - 1):
            free.put(reader.on(files.enter_context(reader.clip.again())))

        def read(run: list[int]) -> dict[int, np.ndarray]:
            mine = free.get()
            try:
                return mine.read(run, fit)
            finally:
                free.put(mine)

        # The longest first, so that none is left for the end.
        order = [run for _, run in sorted(zip(costs, runs, strict=True), reverse=True)]
        with ThreadPoolExecutor(threads) as pool:
            return {stamp: image for found in pool.map(read, order) for stamp, image in found.items()}


class _FalseKeyError(Exception):
    """A packet that the file marks as key does not give a picture by itself."""


class _Reader:
    """Decodes runs of frames, each from the key frame before it."""

    def __init__(self, clip: ClipFile, index: PacketIndex) -> None:
        self.clip = clip
        self._index = index
        self._stamps = index.pts
        self._keys = index.keys
        self._key_stamps = [key.pts for key in index.keys]

    def on(self, clip: ClipFile) -> _Reader:
        """A reader of the same frames from another opening of the file."""
        return _Reader(clip, self._index)

    def cost(self, run: list[int]) -> int:
        """About how many packets are decoded for a run."""
        return bisect_left(self._stamps, run[-1]) - bisect_left(self._stamps, self._start(run[0])) + 1

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
        start = self._start(later)
        return bisect_left(self._stamps, start) - bisect_left(self._stamps, stamp) - 1

    def _start(self, stamp: int) -> int:
        """Stamp of the frame at which decoding starts for a frame."""
        return self._key_stamps[max(0, self.segment(stamp))] if self._keys else self._stamps[0]

    def read(self, stamps: list[int], fit: _FitOne) -> dict[int, np.ndarray]:
        """Pictures of those of the frames that are intact."""
        pictures, bad = self._decode(self._packets_from(stamps[0]), stamps, fit)
        return {stamp: image for stamp, image in pictures.items() if stamp not in bad and image is not None}

    def survey(self, stamps: list[int]) -> tuple[set[int], bool]:
        """Which frames of one segment are intact, and whether something in it is damaged."""
        found, bad = self._decode(self._packets_from(stamps[0]), stamps)
        return set(found) - bad, bool(bad)

    def lacks_headers(self, lost: list[int]) -> bool:
        """Whether frames that seem damaged are intact for a decoder that sees the headers before them.

        Some files change their headers on the way and do not repeat them at each key frame. The last lost
        segment is tried: whatever other segments lack, it lacks too.
        """
        segment = self.segment(lost[-1])
        stamps = [stamp for stamp in lost if self.segment(stamp) == segment]
        found, bad = self._decode(self._packets_with_headers(segment), stamps)
        return bool(set(found) - bad)

    def _decode(
        self, packets: Iterator[Any], stamps: list[int], fit: _FitOne | None = None
    ) -> tuple[dict[int, np.ndarray | None], set[int]]:
        """Decodes packets until all stamps are found or none can follow.

        Args:
            packets: From the key frame before the first stamp on.
            stamps: The frames.
            fit: What is made of their pictures; without, none are made.

        Returns:
            What was found (no picture without `fit`), and the stamps of damaged frames. A frame after a
            damaged one, in order of decoding and before the next key frame, counts as damaged.

        Raises:
            _FalseKeyError: The key frame before the first stamp is none.
        """
        wanted, last = set(stamps), max(stamps)
        found: dict[int, np.ndarray | None] = {}
        order: list[tuple[int, bool]] = []  # (stamp, is key) in order of decoding
        broken: set[int] = set()
        context = self.clip.stream.codec_context
        skips = fit is not None and context.name in _SKIPPABLE
        keys_after = 0
        segment = self.segment(stamps[0])
        unproven = self._key_stamps[segment] if segment >= 0 else None  # the key, until it proves to be one
        inter: set[int] = set()

        def take(frames: Iterable[Any]) -> None:
            nonlocal unproven
            for frame in frames:
                if frame.is_corrupt:
                    broken.add(frame.pts)
                if frame.pict_type in _INTER:
                    inter.add(frame.pts)
                if unproven is not None and frame.pts >= unproven:
                    if frame.pts in inter and unproven not in broken:
                        raise _FalseKeyError
                    unproven = None
                if frame.pts in wanted and frame.pts not in found:
                    self.clip.check_size(frame.width, frame.height)
                    found[frame.pts] = None if fit is None else fit(picture(frame, self.clip.reformatter))

        for packet in packets:
            keys_after += packet.is_keyframe and packet.pts > last
            if keys_after > 1:
                break
            order.append((packet.pts, packet.is_keyframe))
            if skips:
                context.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
            try:
                take(self.clip.decode(packet))
            except av.error.FFmpegError:
                broken.add(packet.pts)
            if len(found) == len(wanted):
                break
        # Frames that wait to be shown may be what a frame in hand was decoded from.
        try:
            take(self.clip.decode(None))
        except av.error.FFmpegError:
            broken.add(order[-1][0])
        if unproven is not None and not broken:
            raise _FalseKeyError
        return found, _spread([(stamp, is_key and stamp not in inter) for stamp, is_key in order], broken)

    def _packets_from(self, stamp: int) -> Iterator[Any]:
        """Packets from the key frame before a frame on; from the first packet when there is none."""
        number = self.segment(stamp)
        if number < 0:
            self.clip.restart()
            yield from self.clip.packets()
            return
        key = self._keys[number]
        try:
            self.clip.container.seek(key.pts, stream=self.clip.stream)
        except av.error.FFmpegError:
            self.clip.restart()
        for _ in range(2):
            packets = self.clip.packets()
            for packet in packets:
                if packet.is_keyframe and packet.pts == key.pts:
                    yield self.clip.starting(packet, self._index.head)
                    yield from packets
                    return
                if _is_after(packet, key):
                    break
            self.clip.restart()

    def _packets_with_headers(self, segment: int) -> Iterator[Any]:
        """Packets of a segment on; the decoder gets the headers of all key packets before them."""
        self.clip.restart()
        packets = self.clip.packets()
        for packet in packets:
            if packet.is_keyframe and segment >= 0 and packet.pts == self._keys[segment].pts:
                yield packet
                yield from packets
                return
            if packet.is_keyframe:
                self.clip.show_headers(packet)


def _is_after(packet: Any, key: Key) -> bool:
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
