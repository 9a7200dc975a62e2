"""A video file as FFmpeg opens it, and the index of its packets."""

from __future__ import annotations

import io
import os
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise
from types import TracebackType
from typing import Any, BinaryIO, cast

import av
import av.error
from av.video.reformatter import VideoReformatter

from vlm2vec.errors import LimitError, MediaError, VLM2VecError
from vlm2vec.media.avi import check_header
from vlm2vec.media.deadline import Cancelled, Deadline, raise_if_cancelled
from vlm2vec.media.limits import Limits
from vlm2vec.media.matroska import has_long_index
from vlm2vec.media.mp4 import check_sample_counts
from vlm2vec.media.sampling import SamplingRule
from vlm2vec.media.source import Source
from vlm2vec.media.watched import WatchedFile

__all__ = ["ClipFile", "Key", "PacketIndex"]

# FFmpeg's demuxers that hold their pictures themselves. Playlists (hls, dash, concat) are left out: they make
# FFmpeg open other files.
_DEMUXERS = (
    "mov,matroska,avi,mpegts,mpeg,mpegvideo,flv,live_flv,asf,ogg,nut,ivf,h264,hevc,vvc,m4v,h263,h261,obu,av1,"
    "vc1,rm,mxf,gxf,dv,wtv,yuv4mpegpipe,nsv,dirac,cavsvideo"
)
_OPTIONS = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "none"}
# FFmpeg puts entries of an index in order by moving all behind them, and nothing ends that. Without an index
# it goes through the file: where there are very many entries, and in FLV, which few files still are.
_NO_INDEX = {"fflags": "ignidx"}
_BUFFER_BYTES = 128 * 1024
# Demuxers that mark a packet as broken when they only miss its announced length: their last one always is.
_SUSPICIOUS = ("mpegts", "mpeg")
# Demuxers of formats that do not store when a frame is shown.
_UNSTAMPED = ("avi", "asf", "rm", "nsv", "mxf")
# What a demuxer tells beside a packet, once, where it changes.
_HEADERS = ("new_extradata", "palette")
# Packets of clips that are read in pieces, by device, inode, size and time of their files: to read all of
# them anew for each piece takes a time that grows with the square of the length.
_KEPT: dict[tuple[int, ...], PacketIndex] = {}
_MOST_KEPT = 4
# A file that was written less than this ago may change again without another time, in nanoseconds.
_TICK = 2_000_000_000
# What may be missing at the end of a file before it is called cut off, in seconds.
_DURATION_SLACK = 0.5


@dataclass(frozen=True, slots=True)
class Key:
    """A packet from which decoding can start, in units of the stream's time base."""

    pts: int
    dts: int | None


@dataclass(frozen=True)
class PacketIndex:
    """The frames of a stream, known from its packets.

    Attributes:
        pts: Time stamp of each frame, in order of presentation, in units of `time_base`.
        keys: Key packets from which frames may be sought, in order of presentation; without, each frame is
            decoded from the first packet on.
        time_base: Seconds per unit.
        end: Time stamp at which the last frame ends.
        seekable: Whether the time stamps identify frames; without, frames are known by counting.
        rate: Average frames per second, where the file says it.
        problem: What of the file cannot be read.
        head: The first key packet: what a decoder that starts elsewhere must have seen.
    """

    pts: tuple[int, ...]
    keys: tuple[Key, ...]
    time_base: Fraction
    end: int
    seekable: bool
    rate: float | None
    problem: str | None
    head: Any

    def duration(self, rule: SamplingRule) -> float:
        """Length in seconds."""
        return self.seconds([self.end], rule)[0]

    def seconds(self, stamps: Sequence[int], rule: SamplingRule) -> list[float]:
        """Seconds from the first frame to each time stamp, by the clock of a rule of `Sampling`."""
        if rule == "spread" and self.rate is not None:
            return [bisect_left(self.pts, stamp) / self.rate for stamp in stamps]
        # Whole numbers divided: as exact as fractions, and thousands of frames are not worth theirs.
        first, up, down = self.pts[0], self.time_base.numerator, self.time_base.denominator
        return [(stamp - first) * up / down for stamp in stamps]


