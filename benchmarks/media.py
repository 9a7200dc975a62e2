"""What decoding costs: frames of clips, pages of documents, patches of pictures.

python benchmarks/media.py [--json FILE] [--runs 5]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pypdfium2
import torch
from interleaved import Comparison, compare, report
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from vlm2vec import profiles
from vlm2vec.backbones.patch_projection import normalised
from vlm2vec.backbones.qwen2_vl.layout import LAYOUT
from vlm2vec.media import documents
from vlm2vec.media.image import load_picture
from vlm2vec.media.limits import Limits
from vlm2vec.media.patches import patchify
from vlm2vec.media.pdf import render_page
from vlm2vec.media.resize import fit
from vlm2vec.media.sampling import uniform_indices
from vlm2vec.media.source import Source
from vlm2vec.media.video import read_frames
from vlm2vec.world.samples import write_samples

RULES = profiles.get("vlm2vec-v2").pixels
PATIENT = Limits(decode_seconds=600)


def write_clip(path: Path, *, seconds: int, key_every: int) -> Source:
    """A moving gradient in H.264, 640 x 480 at 25 frames a second."""
    across = np.linspace(0, 255, 640, dtype=np.float32)[None, :, None]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        stream.codec_context.gop_size = key_every
        stream.time_base = Fraction(1, 25)
        for number in range(seconds * 25):
            shade = ((across + 3 * number) % 256).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(np.broadcast_to(shade, (480, 640, 3)).copy(), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return Source.from_path(path)


def decode_all(source: Source) -> list[np.ndarray]:
    """Eight frames, found by decoding every one; only the chosen are converted."""
    with av.open(str(source.path)) as container:
        count = sum(1 for packet in container.demux(video=0) if packet.size)
    chosen = set(uniform_indices(count, 8))
    with av.open(str(source.path)) as container:
        decoded = enumerate(container.decode(video=0))
        return [frame.to_ndarray(format="rgb24") for number, frame in decoded if number in chosen]


@contextmanager
def on_one_core() -> Iterator[None]:
    """Takes all cores but one from this process, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def clips(folder: Path, runs: int) -> list[Comparison]:
    """Eight frames of a clip, against decoding all of it."""
    results = []
    for seconds, key_every in ((3, 250), (10, 250), (60, 250), (60, 48), (600, 250)):
        source = write_clip(folder / f"{seconds}-{key_every}.mp4", seconds=seconds, key_every=key_every)
        ours = read_frames(source, limits=PATIENT).frames
        if any((one != other).any() for one, other in zip(ours, decode_all(source), strict=True)):
            raise SystemExit("the two ways give different frames")
        work = f"8 frames of {seconds} s, GOP {key_every}"
        ways = (partial(read_frames, source, limits=PATIENT), partial(decode_all, source))
        results.append(compare(work, *ways, runs=runs))
        with on_one_core():
            results.append(compare(f"{work}, 1 core", *ways, runs=runs))
    return results


def pages(folder: Path, runs: int) -> Comparison:
    """A page drawn at the model's size, against drawing it at 200 dpi and resizing."""
    path = next(sample.path for sample in write_samples(folder) if sample.path.suffix == ".pdf")
    source = Source.from_path(path)

    def at_200_dpi() -> np.ndarray:
        with pypdfium2.PdfDocument(path) as document:
            picture = document[0].render(scale=200 / 72).to_pil().convert("RGB")
        return fit(np.asarray(picture), RULES)

    return compare("a PDF page", lambda: render_page(source, 1, RULES), at_200_dpi, runs=runs)


