"""What decoding costs: frames of clips, pages of documents, patches of pictures.

python benchmarks/media.py [--json FILE] [--runs 5]
python benchmarks/media.py --against CHECKOUT [--json FILE] [--runs 5]

With `--against`, the package of another checkout does the same work on the same files. Each of the two has a
process of its own, and they work in turn. The processor time of all their threads is compared: other work
on the machine changes it less than the time by the clock.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

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
from vlm2vec.media.video import Frames, read_frames
from vlm2vec.world.samples import write_samples

RULES = profiles.get("vlm2vec-v2").pixels
PATIENT = Limits(decode_seconds=600)


@dataclass(frozen=True)
class Work:
    """One thing to do, the two ways of doing it, and what tells that both gave the same pixels."""

    name: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    same: Callable[[Any, Any], bool] | None = None


def write_clip(path: Path, *, seconds: int, key_every: int) -> None:
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


def decode_all(path: Path) -> list[np.ndarray]:
    """Eight frames, found by decoding every one; only the chosen are converted."""
    with av.open(str(path)) as container:
        count = sum(1 for packet in container.demux(video=0) if packet.size)
    chosen = set(uniform_indices(count, 8))
    with av.open(str(path)) as container:
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


def clips(folder: Path) -> Iterator[Work]:
    """Eight frames of a clip, against decoding all of it."""

    def same(ours: Frames, theirs: list[np.ndarray]) -> bool:
        return all((one == other).all() for one, other in zip(ours.frames, theirs, strict=True))

    for seconds, key_every in ((3, 250), (10, 250), (60, 250), (60, 48), (600, 250)):
        path = folder / f"{seconds}-{key_every}.mp4"
        if not path.is_file():
            write_clip(path, seconds=seconds, key_every=key_every)
        ours = partial(read_frames, Source.from_path(path), limits=PATIENT)
        theirs = partial(decode_all, path)
        name = f"8 frames of {seconds} s, GOP {key_every}"
        yield Work(name, ours, theirs, same)
        yield Work(f"{name}, 1 core", on_one_core()(ours), on_one_core()(theirs))


def pages(folder: Path) -> Iterator[Work]:
    """A page drawn at the model's size, against drawing it at 200 dpi and resizing."""
    if not any(folder.glob("*.pdf")):
        write_samples(folder)
    path = min(folder.glob("*.pdf"))
    source = Source.from_path(path)

    def at_200_dpi() -> np.ndarray:
        with pypdfium2.PdfDocument(path) as document:
            picture = document[0].render(scale=200 / 72).to_pil().convert("RGB")
        return fit(np.asarray(picture), RULES)

    yield Work("a PDF page", lambda: render_page(source, 1, RULES), at_200_dpi)


def pages_in_readers(folder: Path) -> Iterator[Work]:
    """Pages drawn by reader processes, against drawing them in this one; readers have been started."""

    line = "The quick brown fox jumps over the lazy dog and runs away. "
    path = folder / "text" / "text.pdf"
    path.parent.mkdir(exist_ok=True)
    pages_of_text = [[f"{number} {line}" * 2] * 60 for number in range(20)]
    path.write_bytes(text_pdf(pages_of_text))
    large = text_pdf(pages_of_text, os.urandom(50_000_000))
    numbers = range(1, 21)
    threads = ThreadPoolExecutor(2)

    def page(source: Source, limits: Limits, number: int = 1) -> np.ndarray:
        return documents.render_page(source, number, RULES, limits=limits)

    def all_pages(source: Source, limits: Limits) -> list[np.ndarray]:
        return list(threads.map(partial(page, source, limits), numbers))

    for name, draw in {
        "1 page of a text PDF": lambda limits: page(Source.from_path(path), limits),
        "its size": lambda limits: documents.page_size_in_pixels(
            Source.from_path(path), 1, RULES, limits=limits
        ),
        "20 pages, one after the other": lambda limits: [
            page(Source.from_path(path), limits, number) for number in numbers
        ],
        "20 pages, 2 threads": lambda limits: all_pages(Source.from_path(path), limits),
        "1 page of 50 MB of bytes": lambda limits: page(Source(data=large + b"\n"), limits),
        "20 pages of 50 MB of bytes": lambda limits: all_pages(Source.from_bytes(large), limits),
    }.items():
        yield Work(f"{name}, in readers", partial(draw, Limits()), partial(draw, Limits(readers=0)))


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


