"""Media files made in memory for the tests of `vlm2vec.media`."""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

av.logging.set_level(av.logging.PANIC)


def moving_picture(i: int, width: int = 96, height: int = 64) -> np.ndarray:
    """Frame `i` of a clip in which no two frames are alike."""
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    picture = np.roll(noise, 3 * i, axis=1)
    picture[:, : 1 + i % width] = (5 * i) % 256
    return picture


def clip_bytes(
    container: str = "mp4",
    codec: str = "libx264",
    *,
    count: int = 60,
    gop: int = 12,
    rate: int = 25,
    size: tuple[int, int] = (96, 64),
    pixel_format: str = "yuv420p",
    stamps: Sequence[int] | None = None,
    audio: bool = False,
    muxer: dict[str, str] | None = None,
    **options: str,
) -> bytes:
    """A clip of `count` frames; `stamps` are their times in milliseconds when they are not evenly spaced."""
    # A real file: some muxers read back what they wrote.
    with tempfile.NamedTemporaryFile() as file:
        _write_clip(
            file.name, container, codec, count, gop, rate, size, pixel_format, stamps, audio, muxer, options
        )
        return Path(file.name).read_bytes()


def _write_clip(path, container, codec, count, gop, rate, size, pixel_format, stamps, audio, muxer, options):
    with av.open(path, "w", format=container, options=muxer or {}) as output:
        settings = {"g": str(gop), "threads": "1", **options}
        if codec == "libx264":
            settings = {"bf": "2", "preset": "veryfast", **settings}
        if codec == "libx265":
            settings["x265-params"] = "log-level=none:pools=1:keyint=" + str(gop)
        stream = output.add_stream(codec, rate=rate, options=settings)
        stream.width, stream.height, stream.pix_fmt = *size, pixel_format
        if stamps is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        sound = output.add_stream("aac", rate=8000, layout="mono") if audio else None
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(moving_picture(i, *size), format="rgb24")
            if stamps is not None:
                frame.pts, frame.time_base = stamps[i], Fraction(1, 1000)
            output.mux(stream.encode(frame))
            if sound is not None:
                output.mux(sound.encode(_silence(8000 // rate, i)))
        output.mux(stream.encode())
        if sound is not None:
            output.mux(sound.encode())


def audio_bytes() -> bytes:
    """An MP4 file with sound only."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as output:
        sound = output.add_stream("aac", rate=8000, layout="mono")
        for i in range(10):
            output.mux(sound.encode(_silence(1024, i)))
        output.mux(sound.encode())
    return buffer.getvalue()


def _silence(samples: int, i: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.zeros((1, samples), np.float32), format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = 8000, i * samples, Fraction(1, 8000)
    return frame


def decode_all(data: bytes) -> list[np.ndarray]:
    """Every frame of a clip by the plainest loop there is."""
    with av.open(io.BytesIO(data)) as container:
        return [np.asarray(frame.to_image()) for frame in container.decode(video=0)]


def packet_places(data: bytes) -> list[tuple[int, int]]:
    """Position and size of each video packet in a file, in bytes."""
    with av.open(io.BytesIO(data)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


def image_bytes(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """A picture as a file."""
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return buffer.getvalue()


def random_picture(width: int = 40, height: int = 30, seed: int = 0) -> Image.Image:
    """An RGB picture of noise."""
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(levels)


def pdf_bytes(*sizes: tuple[float, float]) -> bytes:
    """A PDF with blank pages of these (width, height) in points."""
    return pdf_of_pages([f"/MediaBox [0 0 {width} {height}]" for width, height in sizes])


def pdf_of_pages(
    pages: Sequence[str], contents: str = "", extra: Sequence[str] = (), trailer: str = ""
) -> bytes:
    """A PDF written by hand.

    Args:
        pages: Entries of each page's dictionary; all show the same contents.
        contents: Drawing operators.
        extra: Further objects, the first being number 3.
        trailer: Further entries of the trailer, and of the catalogue behind a "|".
    """
    trailer, _, catalogue = trailer.partition("|")
    first = 3 + len(extra)
    kids = " ".join(f"{first + 1 + i} 0 R" for i in range(len(pages)))
    objects = [
        f"<< /Type /Catalog /Pages 2 0 R {catalogue} >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        *extra,
        f"<< /Length {len(contents)} >> stream\n{contents}\nendstream",
        *(f"<< /Type /Page /Parent 2 0 R /Contents {first} 0 R {page} >>" for page in pages),
    ]
    data, places = b"%PDF-1.7\n", []
    for i, body in enumerate(objects):
        places.append(len(data))
        data += f"{i + 1} 0 obj {body} endobj\n".encode("latin-1")
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    data += (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
        f"trailer << /Size {len(objects) + 1} /Root 1 0 R {trailer} >>\nstartxref\n{len(data)}\n%%EOF"
    ).encode("latin-1")
    return data


def encrypted_pdf_bytes(password: str) -> bytes:
    """A one-page PDF with 40-bit encryption (PDF 1.7, 7.6.3, revision 2).

    Nothing in it needs to be encrypted: it has no strings and an empty stream.
    """
    padding = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
    padded = (password.encode() + padding)[:32]
    identity, permissions = b"0123456789abcdef", -4
    owner = _rc4(_md5(padded)[:5], padded)
    seed = padded + owner + permissions.to_bytes(4, "little", signed=True) + identity
    user = _rc4(_md5(seed)[:5], padding)
    entries = f"/Filter /Standard /V 1 /R 2 /O <{owner.hex()}> /U <{user.hex()}> /P {permissions}"
    trailer = f"/Encrypt 3 0 R /ID [<{identity.hex()}> <{identity.hex()}>]"
    return pdf_of_pages(["/MediaBox [0 0 200 100]"], extra=[f"<< {entries} >>"], trailer=trailer)


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _rc4(key: bytes, data: bytes) -> bytes:
    state, j = list(range(256)), 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    out, i, j = bytearray(), 0, 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)