def pages_in_readers(runs: int) -> list[Comparison]:
    """Pages drawn by reader processes, against drawing them in this one; readers have been started."""
    here = Limits(readers=0)
    line = "The quick brown fox jumps over the lazy dog and runs away. "
    results = []
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "text.pdf"
        pages_of_text = [[f"{number} {line}" * 2] * 60 for number in range(20)]
        path.write_bytes(text_pdf(pages_of_text))
        large = text_pdf(pages_of_text, os.urandom(50_000_000))
        numbers = range(1, 21)
        with ThreadPoolExecutor(2) as threads:

            def all_pages(source: Source, limits: Limits) -> list[np.ndarray]:
                drawn = partial(documents.render_page, source, rules=RULES, limits=limits)
                return list(threads.map(drawn, numbers))

            def one_page(source: Source, limits: Limits) -> np.ndarray:
                return documents.render_page(source, 1, RULES, limits=limits)

            def size(source: Source, limits: Limits) -> tuple[int, int]:
                return documents.page_size_in_pixels(source, 1, RULES, limits=limits)

            work = {
                "1 page of a text PDF": lambda limits: one_page(Source.from_path(path), limits),
                "its size": lambda limits: size(Source.from_path(path), limits),
                "20 pages, one after the other": lambda limits: [
                    documents.render_page(Source.from_path(path), number, RULES, limits=limits)
                    for number in numbers
                ],
                "20 pages, 2 threads": lambda limits: all_pages(Source.from_path(path), limits),
                "1 page of 50 MB of bytes": lambda limits: one_page(Source(data=large + b"\n"), limits),
                "20 pages of 50 MB of bytes": lambda limits: all_pages(Source.from_bytes(large), limits),
            }
            for what, draw in work.items():
                ways = (partial(draw, Limits()), partial(draw, here))
                results.append(compare(f"{what}, in readers", *ways, runs=runs))
    return results


def text_pdf(pages: list[list[str]], other: bytes = b"") -> bytes:
    """A PDF of lines of text in a standard font, and of another stream."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}/MediaBox[0 0 595 842]>>".encode(),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for lines in pages:
        content = "BT /F 9 Tf 12 TL 40 800 Td " + "".join(f"({line}) ' " for line in lines) + "ET"
        number = len(objects) + 2
        page = f"<</Type/Page/Parent 2 0 R/Contents {number} 0 R/Resources<</Font<</F 3 0 R>>>>>>"
        objects += [page.encode(), f"<</Length {len(content)}>>\nstream\n{content}\nendstream".encode()]
    objects.append(b"<</Length %d>>\nstream\n%b\nendstream" % (len(other), other))
    data, table = bytearray(b"%PDF-1.7\n"), ["0000000000 65535 f \n"]
    for number, body in enumerate(objects, 1):
        table.append(f"{len(data):010d} 00000 n \n")
        data += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(data)
    data += f"xref\n0 {len(table)}\n{''.join(table)}trailer\n<</Size {len(table)}/Root 1 0 R>>\n".encode()
    return bytes(data + f"startxref\n{start}\n%%EOF\n".encode())


def pictures(folder: Path, runs: int) -> list[Comparison]:
    """JPEGs to patches, against transformers' image processor on PIL.

    Eight pictures: worker threads prepare ours, as the engine does; theirs come one after another, as in
    sentence-transformers. Then one picture in one thread.
    """
    processor = Qwen2VLImageProcessorPil(
        size={"shortest_edge": RULES.min_pixels, "longest_edge": RULES.max_pixels}
    )
    noise = np.random.default_rng(0)
    workers = os.cpu_count() or 1
    results = []
    for width, height in ((336, 336), (1024, 768), (4000, 3000)):
        path = folder / f"{width}.jpg"
        coarse = noise.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
        PIL.Image.fromarray(coarse).resize((width, height), PIL.Image.Resampling.BICUBIC).save(path)

        def ours(path: Path = path) -> np.ndarray:
            return patchify(fit(load_picture(Source.from_path(path)), RULES)[None], RULES)[0]

        def theirs(path: Path = path) -> np.ndarray:
            return processor(PIL.Image.open(path), return_tensors="np")["pixel_values"]

        if (normalised(torch.from_numpy(ours()), LAYOUT).numpy() != theirs()).any():
            raise SystemExit("the two ways give different pixels")
        work = f"JPEG of {width} x {height}"
        with ThreadPoolExecutor(workers) as pool:
            results.append(
                compare(
                    f"8 {work}, {workers} threads to 1",
                    lambda pool=pool, ours=ours, path=path: list(pool.map(ours, [path] * 8)),
                    lambda theirs=theirs, path=path: [theirs(path) for _ in range(8)],
                    runs=runs,
                )
            )
        results.append(compare(f"1 {work}, 1 thread to 1", ours, theirs, runs=runs))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each way (default: 5)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = [
            *clips(folder, options.runs),
            pages(folder, options.runs),
            *pages_in_readers(options.runs),
            *pictures(folder, options.runs),
        ]
    report(results, options.json)


if __name__ == "__main__":
    main()