def pictures(folder: Path) -> Iterator[Work]:
    """Files to patches, against transformers' image processor on PIL.

    Eight pictures: worker threads prepare ours, as the engine does; theirs come one after another, as in
    sentence-transformers. Then one picture in one thread.
    """
    processor = Qwen2VLImageProcessorPil(
        size={"shortest_edge": RULES.min_pixels, "longest_edge": RULES.max_pixels}
    )
    noise = np.random.default_rng(0)
    workers = os.cpu_count() or 1
    pool = ThreadPoolExecutor(workers)

    def same(ours: np.ndarray, theirs: np.ndarray) -> bool:
        return bool((normalised(torch.from_numpy(ours), LAYOUT).numpy() == theirs).all())

    for kind, width, height in (
        *(("JPEG", width, height) for width, height in ((336, 336), (1024, 768), (4000, 3000))),
        ("PNG", 1024, 768),
    ):
        path = folder / f"{width}.{kind.lower()}"
        if not path.is_file():
            coarse = noise.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
            PIL.Image.fromarray(coarse).resize((width, height), PIL.Image.Resampling.BICUBIC).save(path)

        def ours(path: Path = path) -> np.ndarray:
            return patchify(fit(load_picture(Source.from_path(path)), RULES)[None], RULES)[0]

        def theirs(path: Path = path) -> np.ndarray:
            return processor(PIL.Image.open(path), return_tensors="np")["pixel_values"]

        yield Work(f"1 {kind} of {width} x {height}, 1 thread to 1", ours, theirs, same)
        yield Work(
            f"8 {kind} of {width} x {height}, {workers} threads to 1",
            lambda ours=ours, path=path: list(pool.map(ours, [path] * 8)),
            lambda theirs=theirs, path=path: [theirs(path) for _ in range(8)],
        )


def works(folder: Path) -> Iterator[Work]:
    """All of them; what is not in the folder yet is written there."""
    yield from clips(folder)
    yield from pages(folder)
    yield from pictures(folder)


class Checkout:
    """The package of a checkout, in a process of its own that does the work it is told."""

    def __init__(self, checkout: Path, folder: Path) -> None:
        self._process = subprocess.Popen(  # noqa: S603, it starts this script
            [sys.executable, __file__, "--serve", str(folder)],
            env={**os.environ, "PYTHONPATH": str(checkout.resolve())},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, name: str) -> float:
        """Do a work by its name, and say how many seconds of processors it took."""
        print(name, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline() if self._process.stdout else ""
        if not answer:
            raise SystemExit(f"{name}: failed in {self._process.args}")
        return float(answer)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def serve(folder: Path) -> None:
    """Do what standard input names, line by line."""
    ours = {work.name: work.ours for work in works(folder)}
    for line in sys.stdin:
        begin = time.process_time()
        ours[line.rstrip("\n")]()
        print(time.process_time() - begin, flush=True)


def against(checkout: Path, folder: Path, runs: int) -> list[Comparison]:
    """Ours alone, here and in another checkout, in turn after one run of each that does not count."""
    names = [work.name for work in works(folder)]
    results = []
    with (
        closing(Checkout(Path(__file__).parent.parent, folder)) as here,
        closing(Checkout(checkout, folder)) as there,
    ):
        for name in names:
            taken = [(here.do(name), there.do(name)) for _ in range(runs + 1)][1:]
            mine, other = map(statistics.median, zip(*taken, strict=True))
            results.append(Comparison(name, mine, other, other / mine, runs))
    return results


def against_others(folder: Path, runs: int) -> list[Comparison]:
    """Ours against theirs, each after both ways gave the same pixels where they should."""
    results = []
    for work in (*works(folder), *pages_in_readers(folder)):
        if work.same and not work.same(work.ours(), work.theirs()):
            raise SystemExit(f"{work.name}: the two ways give different pixels")
        results.append(compare(work.name, work.ours, work.theirs, runs=runs))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each way (default: 5)")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="compare with the package there")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if options.against:
            results = against(options.against, folder, options.runs)
        else:
            results = against_others(folder, options.runs)
    report(results, options.json)


if __name__ == "__main__":
    main()