class ClipFile:
    """An open video file. A context manager.

    Args:
        source: A video file or its bytes.
        limits: Upper limits.
        deadline: Time limit for everything done with the file.

    Raises:
        MediaError: FFmpeg cannot open it, or it has no video.
        LimitError: Its frames are larger than a limit.
    """

    def __init__(self, source: Source, *, limits: Limits, deadline: Deadline) -> None:
        signature = None if source.is_folder else source.signature
        if signature is not None and signature.kind != "video":
            raise MediaError(f"this is not a video but {signature.label}", fix="Pass a video file.")
        self._source = source
        self._label = None if signature is None else signature.label
        self._limits = limits
        # Decoders take memory for many frames before the first is there, and while a file is opened. A side
        # is rounded up to whole blocks there; what is little above the limit is refused by its size.
        most = max(limits.max_image_pixels, Limits.max_image_pixels)
        self._decoder_options = {"max_pixels": str(most + most // 8)}
        self.deadline = deadline
        self.reformatter = VideoReformatter()
        self._open()

    def __enter__(self) -> ClipFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self.container.close()
        self._file.close()

    @property
    def pixel_aspect(self) -> Fraction:
        """Width of a pixel, as it is to be shown, in heights of it; 1 where the file does not say."""
        return Fraction(self.stream.sample_aspect_ratio or 1)

    def again(self) -> ClipFile:
        """The same file opened once more, for another thread; the deadline is shared."""
        return ClipFile(self._source, limits=self._limits, deadline=self.deadline)

    def restart(self) -> None:
        """Goes back to the first packet, whatever the container thinks of seeking."""
        self.close()
        self._open()

    def packets(self) -> Iterator[Any]:
        """Packets of the video from here on, without the empty ones; ends early where the file is broken."""
        check = self.deadline.check
        # At the end, PyAV may ask for a stream that FFmpeg found on the way, and which it does not know.
        with suppress(av.error.FFmpegError, IndexError):
            for packet in self.container.demux(self.stream):
                check()
                if packet.size:
                    yield packet
        check()

    def decode(self, packet: Any | None) -> list[Any]:
        """Frames that come out of the decoder for a packet; what it still holds, for `None`.

        Raises:
            av.error.FFmpegError: The packet is broken.
            MediaError: The decoder does not open.
        """
        self._open_decoder()
        if packet is not None and packet.is_corrupt and self.container.format.name in _SUSPICIOUS:
            packet = _unmarked(packet)
        self._has_decoded = True
        frames: list[Any] = self.stream.codec_context.decode(packet)
        return frames

    def starting(self, packet: Any, head: Any) -> Any:
        """A key packet to start decoding with; a decoder that has not decoded yet sees the head first.

        What a decoder learns from the head of a stream, it keeps: the version of x264, without which old
        streams in 4:4:4 are read otherwise (FFmpeg's h264_sei.c), or a palette, which the demuxer gives with
        the first packet that it reads and never again.

        Args:
            packet: The key packet.
            head: The first one of the stream, as it was read first.

        Returns:
            The packet; the head itself where they are the same.
        """
        if self._has_decoded:
            self.stream.codec_context.flush_buffers()
        if packet.pts == head.pts:
            return head
        if not self._has_decoded:
            self.show_headers(head)
        return packet

    def show_headers(self, packet: Any) -> None:
        """Lets the decoder read the headers of a packet, and no picture where it can leave that out."""
        self._open_decoder()  # some decoders ask only now which frames to skip
        context = self.stream.codec_context
        context.skip_frame = "ALL"
        with suppress(av.error.FFmpegError):
            self.decode(packet)
        context.flush_buffers()
        context.skip_frame = "DEFAULT"

    def check_size(self, width: int, height: int) -> None:
        """Raises LimitError when a frame of this size is too large."""
        if width * height > self._limits.max_image_pixels:
            raise LimitError(
                f"its frames are {width} x {height}, more than {self._limits.max_image_pixels:,} pixels",
                fix="Raise Limits.max_image_pixels.",
            )

    def count_frames(self, max_frames: int | None) -> int:
        """Frames that the packets promise; no more packets are read than `max_frames` frames need.

        Raises:
            MediaError: There is none.
        """
        codec = self.stream.codec_context.name
        shown = (packet for packet in self.packets() if not packet.is_discard and _shows(packet, codec))
        count = sum(1 for _ in islice(shown, max_frames))
        if not count:
            raise _no_frames()
        return count

    def index(self, *, keep: bool = False) -> PacketIndex:
        """Reads all packets, decoding none.

        Args:
            keep: Keep what was found for who opens the same file next, as long as it stays as it is.

        Raises:
            MediaError: There is none.
        """
        state = self._state()
        known = _KEPT.get(state)
        if known is None:
            known = self._read_index()
            if keep and state and time.time_ns() - state[-1] > _TICK:
                _KEPT[state] = known
                for oldest in list(_KEPT)[:-_MOST_KEPT]:
                    _KEPT.pop(oldest, None)
        return known

    def _state(self) -> tuple[int, ...]:
        """Which file it is, and as it is now; nothing for what is in memory."""
        try:
            status = os.fstat(self._file.fileno())
        except (OSError, ValueError):
            return ()
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

    def _read_index(self) -> PacketIndex:
        shown: list[int | None] = []
        keys: list[Key] = []
        count, last, codec = 0, None, self.stream.codec_context.name
        head, headers_change = None, False
        for packet in self.packets():
            count, last, stamp = count + 1, packet, packet.pts
            headers_change |= head is not None and _has_headers(packet)
            if packet.is_keyframe:
                if head is None:
                    head = packet
                    shown.clear()  # cut from a broadcast: nothing before the first key frame can be decoded
                if stamp is not None:
                    keys.append(Key(stamp, packet.dts))
            if not packet.is_discard and _shows(packet, codec):
                shown.append(stamp)
        if not shown:
            raise _no_frames()
        pts = sorted(stamp for stamp in shown if stamp is not None)
        step = max(1, (pts[-1] - pts[0]) // max(1, len(pts) - 1)) if pts else 1
        end = pts[-1] + (last.duration or step) if pts and last is not None else 0
        seekable = len(pts) == len(shown) == len(set(pts)) and self._time_stamps_are_true(shown, keys)
        base = self.stream.time_base or Fraction(1)
        rate = self.stream.average_rate
        stamped = float(end * base)
        if not seekable:
            rate = rate or self.stream.guessed_rate or Fraction(25)
            pts, keys, base, end = list(range(len(shown))), [], 1 / Fraction(rate), len(shown)
        if headers_change:
            keys = []  # which headers a key packet needs, the demuxer tells only when it comes to them
        problem = None
        # Frames known by counting may have pauses between them, or one before the first.
        if self._is_cut_off(count, max(stamped, float(end * base))):
            problem = f"the file is cut off: {float((end - pts[0]) * base):.1f} s of it can be read"
        return PacketIndex(
            tuple(pts), tuple(keys), base, end, seekable, float(rate) if rate else None, problem, head
        )

    def _open_decoder(self) -> None:
        context = self.stream.codec_context
        try:
            context.open(strict=False)
        except (av.error.FFmpegError, ValueError) as error:
            raise MediaError(
                f"the decoder of the video ({context.name}) does not open (FFmpeg: {error})",
                fix="What the file says of its pictures is incomplete or not supported: convert it to H.264.",
            ) from error

    def _open(self) -> None:
        self._has_decoded = False
        self._file = self._source.open()
        try:
            watched = cast("BinaryIO", WatchedFile(self._file, self.deadline))
            check_sample_counts(watched)
            if self._label == "AVI":
                check_header(watched)
            options = {**_OPTIONS, **self._decoder_options}
            if self._label == "FLV" or (self._label == "Matroska" and has_long_index(watched)):
                options |= _NO_INDEX
            self.container: Any = av.open(
                _Nameless(self._file, self.deadline),
                options=options,
                metadata_errors="replace",
                buffer_size=_BUFFER_BYTES,
            )
        except (VLM2VecError, Cancelled):
            self._file.close()
            raise
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self._file.close()
            raise_if_cancelled()
            raise MediaError(
                f"the video cannot be opened ({getattr(error, 'strerror', None) or error})",
                fix="It is damaged, cut off, or of a kind that FFmpeg does not read.",
            ) from error
        try:
            self.stream: Any = self._video_stream()
            self.check_size(self.stream.codec_context.width, self.stream.codec_context.height)
        except BaseException:
            self.close()
            raise

    def _video_stream(self) -> Any:
        cover = av.stream.Disposition.attached_pic
        streams = [s for s in self.container.streams.video if not s.disposition & cover]
        if not streams:
            what = "only audio" if self.container.streams.audio else "no video"
            raise MediaError(f"the file holds {what}", fix="Pass a file with pictures.")
        if streams[0].codec_context is None:
            raise MediaError("the video's codec is not known to FFmpeg", fix="Convert it to H.264.")
        # Threads within a decoder log through Python: one that waits for the interpreter while the decoder
        # is freed by it never ends. Cores are shared out to groups of pictures instead (cores.py).
        streams[0].codec_context.thread_count = 1
        streams[0].codec_context.options = self._decoder_options
        return streams[0]

    def _time_stamps_are_true(self, shown: list[int | None], keys: list[Key]) -> bool:
        """Whether the time stamps order the frames as they are shown."""
        in_order = all(a.pts < b.pts for a, b in pairwise(keys))
        # Without time stamps of presentation, FFmpeg numbers reordered frames in order of decoding.
        numbered = self.container.format.name in _UNSTAMPED and self.stream.codec_context.has_b_frames
        return bool(keys) and in_order and not (numbered and shown == sorted(shown, key=lambda p: p or 0))

    def _is_cut_off(self, packets: int, end: float) -> bool:
        """Whether the file announces more than its packets, the last of which ends at `end` seconds."""
        name = self.container.format.name
        if "mp4" in name:
            return packets < len(self.stream.index_entries)
        if "matroska" in name:
            declared = _clock(self.stream.metadata.get("DURATION", ""))
        elif "avi" in name and self.stream.duration:
            declared = float(self.stream.duration * self.stream.time_base)
        else:
            return False
        return declared - end > _DURATION_SLACK


class _Nameless:
    """A file without its name, from which FFmpeg would guess (frame_%03d.jpg is a pattern to it).

    Far behind its end there is nothing: memory lets one go there, and most file systems refuse. FFmpeg may
    read all of a file in one call, so each read asks the deadline; once it is called off, the file ends.
    """

    def __init__(self, file: BinaryIO, deadline: Deadline) -> None:
        self.tell = file.tell
        self._file = file
        self._check = deadline.check
        self._is_over = False
        self._size = file.seek(0, io.SEEK_END)
        file.seek(0)

    def read(self, size: int) -> bytes:
        """As the file's own.

        Raises:
            LimitError: The time is up, which PyAV passes on.
        """
        if self._is_over:
            return b""
        self._is_over = True
        try:
            self._check()
        except Cancelled:  # which it does not: it knows errors alone
            return b""
        self._is_over = False
        # A file makes room for as much as it is asked for, and FFmpeg asks for what the clip claims.
        return self._file.read(max(0, min(size, self._size - self._file.tell())))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Goes to a place, as files do; from one behind the end to the end."""
        return self._file.seek(min(offset, self._size) if whence == io.SEEK_SET else offset, whence)


def _no_frames() -> MediaError:
    return MediaError("the video has no frames", fix="Check that the file is complete.")


def _unmarked(packet: Any) -> Any:
    """The same packet without the demuxer's doubts; the decoder knows better."""
    copy = av.Packet(bytes(packet))
    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
    return copy


def _has_headers(packet: Any) -> bool:
    """Whether a packet changes how it and those behind it are decoded; few have anything beside them."""
    return next(packet.iter_sidedata(), None) is not None and any(map(packet.has_sidedata, _HEADERS))


def _shows(packet: Any, codec: str) -> bool:
    """Whether a packet holds a picture that is shown; VP8 alone gives hidden ones packets of their own."""
    return codec != "vp8" or bool(memoryview(packet)[0] & 0x10)


def _clock(text: str) -> float:
    """Seconds of a time such as 00:01:02.5; 0 when it is none."""
    try:
        hours, minutes, seconds = text.split(":")
        return float(hours) * 3600 + float(minutes) * 60 + float(seconds)
    except ValueError:
        return 0.0
